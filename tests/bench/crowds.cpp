// What many others on a channel, and a long life, cost.
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "load.hpp"
#include "ours.hpp"

namespace bench {

namespace {

constexpr char url[] = "shm://bench-crowd";
constexpr constant_size<64> size;

void allow_descriptors() {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void send_one(ipc_writer &to, std::uint64_t sequence) {
    fill(to.room(size), size, sequence);
    to.publish(size);
}

// Freezes, forgets and adopts: what a reload does to a handle.
template <class Handle, class Freeze, class Forget, class Adopt>
void reload(const library &lib, Handle *&handle, Freeze freeze, Forget forget, Adopt adopt) {
    std::int32_t needed = freeze(handle, nullptr, 0);
    lib.must(needed, "freeze");
    std::vector<char> state(static_cast<std::size_t>(needed));
    lib.must(freeze(handle, state.data(), state.size()), "freeze");
    lib.must(forget(handle), "forget");
    lib.must(adopt(&handle, state.data(), state.size(), nullptr, 0), "adopt");
}

std::uint64_t switches_of(pid_t pid) {
    std::uint64_t sum = 0;
    for (auto &task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
        std::ifstream file(task.path() / "status");
        for (std::string word; file >> word;)
            if (std::uint64_t n; word.ends_with("voluntary_ctxt_switches:") && file >> n) sum += n;
    }
    return sum;
}

}  // namespace

const board &commits(const setting &s, unsigned receivers) {
    constexpr unsigned burst = 1000;
    return run_pair(
        s,
        [&](board &b) {
            b.meet();  // the receivers are there
            library lib("");
            ipc_writer w(lib, url, s.capacity);
            std::uint64_t spent = 0, n = 0, sequence = 0, end = ticks() + to_ticks(s.seconds * 1e9);
            for (bool warm = false; ticks() < end || n == 0; warm = true) {
                std::uint64_t start = ticks();
                for (unsigned i = 0; i < burst; ++i) send_one(w, ++sequence);
                if (warm) {
                    spent += ticks() - start;
                    n += burst;
                }
                lib.must(lib.flush(w.handle, -1), "flush");
            }
            b.messages = n;
            b.messages_per_s = static_cast<double>(n) / to_ns(spent) * 1e9;
            w.finish();
        },
        [&](board &b) {
            library lib("");
            std::vector<std::unique_ptr<ipc_reader>> readers;
            for (unsigned i = 0; i < receivers; ++i) readers.push_back(std::make_unique<ipc_reader>(lib, url));
            b.meet();
            for (unsigned left = receivers; left > 0;)
                for (auto &r : readers) {
                    if (!r) continue;
                    std::int32_t code = lib.receive(r->handle, &r->message, 0);
                    if (code == IPC_MESSAGE) {
                        check(static_cast<const std::byte *>(r->message.data), size, r->sequence());
                        r->done();
                    } else if (code == IPC_END) {
                        r.reset();
                        --left;
                    } else if (code != -EAGAIN) {
                        lib.must(code, "receive");
                    }
                }
        });
}

const board &from_senders(const setting &s, unsigned senders) {
    return run_pair(
        s,
        [&](board &b) {
            b.meet();  // the receiver is there
            library lib("");
            std::vector<std::unique_ptr<ipc_writer>> all;
            for (unsigned i = 0; i < senders; ++i) all.push_back(std::make_unique<ipc_writer>(lib, url, s.capacity));
            for (std::uint64_t sequence = 1; b.stop.load(std::memory_order_relaxed) == 0; ++sequence)
                for (auto &w : all) send_one(*w, sequence);
        },
        [&](board &b) {
            library lib("");
            // The end is when all have ended.
            struct all_ends : ipc_reader {
                unsigned left;
                all_ends(const library &l, unsigned n) : ipc_reader(l, url), left(n) {}
                const std::byte *next(std::size_t n) {
                    for (; left > 0; --left)
                        if (const std::byte *p = ipc_reader::next(n)) return p;
                    return nullptr;
                }
            } r(lib, senders);
            b.meet();
            drain(b, r, size, s.seconds);
        });
}

unsigned most_idle_senders() {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<unsigned>(std::min<rlim_t>(limit.rlim_max, 1'000'000) / 8);
}

const board &among_idle(const setting &s, unsigned others) {
    return run_pair(
        s,
        [&](board &b) {
            allow_descriptors();
            b.meet();  // the receiver is there
            library lib("");
            std::vector<std::unique_ptr<ipc_writer>> idle;
            for (unsigned i = 0; i < others; ++i) {
                idle.push_back(std::make_unique<ipc_writer>(lib, url, 1 << 16));
                send_one(*idle.back(), 0);
            }
            for (auto &w : idle) lib.must(lib.flush(w->handle, -1), "flush");
            ipc_writer w(lib, url, s.capacity);
            b.meet();
            pump(b, w, size);
        },
        [&](board &b) {
            allow_descriptors();
            library lib("");
            ipc_reader r(lib, url);
            b.meet();
            for (unsigned i = 0; i < others; ++i) {
                r.next(size);
                r.done();
            }
            b.meet();
            drain(b, r, size, s.seconds);
        });
}

const board &after_past(const setting &s, const past &p) {
    shared_memory page(sizeof(std::atomic<std::uint64_t>));
    auto &links = *reinterpret_cast<std::atomic<std::uint64_t> *>(page.get());
    return run_pair(
        s,
        [&](board &b) {
            b.meet();  // the receiver is there
            library lib("");
            ipc_writer w(lib, url, s.capacity);
            ipc_sender_counters c{};
            c.struct_size = sizeof c;
            while (b.met.load() == 2) {  // sees them come and go
                lib.sender_stats(w.handle, &c);
                links.store(c.links);
            }
            for (unsigned i = 0; i < p.reloads; ++i)
                reload(lib, w.handle, lib.sender_freeze, lib.sender_forget, lib.sender_adopt);
            b.meet();
            pump(b, w, size);
        },
        [&](board &b) {
            library lib("");
            ipc_reader r(lib, url);
            b.meet();
            auto wait_for = [&](std::uint64_t n) {
                while (links.load() != n) {
                    std::int32_t code = lib.receive(r.handle, &r.message, 0);
                    if (code != -EAGAIN) lib.must(code, "receive");
                }
            };
            for (unsigned i = 0; i < p.connections; ++i) {
                wait_for(1);
                ipc_reader other(lib, url);
                wait_for(2);
            }
            wait_for(1);
            for (unsigned i = 0; i < p.reloads; ++i)
                reload(lib, r.handle, lib.receiver_freeze, lib.receiver_forget, lib.receiver_adopt);
            b.meet();
            drain(b, r, size, s.seconds, p.seconds);
        });
}

std::uint64_t switches_while_idle(const setting &s, double seconds) {
    std::uint64_t switches = 0;
    constexpr std::int64_t margin_ns = 500'000'000;
    auto wait_ns = static_cast<std::int64_t>(seconds * 1e9) + 2 * margin_ns;
    shared_memory page(sizeof(std::atomic<int>));
    auto &begun = *reinterpret_cast<std::atomic<int> *>(page.get());
    run_pair(
        s,
        [&](board &b) {
            library lib("");
            b.meet();
            ipc_writer w(lib, url, 1 << 16);
            void *p;
            while (lib.reserve(w.handle, 1024, &p, 0) == 0) w.publish(1024);  // until it is full
            begun.fetch_add(1);
            lib.reserve(w.handle, 1024, &p, wait_ns);
            b.meet();
        },
        [&](board &b) {
            library lib("");
            ipc_reader full(lib, url), waiting(lib, "shm://bench-idle");
            b.meet();
            while (begun.load() == 0) lib.receive(waiting.handle, &waiting.message, 1'000'000);
            begun.fetch_add(1);
            lib.receive(waiting.handle, &waiting.message, wait_ns);
            b.meet();
            while (full.next(1024)) full.done();
        },
        [&](pid_t sender, pid_t receiver) {
            auto sleep = [](double how_long) { poll(nullptr, 0, static_cast<int>(how_long * 1e3)); };
            for (int i = 0; begun.load() < 2; ++i) {
                if (i == 20'000) throw std::runtime_error("the two did not come to rest");
                sleep(0.001);
            }
            sleep(margin_ns / 1e9);
            std::uint64_t before = switches_of(sender) + switches_of(receiver);
            sleep(seconds);
            switches = switches_of(sender) + switches_of(receiver) - before;
        });
    return switches;
}

}  // namespace bench
