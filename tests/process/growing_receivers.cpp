// Receivers join, leave and die while several rings of a sender are alive.
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "support.hpp"

TEST_CASE_FIXTURE(scratch, "a receiver that joins while several rings are alive starts where it wants to") {
    tx s("shm://t?capacity=64KiB&max_capacity=32MiB");
    for (std::uint64_t tag = 1; tag <= 6; ++tag) REQUIRE(s.send(tag, tag * 100'000) == 0);  // four rings
    SUBCASE("the first gets all") {
        rx r;
        s.await_links(1);
        CHECK(s.send(7) == 0);
        CHECK(r.read(7) == "1-7");
    }
    SUBCASE("the latest") {
        rx r("shm://t?from=latest");
        s.await_links(1);
        ipc_message m;
        CHECK(r.receive(m, 0) == -EAGAIN);
        CHECK(r.stats().skipped == 6);
        CHECK(s.send(7) == 0);
        CHECK(r.read(1) == "7");
        CHECK(s.stats().unreleased == 0);
    }
    SUBCASE("beside others") {
        rx first;
        s.await_links(1);
        CHECK(first.hold(4) == "1-4");
        rx next, oldest("shm://t?from=oldest");
        s.await_links(3);
        CHECK(s.send(7, 3'000'000) == 0);
        CHECK(next.read(1) == "7");
        CHECK(oldest.read(7) == "1-7");
        CHECK(first.hold(3) == "5-7");
        for (std::uint64_t tag : {7, 1, 6, 2, 5, 3, 4}) CHECK(first.release_held(tag) == 0);
    }
    CHECK(s.stats().unreleased == 0);
}

TEST_CASE_FIXTURE(scratch,
                  "from=latest also passes over what is sent before the receiver has looked, in rings that come then") {
    rx r("shm://t?from=latest");
    tx s("shm://t?capacity=64KiB&max_capacity=32MiB");
    s.await_links(1);
    for (std::uint64_t tag = 1; tag <= 6; ++tag) REQUIRE(s.send(tag, tag * 100'000) == 0);
    ipc_message m;
    CHECK(r.receive(m, 0) == -EAGAIN);
    CHECK(r.stats().skipped == 6);
    CHECK(s.send(7) == 0);
    CHECK(r.read(1) == "7");
}

namespace {

// What a receiver has done with ten messages in three rings before it went, and what its successors get then.
struct account {
    int hold;
    std::vector<int> release;
    std::string first, second;
};
const account accounts[] = {
    {0, {}, "1-10", "1-10*"},
    {3, {2}, "1* 3* 4-10", "1* 3-10*"},
    {8, {2, 5, 4, 8}, "1* 3* 6-7* 9-10", "1* 3* 6-7* 9-10*"},
    {9, {1, 2, 3, 4, 5, 6, 7, 8}, "9* 10", "9-10*"},
    {9, {3, 8, 1, 2}, "4-7* 9* 10", "4-7* 9-10*"},
};

void check_successors(scratch &test, bool killed, const account &a) {
    CAPTURE(a.first);
    test.somebody_was_killed("shm://t");
    child s = test.sender("shm://t?capacity=64KiB&max_capacity=32MiB");
    child r1 = test.receiver();
    s.ask("send 1 3 20000");
    s.ask("send 4 6 100000");
    s.ask("send 7 9 1000000");
    s.ask("send 10 10");
    if (a.hold) CHECK(r1.ask("hold " + std::to_string(a.hold)) == "1-" + std::to_string(a.hold));
    for (int tag : a.release) CHECK(r1.ask("release " + std::to_string(tag)) == "0");
    std::string count = std::to_string(10 - a.release.size());
    CHECK(s.ask("unreleased") == count);
    if (!killed) CHECK(r1.ask("close") == std::to_string(a.hold - static_cast<int>(a.release.size())));
    r1.kill();
    child r2 = test.receiver();
    CHECK(s.ask("unreleased") == count);
    CHECK(r2.ask("hold " + count) == a.first);
    r2.kill();
    child r3 = test.receiver();
    CHECK(s.ask("unreleased") == count);
    CHECK(r3.ask("read " + count) == a.second);
    CHECK(s.ask("unreleased") == "0");
}

}  // namespace

TEST_CASE_FIXTURE(scratch,
                  "the successor of a receiver takes its place in an old ring, with the early releases of each") {
    for (const account &a : accounts)
        for (bool killed : {false, true}) check_successors(*this, killed, a);
}
