// A ring is to grow, and there is no memory, address space or descriptor for it.
#include <sys/resource.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>

#include "growing.hpp"
#include "lowered_limit.hpp"

// Sanitizers need terabytes of address space for themselves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE_FIXTURE(scratch, "a sender without address space for a larger ring says so, and goes on with what it has") {
    rx r;
    child s = sender("shm://t?capacity=64KiB&max_capacity=64MiB");
    s.ask("send 1 1");
    rlimit limits{};
    REQUIRE(prlimit(s.pid(), RLIMIT_AS, nullptr, &limits) == 0);
    std::ifstream statm("/proc/" + std::to_string(s.pid()) + "/statm");
    std::uint64_t pages = 0;
    statm >> pages;
    rlimit lower{pages * 4096 + 4 * MiB, limits.rlim_max};
    REQUIRE(prlimit(s.pid(), RLIMIT_AS, &lower, nullptr) == 0);
    CHECK(s.ask("reserve 16000000") == std::to_string(-ENOMEM));
    s.ask("send 2 3 100000");
    CHECK(r.read(3) == "1-3");
    REQUIRE(prlimit(s.pid(), RLIMIT_AS, &limits, nullptr) == 0);
    CHECK(s.ask("reserve 16000000") == "0");
}

TEST_CASE_FIXTURE(scratch,
                  "a backlog for which there is no more memory holds the sender up, as a ring of fixed size does") {
    tx s("shm://t?capacity=64KiB&max_capacity=64MiB");
    std::uint64_t sent = s.fill_up(1, 1000);
    {
        lowered_limit limit(RLIMIT_FSIZE, 100 << 10);
        CHECK(s.send(sent + 1, 1000, 40 * briefly) == -ETIMEDOUT);
        CHECK(s.send(sent + 1, 1000, 0) == -EAGAIN);
        CHECK(s.stats().capacity == 64 * KiB);
        rx r;
        s.await_links(1);
        CHECK(r.read(static_cast<int>(sent)) == "1-" + std::to_string(sent));
        CHECK(s.send(sent + 1, 1000) == 0);
        CHECK(r.take() == sent + 1);
    }
}

TEST_CASE_FIXTURE(scratch, "a sender that waits for room makes its ring larger once there is memory for it") {
    child s = sender("shm://t?capacity=64KiB&max_capacity=128KiB");
    rlimit limits{}, lower{};
    REQUIRE(prlimit(s.pid(), RLIMIT_FSIZE, nullptr, &limits) == 0);
    lower = {100 << 10, limits.rlim_max};
    REQUIRE(prlimit(s.pid(), RLIMIT_FSIZE, &lower, nullptr) == 0);
    int sent = std::stoi(s.ask("fill 1 1000"));
    std::string next = std::to_string(sent + 1);
    s.say("send " + next + " " + next + " 1000");
    // It wakes once to grow, in vain, and sleeps again.
    auto full = std::chrono::steady_clock::now();
    REQUIRE(eventually([&] { return std::chrono::steady_clock::now() - full > 100ms && s.sleeps(); }));
    CHECK(s.quiet());
    REQUIRE(prlimit(s.pid(), RLIMIT_FSIZE, &limits, nullptr) == 0);
    CHECK(s.hear(limit / 2) == "sent");  // long before its time-out, at which it would look again in any case
    rx r;
    CHECK(r.stats().links <= 1);
    s.ask("unreleased");
    CHECK(r.read(sent + 1) == "1-" + next);
}

TEST_CASE_FIXTURE(scratch, "a receiver without address space for a larger ring is told, and goes on once it has some") {
    rx r;
    ipc_message m;
    child s = sender("shm://t?capacity=64KiB&max_capacity=64MiB");
    s.ask("send 1 1");
    CHECK(r.read(1) == "1");
    s.ask("send 2 2");
    {
        std::ifstream statm("/proc/self/statm");
        std::uint64_t pages = 0;
        statm >> pages;
        lowered_limit limit(RLIMIT_AS, pages * 4096 + 16 * MiB);
        s.ask("send 3 4 16000000");
        CHECK(r.read(1) == "2");
        CHECK(r.receive(m, 10 * briefly) == -ENOMEM);
        CHECK(r.receive(m, 10 * briefly) == -ETIMEDOUT);
        CHECK(r.stats().waiting_for_fds == 1);
        CHECK(r.stats().refused == 0);
    }
    CHECK(r.read(2) == "3-4");
    CHECK(r.stats().waiting_for_fds == 0);
}
#endif

TEST_CASE_FIXTURE(scratch,
                  "a receiver without descriptors for a larger ring is told once, hears others, and goes on then") {
    rx r;
    ipc_message m;
    child s = sender("shm://t?capacity=64KiB&max_capacity=64MiB"), other = sender();
    s.ask("send 1 1");
    other.ask("send 1 1");
    CHECK(r.read(2) == "1 1");
    std::string end;
    SUBCASE("its sender ends") { end = "end"; }
    SUBCASE("its sender is killed") { end = "died"; }
    {
        few_fds few(0);
        s.ask("send 2 2");
        s.ask("send 3 3 100000");
        s.ask("send 4 4 200000");
        CHECK(r.read(1) == "2");
        CHECK(r.receive(m) == -EMFILE);
        CHECK(r.receive(m, briefly) == -ETIMEDOUT);
        CHECK(r.stats().waiting_for_fds == 1);
        if (end == "end") {
            s.say("close 0");
            s.hear();
            s.done();
        }
        other.ask("send 2 3");
        CHECK(r.read(2) == "2-3");
        if (end == "died") s.kill();
        CHECK(r.receive(m, 150 * briefly) == -ETIMEDOUT);
    }
    somebody_was_killed("shm://t");
    CHECK(r.read(3) == "3-4 " + end);
    CHECK(r.stats().waiting_for_fds == 0);
    CHECK(r.stats().links == 1);
}
