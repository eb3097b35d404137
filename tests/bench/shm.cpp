// libipc through its C ABI, payload written and read in place.
#include <dlfcn.h>
#include <ipc/ipc.h>
#include <sys/resource.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "load.hpp"

namespace bench {

namespace {

struct library {
    decltype(&ipc_version) version;
    decltype(&ipc_strerror) strerror;
    decltype(&ipc_sender_open) sender_open;
    decltype(&ipc_sender_reserve) reserve;
    decltype(&ipc_sender_commit) commit;
    decltype(&ipc_sender_flush) flush;
    decltype(&ipc_sender_end) end;
    decltype(&ipc_sender_stats) sender_stats;
    decltype(&ipc_sender_close) sender_close;
    decltype(&ipc_receiver_open) receiver_open;
    decltype(&ipc_receiver_receive) receive;
    decltype(&ipc_receiver_release) release;
    decltype(&ipc_receiver_stats) receiver_stats;
    decltype(&ipc_receiver_close) receiver_close;

    // Loaded in the process that uses it, so that one run can compare several builds.
    explicit library(const std::string &path) {
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
        find(sender_stats, "ipc_sender_stats");
        find(sender_close, "ipc_sender_close");
        find(receiver_open, "ipc_receiver_open");
        find(receive, "ipc_receiver_receive");
        find(release, "ipc_receiver_release");
        find(receiver_stats, "ipc_receiver_stats");
        find(receiver_close, "ipc_receiver_close");
    }
    void must(std::int32_t code, const char *what) const {
        if (code < 0) throw std::runtime_error(std::string(what) + ": " + strerror(code));
    }
};

// A sender or a receiver on a channel of its own for the time of one measurement.
struct writer {
    const library &lib;
    ipc_sender *handle = nullptr;
    writer(const library &l, const char *url, std::size_t capacity) : lib(l) {
        ipc_sender_options options{};
        options.struct_size = sizeof options;
        options.capacity = capacity;
        char words[512];
        if (lib.sender_open(&handle, url, &options, words, sizeof words) < 0) throw std::runtime_error(words);
    }
    std::byte *room(std::size_t size) {
        void *p;
        if (std::int32_t r = lib.reserve(handle, size, &p, -1); r < 0) lib.must(r, "reserve");
        return static_cast<std::byte *>(p);
    }
    void publish(std::size_t size) { lib.commit(handle, size, 0); }
    void send(std::uint64_t word) {
        std::memcpy(room(sizeof word), &word, sizeof word);
        publish(sizeof word);
    }
    void finish() { lib.end(handle); }
    // Counts, and stays until all is read.
    void close(board &b) {
        ipc_sender_counters c{};
        c.struct_size = sizeof c;
        lib.sender_stats(handle, &c);
        __atomic_fetch_add(&b.waits, c.waits, __ATOMIC_RELAXED);
        __atomic_fetch_add(&b.rings, c.rings, __ATOMIC_RELAXED);
        lib.must(lib.sender_close(handle, -1), "close");
    }
};

struct reader {
    const library &lib;
    ipc_receiver *handle = nullptr;
    ipc_message message{};
    reader(const library &l, const char *url) : lib(l) {
        message.struct_size = sizeof message;
        char words[512];
        if (lib.receiver_open(&handle, url, nullptr, words, sizeof words) < 0) throw std::runtime_error(words);
    }
    const std::byte *next(std::size_t, std::int64_t timeout_ns = -1) {
        std::int32_t r;
        while ((r = lib.receive(handle, &message, timeout_ns)) != IPC_MESSAGE) {
            if (r == IPC_END) return nullptr;
            if (r != -EAGAIN) {
                lib.must(r, "receive");
                throw std::runtime_error("the sender died");
            }
        }
        return static_cast<const std::byte *>(message.data);
    }
    // False at the end.
    bool receive(std::uint64_t &word, std::int64_t timeout_ns) {
        const std::byte *p = next(sizeof word, timeout_ns);
        if (p) std::memcpy(&word, p, sizeof word);
        return p != nullptr;
    }
    void done() { lib.release(handle, &message); }
    void close(board &b) {
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        lib.receiver_stats(handle, &c);
        __atomic_fetch_add(&b.waits, c.waits, __ATOMIC_RELAXED);
        __atomic_fetch_add(&b.rings, c.rings, __ATOMIC_RELAXED);
        lib.receiver_close(handle);
    }
};

constexpr char url_there[] = "shm://bench", url_back[] = "shm://bench-back";

const board &one_way(const libipc &which, const setting &s, double gap_ns, bool asleep) {
    return run_pair(
        s.where,
        [&](board &b) {
            library lib(which.path);
            writer w(lib, url_there, s.capacity);
            b.meet();
            at_intervals(b, s, gap_ns, asleep, [&](std::uint64_t now) { w.send(now); });
            w.finish();
            w.close(b);
        },
        [&](board &b) {
            library lib(which.path);
            reader r(lib, url_there);
            b.meet();
            std::uint64_t start = ticks();
            for (std::uint64_t now; r.receive(now, asleep ? -1 : 0);) {
                std::uint64_t seen = ticks_after();
                r.done();
                if (!is_warm_up(s, start)) b.add_sample(seen - now);
            }
            r.close(b);
        });
}

}  // namespace

const board &libipc::flood(const setting &s, std::size_t size) const {
    return run_pair(
        s.where,
        [&](board &b) {
            library lib(path);
            writer w(lib, url_there, s.capacity);
            b.meet();
            with_size(size, [&](auto n) { pump(b, w, n); });
            w.close(b);
        },
        [&](board &b) {
            library lib(path);
            reader r(lib, url_there);
            b.meet();
            with_size(size, [&](auto n) { drain(b, r, n, s.seconds); });
            r.close(b);
        });
}

const board &libipc::spin(const setting &s) const { return one_way(*this, s, spin_gap_ns, false); }
const board &libipc::asleep(const setting &s) const { return one_way(*this, s, asleep_gap_ns, true); }

const board &libipc::answered(const setting &s) const {
    return run_pair(
        s.where,
        [&](board &b) {
            library lib(path);
            reader r(lib, url_back);
            writer w(lib, url_there, s.capacity);
            b.meet();
            std::uint64_t word = 0;
            sample_exchanges(b, s, [&] {
                w.send(++word);
                r.receive(word, -1);
                r.done();
            });
            w.finish();
            w.close(b);
            while (r.receive(word, -1)) r.done();
            r.close(b);
        },
        [&](board &b) {
            library lib(path);
            reader r(lib, url_there);
            writer w(lib, url_back, s.capacity);
            b.meet();
            for (std::uint64_t word; r.receive(word, -1);) {
                r.done();
                w.send(word);
            }
            r.close(b);
            w.finish();
            w.close(b);
        });
}

const board &libipc::commits(const setting &s, unsigned receivers) const {
    constexpr unsigned burst = 1000;
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();  // the receivers are there
            library lib(path);
            writer w(lib, url_there, s.capacity);
            std::uint64_t spent = 0, n = 0, sequence = 0, end = ticks() + to_ticks(s.seconds * 1e9);
            for (bool warm = false; ticks() < end; warm = true) {
                std::uint64_t start = ticks();
                for (unsigned i = 0; i < burst; ++i) {
                    fill(w.room(64), constant_size<64>(), ++sequence);
                    w.publish(64);
                }
                if (warm) {
                    spent += ticks() - start;
                    n += burst;
                }
                lib.must(lib.flush(w.handle, -1), "flush");
            }
            b.messages = n;
            b.messages_per_s = static_cast<double>(n) / to_ns(spent) * 1e9;
            w.finish();
            w.close(b);
        },
        [&](board &b) {
            library lib(path);
            std::vector<std::unique_ptr<reader>> readers;
            for (unsigned i = 0; i < receivers; ++i) readers.push_back(std::make_unique<reader>(lib, url_there));
            b.meet();
            std::vector<std::uint64_t> sequences(receivers);
            for (unsigned left = receivers; left > 0;)
                for (unsigned i = 0; i < receivers; ++i) {
                    if (!readers[i]) continue;
                    std::int32_t r = lib.receive(readers[i]->handle, &readers[i]->message, 0);
                    if (r == IPC_MESSAGE) {
                        check(static_cast<const std::byte *>(readers[i]->message.data), 64, ++sequences[i]);
                        readers[i]->done();
                    } else if (r == IPC_END) {
                        readers[i]->close(b);
                        readers[i].reset();
                        --left;
                    } else if (r != -EAGAIN) {
                        lib.must(r, "receive");
                    }
                }
        });
}

const board &libipc::among_idle(const setting &s, unsigned others) const {
    auto allow_descriptors = [] {
        rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    };
    return run_pair(
        s.where,
        [&](board &b) {
            allow_descriptors();
            b.meet();  // the receiver is there
            library lib(path);
            std::vector<std::unique_ptr<writer>> idle;
            for (unsigned i = 0; i < others; ++i) {
                idle.push_back(std::make_unique<writer>(lib, url_there, 1 << 16));
                idle.back()->send(0);
            }
            for (auto &w : idle) lib.must(lib.flush(w->handle, -1), "flush");
            writer w(lib, url_there, s.capacity);
            b.meet();
            pump(b, w, constant_size<64>());
            w.close(b);
            for (auto &i : idle) i->close(b);
        },
        [&](board &b) {
            allow_descriptors();
            library lib(path);
            reader r(lib, url_there);
            b.meet();
            for (unsigned i = 0; i < others; ++i) {
                r.next(8);
                r.done();
            }
            b.meet();
            drain(b, r, constant_size<64>(), s.seconds);
            r.close(b);
        });
}

std::string libipc::version() const { return library(path).version(); }

}  // namespace bench
