// Idle means idle.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "support.hpp"

// How often the threads of a process were switched away from the processor, by themselves or by others.
static long context_switches(pid_t process) {
    long sum = 0;
    for (auto &thread : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
        std::ifstream status(thread.path() / "status");
        for (std::string line; std::getline(status, line);)
            if (line.find("voluntary_ctxt_switches:") != line.npos) sum += std::stol(line.substr(line.find(':') + 1));
    }
    return sum;
}

TEST_CASE_FIXTURE(scratch, "in ten seconds of waiting, in each way there is, no side runs at all") {
    std::vector<child> all;
    // A pair with nothing to say, one with a full ring, and two handles without a peer; blocked, and in a host's poll.
    all.push_back(receiver("shm://quiet"));
    all.back().say("read 1");
    all.push_back(sender("shm://quiet"));
    all.back().say("poll");
    all.push_back(sender("shm://full?capacity=64KiB"));
    std::string sent = all.back().ask("fill 1");
    all.back().say("try 0 -1");
    all.push_back(receiver("shm://full"));
    CHECK(all.back().ask("hold " + sent) == "1-" + sent);
    all.back().say("poll");
    all.push_back(sender("shm://nobody?capacity=64KiB"));
    all.back().ask("fill 1");
    all.back().say("try 0 -1");
    // Those whose ring has grown as far as it may, and one whose ring could become small again.
    for (const char *way : {"try 0 -1", "poll"}) {
        all.push_back(sender("shm://largest?capacity=64KiB&max_capacity=128KiB"));
        all.back().ask("fill 1");
        CHECK(all.back().ask("try 0 -1") == "0");
        all.back().ask("fill 1");
        all.back().say(way);
    }
    all.push_back(sender("shm://large"));
    all.push_back(receiver("shm://large"));
    all[all.size() - 2].ask("send 1 1 10000000");
    CHECK(all.back().ask("read 1") == "1");
    all.back().say("poll");
    all[all.size() - 2].say("poll");
    all.push_back(receiver("shm://nowhere"));
    all.back().say("read 1");

    auto switches = [&] {
        std::vector<long> each;
        for (child &c : all) each.push_back(context_switches(c.pid()));
        return each;
    };
    std::vector<long> before;
    REQUIRE(eventually([&] {
        auto earlier = std::exchange(before, switches());
        std::this_thread::sleep_for(100ms);
        return std::all_of(all.begin(), all.end(), [](child &c) { return c.sleeps() && c.quiet(); }) &&
               earlier == before;
    }));
    std::this_thread::sleep_for(10s);
    CHECK(switches() == before);
    for (child &c : all) {
        CHECK(c.quiet());
        c.interrupt();
    }
}
