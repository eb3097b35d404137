// Time as a processor counts it: reading a clock must cost little against the 100 ns that are to be measured.
#pragma once

#include <cstdint>
#include <ctime>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace bench {

inline std::int64_t monotonic_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

#if defined(__x86_64__)
inline std::uint64_t ticks() { return __rdtsc(); }
// After all loads before it: when a message was seen, not when the processor ran ahead.
inline std::uint64_t ticks_after() {
    unsigned cpu;
    return __rdtscp(&cpu);
}
inline void pause() { _mm_pause(); }
// As src/system/fence.hpp has it, and why.
inline void prefetch_for_writing(const void *p) { asm volatile("prefetchw %0" : : "m"(*static_cast<const char *>(p))); }
#else
inline std::uint64_t ticks() { return static_cast<std::uint64_t>(monotonic_ns()); }
inline std::uint64_t ticks_after() { return ticks(); }
inline void pause() {}
inline void prefetch_for_writing(const void *p) { __builtin_prefetch(p, 1); }
#endif

// Nanoseconds per tick, measured once against CLOCK_MONOTONIC before any process is forked.
inline double &ns_per_tick() {
    static double value = 1;
    return value;
}
inline void calibrate_ticks() {
    std::int64_t start_ns = monotonic_ns();
    std::uint64_t start = ticks();
    timespec nap{0, 50'000'000};
    nanosleep(&nap, nullptr);
    std::int64_t end_ns = monotonic_ns();
    ns_per_tick() = static_cast<double>(end_ns - start_ns) / static_cast<double>(ticks() - start);
}
inline double to_ns(std::uint64_t n) { return static_cast<double>(n) * ns_per_tick(); }
inline std::uint64_t to_ticks(double ns) { return static_cast<std::uint64_t>(ns / ns_per_tick()); }

}  // namespace bench
