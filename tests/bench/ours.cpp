#include "ours.hpp"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "medium.hpp"

namespace bench {

library::library(const std::string &path) {
    void *from = RTLD_DEFAULT;
    if (!path.empty() && !(from = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))) throw std::runtime_error(dlerror());
    auto find = [&](auto &f, const char *name) {
        f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(from, name));
        if (!f) throw std::runtime_error(dlerror());
    };
    find(version, "ipc_version");
    find(strerror, "ipc_strerror");
    find(sender_open, "ipc_sender_open");
    find(reserve, "ipc_sender_reserve");
    find(commit, "ipc_sender_commit");
    find(flush, "ipc_sender_flush");
    find(end, "ipc_sender_end");
    find(sender_arm, "ipc_sender_arm");
    find(sender_fd, "ipc_sender_fd");
    find(sender_stats, "ipc_sender_stats");
    find(sender_close, "ipc_sender_close");
    find(sender_freeze, "ipc_sender_freeze");
    find(sender_adopt, "ipc_sender_adopt");
    find(sender_forget, "ipc_sender_forget");
    find(receiver_open, "ipc_receiver_open");
    find(receiver_url, "ipc_receiver_url");
    find(receive, "ipc_receiver_receive");
    find(release, "ipc_receiver_release");
    find(receiver_arm, "ipc_receiver_arm");
    find(receiver_fd, "ipc_receiver_fd");
    find(receiver_close, "ipc_receiver_close");
    find(receiver_freeze, "ipc_receiver_freeze");
    find(receiver_adopt, "ipc_receiver_adopt");
    find(receiver_forget, "ipc_receiver_forget");
}

std::string version_of(const std::string &path) { return library(path).version(); }

ipc_writer::ipc_writer(const library &l, const std::string &url, std::size_t capacity, std::int64_t wait)
    : lib(l), patience(wait) {
    ipc_sender_options options{};
    options.struct_size = sizeof options;
    options.capacity = capacity;
    char words[512];
    if (lib.sender_open(&handle, url.c_str(), &options, words, sizeof words) < 0) throw std::runtime_error(words);
}

ipc_reader::ipc_reader(const library &l, const std::string &url, std::int64_t wait) : lib(l), patience(wait) {
    message.struct_size = sizeof message;
    char words[512];
    if (lib.receiver_open(&handle, url.c_str(), nullptr, words, sizeof words) < 0) throw std::runtime_error(words);
}

namespace {

// A channel of libipc. The sender opens when the receiver has: what is looked for need not be looked for again, and the
// port is known. It closes when the receiver has come to the end.
struct channel {
    struct shared {
        std::atomic<int> open, ended, over;
        char url[200];
    };
    std::string path, url;
    std::size_t capacity;
    std::int64_t patience;
    shared_memory page{sizeof(shared)};
    channel(const std::string &p, const std::string &u, std::size_t c, std::int64_t wait)
        : path(p), url(u), capacity(c), patience(wait) {}
    shared &both() const { return *reinterpret_cast<shared *>(page.get()); }
    void give_up() {}
    static constexpr bool grows = true;

    struct writer {
        channel &c;
        library lib;
        ipc_writer w;
        explicit writer(channel &there) : c(there), lib(c.path), w(lib, wait_for_url(c), c.capacity, c.patience) {}
        ~writer() {
            // What is not in the pipe or socket yet gets there within calls.
            for (std::int64_t end = monotonic_ns() + 5'000'000'000; monotonic_ns() < end && !c.both().over.load();)
                lib.flush(w.handle, 100'000);
            w.linger = 0;
        }
        static const char *wait_for_url(channel &c) {
            while (c.both().open.load(std::memory_order_acquire) == 0) sched_yield();
            return c.both().url;
        }
        std::byte *room(std::size_t size) { return w.room(size); }
        void publish(std::size_t size) { w.publish(size); }
        void finish() {
            w.finish();
            c.both().ended.store(1, std::memory_order_release);
        }
    };
    struct reader {
        channel &c;
        library lib;
        ipc_reader r;
        explicit reader(channel &there) : c(there), lib(c.path), r(lib, c.url, c.patience) {
            std::string url(lib.receiver_url(r.handle));
            c.both().url[url.copy(c.both().url, sizeof c.both().url - 1)] = 0;
            c.both().open.store(1, std::memory_order_release);
        }
        const std::byte *next(std::size_t size) { return or_over(r.next(size)); }
        const std::byte *or_over(const std::byte *payload) {
            if (!payload) c.both().over.store(1);
            return payload;
        }
        std::uint64_t sequence() const { return r.sequence(); }
        void done() { r.done(); }
    };
};

// A pipe or a socket takes a large message piece by piece, in the calls of its sender: one that waits for an answer on
// another handle waits on both.
struct byte_stream : channel {
    using channel::channel;
    using channel::writer;
    static constexpr bool grows = false;
    struct reader : channel::reader {
        writer *other = nullptr;
        explicit reader(byte_stream &there) : channel::reader(there) {}
        void wait_beside(writer &w) { other = &w; }
        const std::byte *next(std::size_t size) {
            if (!other) return channel::reader::next(size);
            for (ipc_sender *sender = other->w.handle;;) {
                std::int32_t code = lib.receive(r.handle, &r.message, 0);
                if (code == IPC_MESSAGE) return static_cast<const std::byte *>(r.message.data);
                if (code == IPC_END) return or_over(nullptr);
                if (code != -EAGAIN && code != -EINTR) lib.must(code, "receive");
                lib.flush(sender, 0);
                pollfd both[] = {{lib.receiver_fd(r.handle), POLLIN, 0}, {lib.sender_fd(sender), POLLIN, 0}};
                if (lib.receiver_arm(r.handle) == 1 && lib.sender_arm(sender) == 1) poll(both, 2, -1);
            }
        }
    };
};

// On a datagram socket the end may get lost like anything else: then it is over when nothing has come for a while.
struct datagrams : channel {
    using channel::channel;
    using channel::writer;
    static constexpr bool grows = false;
    struct reader : channel::reader {
        explicit reader(datagrams &there) : channel::reader(there) {}
        const std::byte *next(std::size_t) {
            for (;;) {
                bool ended = c.both().ended.load(std::memory_order_acquire) != 0;
                std::int32_t code = lib.receive(r.handle, &r.message, 100'000'000);
                if (code == IPC_MESSAGE) return static_cast<const std::byte *>(r.message.data);
                if (code == IPC_END || (code == -ETIMEDOUT && ended)) return or_over(nullptr);
                if (code != -ETIMEDOUT && code != -EINTR) lib.must(code, "receive");
            }
        }
    };
};

template <class Channel = channel>
contender on(const std::string &name, const std::string &path, std::function<std::string(std::size_t)> url,
             std::int64_t patience = -1, std::size_t most = ~std::size_t{0}) {
    contender c = over<Channel>(name, contender::ours, most, [=](std::size_t, std::size_t capacity) {
        // Shared memory as users open it: with no size chosen, it grows to what it needs.
        return Channel(path, url(capacity), Channel::grows ? 0 : capacity, patience);
    });
    return c;
}

// Each channel of a run has a name of its own.
std::string fresh(const std::string &prefix) {
    static int made;
    return prefix + std::to_string(made++);
}
std::string fresh_file(const char *scheme) { return fresh(scheme + std::string(std::getenv("IPC_DIR")) + "/bench-"); }

}  // namespace

contender shared_memory_of(const std::string &name, const std::string &path) {
    return on(name, path, [](std::size_t) { return fresh("shm://bench-"); });
}
contender spinning_of(const std::string &name, const std::string &path) {
    return on(
        name + " spinning", path, [](std::size_t) { return fresh("shm://bench-"); }, 0);
}

std::vector<contender> other_transports() {
    // A FIFO's receiver takes half of its capacity, which the sender can't tell it.
    auto fifo = [](std::size_t capacity) { return fresh_file("pipe://") + "?capacity=" + std::to_string(capacity); };
    std::vector<contender> all{
        on<byte_stream>("libipc pipe", "", fifo, -1, 32 << 20),
        on<byte_stream>("libipc unix", "", [](std::size_t) { return fresh_file("unix://"); }),
        on<byte_stream>("libipc tcp", "", [](std::size_t) { return "tcp://127.0.0.1:0"; }),
        on<datagrams>(
            "libipc udp", "", [](std::size_t) { return "udp://127.0.0.1:0"; }, -1, 65'443),
    };
    all.back().lossy = true;
    return all;
}

}  // namespace bench
