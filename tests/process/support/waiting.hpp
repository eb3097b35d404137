// How long tests wait, and for what. Every wait has a limit.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include "../../patience.hpp"

using namespace std::chrono_literals;

// Limits are stretched where everything is slower.
#ifndef SLOWER
#define SLOWER 1
#endif
inline const std::chrono::nanoseconds limit = 20s * SLOWER * busyness();
inline const std::int64_t limit_ns = limit.count();
inline constexpr std::int64_t briefly = 1'000'000;  // for a wait that is to find nothing

// Waits until a condition holds, by asking again and again.
inline void doze() { std::this_thread::sleep_for(2ms); }
template <class Condition>
bool eventually(Condition &&condition, std::chrono::nanoseconds patience = limit) {
    auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        doze();
    }
    return true;
}
