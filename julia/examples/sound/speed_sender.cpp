// Sends messages of SIZE bytes for SECONDS: as fast as they are taken, or one each INTERVAL microseconds. Every byte of
// message n is n modulo 256; the tag is the time, CLOCK_MONOTONIC in ns.
//   speed_sender URL SIZE SECONDS [INTERVAL]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <ipc/ipc.hpp>
#include <thread>

int main(int count, char **arguments) try {
    if (count < 4) return std::fprintf(stderr, "usage: speed_sender URL SIZE SECONDS [INTERVAL]\n"), 2;
    using clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
    std::size_t size = std::strtoull(arguments[2], nullptr, 10);
    auto due = clock::now(), end = due + std::chrono::seconds(std::atol(arguments[3]));
    std::chrono::microseconds interval(count > 4 ? std::atol(arguments[4]) : 0);
    ipc::sender sender(arguments[1], size < (1 << 18) ? 0 : 16 << 20);
    for (int n = 1; clock::now() < end; ++n) {
        ipc::reservation room = sender.reserve(size, std::chrono::seconds(60));
        std::memset(room.bytes().data(), n, size);
        room.commit(size, static_cast<std::uint64_t>(clock::now().time_since_epoch().count()));
        if (interval.count() != 0) std::this_thread::sleep_until(due += interval);
    }
    return sender.close(std::chrono::seconds(60)) != 0;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "speed_sender: %s\n", e.what()), 1;
}
