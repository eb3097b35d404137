// The same work for every contender: how messages are filled and read, when a measurement starts and ends, when a
// message is due.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "clock.hpp"
#include "pair.hpp"
#include "schedule.hpp"

namespace bench {

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
    b.leave();
    b.note_memory(0);
    to.finish();
}

// Reader: const std::byte *next(size), null at the end; void done(); and if messages may get lost, sequence(), of the
// last one. The clock is the receiver's: what has arrived counts.
template <class Size, class Reader>
void drain(board &b, Reader &from, Size size, double seconds, double warm_up_seconds = 0) {
    const std::uint64_t stride = size >= 4096 ? 1 : 64;
    std::uint64_t n = 0, sequence = 0, start = 0, counted = 0;
    std::uint64_t now = ticks(), until = now + to_ticks(std::max({seconds * 0.2, 0.02, warm_up_seconds}) * 1e9);
    bool stopped = false;
    while (const std::byte *payload = from.next(size)) {
        ++n;
        if constexpr (requires { from.sequence(); })
            sequence = from.sequence();
        else
            sequence = n;
        check(payload, size, sequence);
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
            b.note_memory(1);
            b.stop.store(1);
            stopped = true;
        }
    }
    b.leave();
    b.messages = n;
    b.lost = sequence - n;
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

// Calls send(sent at, in ticks) so often a second for as long as the setting says, or at least twice; in between it
// sleeps, or spins if there is no time to. With 0 a second: again and again.
template <class Send>
void at_rate(board &b, const setting &s, double per_second, Send send) {
    constexpr double shortest_nap_ns = 50'000;
    double gap_ns = per_second > 0 ? 1e9 / per_second : 0;
    std::uint64_t start = ticks(), end = start + to_ticks(s.seconds * 1e9);
    schedule plan{start, gap_ns / ns_per_tick()};
    for (std::uint64_t n = 1;; ++n) {
        std::uint64_t ready = ticks(), woken = ready, due = per_second > 0 ? plan.due(n) : ready;
        if (n > 3 && due >= end) break;
        if (ready < due && gap_ns >= shortest_nap_ns) {
            auto ns = static_cast<long>(to_ns(due - ready));
            timespec nap{ns / 1'000'000'000, ns % 1'000'000'000};
            nanosleep(&nap, nullptr);
            ++b.naps;
            woken = ticks();
        } else if (ready < due) {
            while ((woken = ticks()) < due) pause();
            b.idle_ns += static_cast<std::uint64_t>(to_ns(woken - ready));
        }
        send(per_second > 0 ? plan.sent(n, ready, woken) : ready);
    }
}

// The first tenth is warm-up.
inline bool is_warm_up(const setting &s, std::uint64_t start) { return to_ns(ticks() - start) < s.seconds * 1e8; }

// Calls exchange(n) again and again, at least three times, and records half of what each but the first takes.
template <class Exchange>
void time_exchanges(board &b, const setting &s, Exchange exchange) {
    std::uint64_t start = ticks(), end = start + to_ticks(s.seconds * 1e9), before = start, n = 0;
    while (before < end || n < 3) {
        exchange(++n);
        std::uint64_t after = ticks_after();
        if (n > 1 && (n == 2 || !is_warm_up(s, start))) b.latency.add((after - before) / 2);
        before = after;
    }
    b.messages = 2 * n;
}

}  // namespace bench
