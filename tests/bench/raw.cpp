// What the machine gives: a cache line that moves, a process that is woken, memory that is written here and read there.
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <vector>

#include "load.hpp"

namespace bench {

namespace {

struct alignas(64) line {
    std::atomic<std::uint64_t> word{0};
};

// Slots in plain shared memory, and a flag for each: nothing else, and nothing less.
struct floor_side {
    line *flags;
    std::byte *memory;
    std::size_t slots, stride;
    std::size_t at = 0;
    void advance() {
        if (++at == slots) at = 0;
    }
};

enum : std::uint64_t { empty, full, over };

struct floor_writer : floor_side {
    std::byte *room(std::size_t) {
        while (flags[at].word.load(std::memory_order_acquire) != empty) pause();
        return memory + at * stride;
    }
    void publish(std::size_t) {
        flags[at].word.store(full, std::memory_order_release);
        advance();
    }
    void finish() {
        while (flags[at].word.load(std::memory_order_acquire) != empty) pause();
        flags[at].word.store(over, std::memory_order_release);
    }
};

struct floor_reader : floor_side {
    const std::byte *next(std::size_t) {
        std::uint64_t flag;
        while ((flag = flags[at].word.load(std::memory_order_acquire)) == empty) pause();
        return flag == over ? nullptr : memory + at * stride;
    }
    void done() {
        flags[at].word.store(empty, std::memory_order_release);
        advance();
    }
};

// The loop that our ring is at heart, without anything that makes it a library: a header word that is the commit, the
// next one zeroed before, the line for a later message asked for early, room given back now and then.
struct bare_frame {
    std::atomic<std::uint64_t> word;
    std::uint64_t tag;
};

struct bare_side {
    std::byte *memory;
    std::atomic<std::uint64_t> *released;
    std::uint64_t frames, stride;
    std::uint64_t at = 0, count = 0;
    bare_frame &frame(std::uint64_t i) const { return *reinterpret_cast<bare_frame *>(memory + i * stride); }
    std::uint64_t after() const { return at + 1 == frames ? 0 : at + 1; }
    static constexpr std::uint64_t given_back_every = 64;
};

struct bare_writer : bare_side {
    std::uint64_t limit = 0;
    std::byte *room(std::size_t) {
        while (count >= limit) limit = released->load(std::memory_order_acquire) + frames - 1;
        return memory + at * stride + sizeof(bare_frame);
    }
    void store(std::uint64_t word) {
        bare_frame &f = frame(at);
        at = after();
        ++count;
        frame(at).word.store(0, std::memory_order_relaxed);
        __builtin_prefetch(memory + at * stride + 512, 1);
        f.tag = count;
        f.word.store(word, std::memory_order_release);
    }
    void publish(std::size_t) { store(full); }
    void finish() {
        room(0);
        store(over);
    }
};

struct bare_reader : bare_side {
    const std::byte *next(std::size_t) {
        std::uint64_t word;
        while ((word = frame(at).word.load(std::memory_order_acquire)) == empty) pause();
        return word == over ? nullptr : memory + at * stride + sizeof(bare_frame);
    }
    void done() {
        at = after();
        if (++count % given_back_every == 0) released->store(count, std::memory_order_release);
    }
};

struct eventfd_owner {
    int fd = eventfd(0, EFD_CLOEXEC);
    eventfd_owner() {
        if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    ~eventfd_owner() { close(fd); }
    void ring() const {
        std::uint64_t one = 1;
        if (write(fd, &one, sizeof one) != sizeof one)
            throw std::system_error(errno, std::generic_category(), "ringing");
    }
    void wait() const {
        std::uint64_t count;
        if (read(fd, &count, sizeof count) != sizeof count)
            throw std::system_error(errno, std::generic_category(), "waiting");
    }
};

}  // namespace

const board &flood_floor(const setting &s, std::size_t size) {
    std::size_t stride = (size + 63) / 64 * 64, slots = std::max<std::size_t>(s.capacity / stride, 2);
    shared_memory flags(slots * sizeof(line)), memory(slots * stride);
    floor_side both{reinterpret_cast<line *>(flags.get()), memory.get(), slots, stride};
    return run_pair(
        s.where,
        [&](board &b) {
            floor_writer w{both};
            b.meet();
            with_size(size, [&](auto n) { pump(b, w, n); });
        },
        [&](board &b) {
            floor_reader r{both};
            b.meet();
            with_size(size, [&](auto n) { drain(b, r, n, s.seconds); });
        });
}

const board &flood_bare(const setting &s, std::size_t size) {
    std::size_t stride = (sizeof(bare_frame) + size + 15) / 16 * 16;
    shared_memory memory(s.capacity + 4096), released(64);
    bare_side both{memory.get(), reinterpret_cast<std::atomic<std::uint64_t> *>(released.get()), s.capacity / stride,
                   stride};
    return run_pair(
        s.where,
        [&](board &b) {
            bare_writer w{both};
            b.meet();
            with_size(size, [&](auto n) { pump(b, w, n); });
        },
        [&](board &b) {
            bare_reader r{both};
            b.meet();
            with_size(size, [&](auto n) { drain(b, r, n, s.seconds); });
        });
}

const board &spin_line(const setting &s) {
    shared_memory memory(sizeof(line));
    auto &there = *reinterpret_cast<line *>(memory.get());
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();
            at_intervals(b, s, spin_gap_ns, false,
                         [&](std::uint64_t now) { there.word.store(now, std::memory_order_release); });
            there.word.store(1, std::memory_order_release);
        },
        [&](board &b) {
            b.meet();
            std::uint64_t start = ticks();
            for (std::uint64_t last = 0, now; last != 1; last = now) {
                while ((now = there.word.load(std::memory_order_acquire)) == last) pause();
                std::uint64_t seen = ticks_after();
                if (now != 1 && !is_warm_up(s, start)) b.add_sample(seen - now);
            }
        });
}

const board &answered_line(const setting &s) {
    shared_memory memory(2 * sizeof(line));
    auto *lines = reinterpret_cast<line *>(memory.get());
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();
            std::uint64_t n = 0;
            sample_exchanges(b, s, [&] {
                lines[0].word.store(++n, std::memory_order_release);
                while (lines[1].word.load(std::memory_order_acquire) != n) pause();
            });
            lines[0].word.store(~std::uint64_t{0}, std::memory_order_release);
        },
        [&](board &b) {
            b.meet();
            for (std::uint64_t last = 0, now;; last = now) {
                while ((now = lines[0].word.load(std::memory_order_acquire)) == last) pause();
                if (now == ~std::uint64_t{0}) return;
                lines[1].word.store(now, std::memory_order_release);
            }
        });
}

const board &asleep_eventfd(const setting &s) {
    shared_memory memory(sizeof(line));
    auto &there = *reinterpret_cast<line *>(memory.get());
    eventfd_owner bell;
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();
            at_intervals(b, s, asleep_gap_ns, true, [&](std::uint64_t now) {
                there.word.store(now, std::memory_order_release);
                bell.ring();
            });
            there.word.store(1, std::memory_order_release);
            bell.ring();
        },
        [&](board &b) {
            b.meet();
            std::uint64_t start = ticks();
            for (;;) {
                bell.wait();
                std::uint64_t now = there.word.load(std::memory_order_acquire), seen = ticks_after();
                if (now == 1) return;
                if (!is_warm_up(s, start)) b.add_sample(seen - now);
            }
        });
}

const board &answered_eventfd(const setting &s) {
    shared_memory memory(sizeof(line));
    auto &over_word = *reinterpret_cast<line *>(memory.get());
    eventfd_owner there, back;
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();
            sample_exchanges(b, s, [&] {
                there.ring();
                back.wait();
            });
            over_word.word.store(over, std::memory_order_release);
            there.ring();
        },
        [&](board &b) {
            b.meet();
            for (;;) {
                there.wait();
                if (over_word.word.load(std::memory_order_acquire) == over) return;
                back.ring();
            }
        });
}

double memcpy_rate(const setting &s, std::size_t size) {
    shared_memory memory(2 * size);
    const board &b = run_pair(
        s.where,
        [&](board &here) {
            std::byte *from = memory.get(), *to = from + size;
            std::uint64_t n = 0, start = 0, now = ticks(), until = now + to_ticks(s.seconds * 2e8);
            for (;;) {
                for (std::size_t done = 0; done < std::max<std::size_t>(size, 1 << 20); done += size, ++n) {
                    std::memcpy(to, from, size);
                    asm volatile("" : : "r"(to) : "memory");
                }
                now = ticks();
                if (now < until) continue;
                if (start != 0) break;
                start = now;
                n = 0;
                until = now + to_ticks(s.seconds * 8e8);
            }
            here.messages_per_s = static_cast<double>(n) / to_ns(now - start) * 1e9;
        },
        [](board &) {});
    return b.messages_per_s * static_cast<double>(size);
}

}  // namespace bench
