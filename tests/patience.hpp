// How long a test waits for what is to come, before it takes it for hung. A machine that does other things as well is
// slower, so that each limit of a wait is a multiple of this. patience.sh and julia/test/support.jl say the same.
#pragma once

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

// 1 on an idle machine: what runs, or has run in the last minute, for each processor, beside this one.
inline int busyness() {
    double last_minute = 0, ignored;
    unsigned running = 0;
    std::ifstream("/proc/loadavg") >> last_minute >> ignored >> ignored >> running;
    return 1 +
           static_cast<int>(std::max<double>(last_minute, running) / std::max(1u, std::thread::hardware_concurrency()));
}
