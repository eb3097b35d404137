// Sends COUNT messages of SIZE bytes; at full speed, or one each INTERVAL microseconds. The tag is CLOCK_MONOTONIC in
// ns.
//   speed_sender URL SIZE COUNT INTERVAL-US
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <ipc/ipc.hpp>
#include <thread>

int main(int count, char **arguments) try {
    if (count != 5) return std::fprintf(stderr, "usage: speed_sender URL SIZE COUNT INTERVAL-US\n"), 2;
    using clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
    std::size_t size = std::strtoull(arguments[2], nullptr, 10);
    long messages = std::atol(arguments[3]);
    std::chrono::microseconds interval(std::atol(arguments[4]));
    ipc::sender sender(arguments[1], size > (1 << 18) ? 16 << 20 : 0);
    auto due = clock::now();
    for (long i = 0; i < messages; ++i) {
        ipc::reservation room = sender.reserve(size);
        std::memset(room.bytes().data(), static_cast<int>(i), size);
        room.commit(size, static_cast<std::uint64_t>(clock::now().time_since_epoch().count()));
        if (interval.count() != 0) std::this_thread::sleep_until(due += interval);
    }
    return sender.close(std::chrono::seconds(10)) != 0;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "speed_sender: %s\n", e.what()), 1;
}
