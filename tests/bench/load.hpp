// The same work for every contender: how messages are filled and read, when a measurement starts and ends, when a
// message is due.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "clock.hpp"
#include "contender.hpp"

namespace bench {

inline constexpr double spin_gap_ns = 2'000;
inline constexpr double asleep_gap_ns = 1'000'000;

inline void fill(std::byte *payload, std::size_t size, std::uint64_t sequence) {
    std::memset(payload, static_cast<int>(sequence & 255), size);
}

inline void check(const std::byte *payload, std::size_t size, std::uint64_t sequence) {
    const auto *words = reinterpret_cast<const std::uint64_t *>(payload);
    std::uint64_t sum = 0, count = size / 8;
    for (std::size_t i = 0; i < count; ++i) sum += words[i];
    if (sum != (sequence & 255) * 0x0101010101010101u * count)
        throw std::runtime_error("what was read is not what was written");
}

// Writer: std::byte *room(size), void publish(size), void finish(). Size as a type, so that a small one costs what it
// costs a user who sends a struct: no call of memset.
template <class Size, class Writer>
void pump(board &b, Writer &to, Size size) {
    std::uint64_t sequence = 0;
    while (b.stop.load(std::memory_order_relaxed) == 0) {
        fill(to.room(size), size, ++sequence);
        to.publish(size);
    }
    to.finish();
}

// Reader: const std::byte *next(size), null at the end; void done(). The clock is the receiver's: what has arrived
// counts.
template <class Size, class Reader>
void drain(board &b, Reader &from, Size size, double seconds) {
    const std::uint64_t stride = size >= 4096 ? 1 : 64;
    std::uint64_t n = 0, start = 0, counted = 0;
    std::uint64_t now = ticks(), until = now + to_ticks(std::max(seconds * 0.2, 0.02) * 1e9);
    bool stopped = false;
    while (const std::byte *payload = from.next(size)) {
        check(payload, size, ++n);
        from.done();
        if (n % stride != 0 || stopped) continue;
        now = ticks();
        if (now < until) continue;
        if (start == 0) {  // warmed up: every page touched, every cache filled
            start = now;
            counted = n;
            until = now + to_ticks(seconds * 1e9);
        } else {
            b.messages_per_s = static_cast<double>(n - counted) / to_ns(now - start) * 1e9;
            b.stop.store(1);
            stopped = true;
        }
    }
    b.messages = n;
}

template <std::size_t N>
struct constant_size {
    operator std::size_t() const { return N; }
};

// Calls f(size), with the size as a type if it is one of the small ones.
template <class F>
void with_size(std::size_t size, F f) {
    switch (size) {
        case 8:
            return f(constant_size<8>());
        case 64:
            return f(constant_size<64>());
        default:
            return f(size);
    }
}

// Calls send(ticks) for as long as the setting says, each time gap_ns after the last; spinning, or asleep like a
// program that has nothing to do.
template <class Send>
void at_intervals(board &b, const setting &s, double gap_ns, bool asleep, Send send) {
    std::uint64_t start = ticks(), end = start + to_ticks(s.seconds * 1e9), gap = to_ticks(gap_ns), due = start, n = 0;
    while (due < end) {
        due += gap;
        if (asleep) {
            auto ns = static_cast<long>(due > ticks() ? to_ns(due - ticks()) : 0);
            timespec nap{ns / 1'000'000'000, ns % 1'000'000'000};
            nanosleep(&nap, nullptr);
        } else {
            while (ticks() < due) pause();
        }
        due = ticks();
        send(due);
        ++n;
    }
    b.messages = n;
}

// The first tenth is warm-up.
inline bool is_warm_up(const setting &s, std::uint64_t start) { return to_ns(ticks() - start) < s.seconds * 1e8; }

// Calls exchange() again and again, and samples half of what each takes.
template <class Exchange>
void sample_exchanges(board &b, const setting &s, Exchange exchange) {
    std::uint64_t start = ticks(), end = start + to_ticks(s.seconds * 1e9), before = start, n = 0;
    while (before < end) {
        exchange();
        std::uint64_t after = ticks_after();
        n += 2;
        if (!is_warm_up(s, start)) b.add_sample((after - before) / 2);
        before = after;
    }
    b.messages = n;
}

}  // namespace bench
