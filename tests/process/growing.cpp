// A sender's ring grows when a message or a backlog needs it, and the small one comes back: nothing is lost or doubled,
// or comes in another order, and the memory is given back on both sides.
#include "growing.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

TEST_CASE_FIXTURE(scratch,
                  "a message of 1 GiB goes through a sender opened with no options, and its memory comes back") {
    tx s;
    child r = receiver();
    s.await_links(1);
    REQUIRE(s.send(1) == 0);
    REQUIRE(s.send(2, GiB) == 0);
    REQUIRE(s.send(3) == 0);
    CHECK(s.stats().capacity == 2 * GiB);
    CHECK(r.ask("read 3") == "1-3");
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    CHECK(shrinks_to(s, MiB));
    CHECK(eventually([&] { return s.stats(), rings_mapped() == MiB; }));
    r.say("receive 100000000");
    CHECK(r.hear() == std::to_string(-ETIMEDOUT));
    CHECK(rings_mapped(r.pid()) == MiB);
    REQUIRE(s.send(4) == 0);
    CHECK(r.ask("read 1") == "4");
}

TEST_CASE_FIXTURE(
    scratch, "messages of each size around half of a ring arrive whole, and the ring that grows holds three of them") {
    rx r;
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    s.await_links(1);
    std::uint64_t tag = 0, capacity = 64 * KiB;
    for (std::uint64_t half : {32 * KiB, 64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB})
        for (std::int64_t more : {-64, -16, -1, 0, 1, 16, 64}) {
            std::uint64_t size = half + static_cast<std::uint64_t>(more);
            CAPTURE(size);
            if (size > 512 * KiB) continue;
            if (size > capacity / 2) capacity = std::min(std::bit_ceil(4 * size), MiB);
            REQUIRE(s.send(++tag, size) == 0);
            CHECK(s.stats().capacity == capacity);
            CHECK(r.take() == tag);
        }
}

TEST_CASE_FIXTURE(scratch, "a ring grows straight to the size that a message needs") {
    rx r;
    tx s("shm://t?max_capacity=96MiB");
    s.await_links(1);
    CHECK(s.stats().capacity == MiB);
    REQUIRE(s.send(1, 48 * MiB) == 0);
    CHECK(s.stats().capacity == 96 * MiB);  // the most, though no power of two
    CHECK(r.take() == 1);
}

TEST_CASE_FIXTURE(scratch,
                  "a message of more than half the largest ring is refused, and the sender goes on as it was") {
    rx r;
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    s.await_links(1);
    void *room;
    for (std::size_t size : {512 * KiB + 1, GiB, ~std::size_t{0}})
        CHECK(ipc_sender_reserve(s, size, &room, limit_ns) == -EMSGSIZE);
    CHECK(s.stats().capacity == 64 * KiB);
    CHECK(s.send(1) == 0);
    CHECK(s.send(2, 512 * KiB) == 0);
    CHECK(r.read(2) == "1-2");
    tx fixed("shm://t?capacity=64KiB");
    CHECK(ipc_sender_reserve(fixed, 32 * KiB + 1, &room, limit_ns) == -EMSGSIZE);
}

TEST_CASE_FIXTURE(scratch,
                  "a sender that sends a large message and goes before the receiver has looked loses nothing") {
    somebody_was_killed("shm://t");
    rx r;
    child s = sender();
    s.ask("send 1 3");
    s.ask("send 4 6 3000000");
    s.ask("send 7 7 50000000");
    s.say("exit");
    s.done();
    CHECK(r.read(8) == "1-7 died");
}

TEST_CASE_FIXTURE(scratch, "a receiver that takes nothing makes the ring grow, in steps, and gets all") {
    rx r;
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    s.await_links(1);
    std::vector<std::uint64_t> sizes{64 * KiB};
    std::uint64_t tag = 0;
    while (s.stats().capacity < MiB) {
        REQUIRE(s.send(++tag, 1000) == 0);  // waits for 10 ms at each step
        if (s.stats().capacity != sizes.back()) sizes.push_back(s.stats().capacity);
    }
    CHECK(sizes == std::vector<std::uint64_t>{64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB, MiB});
    // At the largest it is held up, as a ring of fixed size is.
    std::uint64_t more = s.fill_up(tag + 1, 1000);
    CHECK(s.send(0, 1000, 50'000'000) == -ETIMEDOUT);
    CHECK(s.stats().capacity == MiB);
    ipc_link in_the_way{};
    in_the_way.struct_size = sizeof in_the_way;
    REQUIRE(ipc_sender_links(s, &in_the_way, 1) == 1);
    CHECK(in_the_way.pid == getpid());
    CHECK(in_the_way.behind == tag + more);
    CHECK(more > 900);
    CHECK(r.read(static_cast<int>(tag + more)) == "1-" + std::to_string(tag + more));
    CHECK(shrinks_to(s, 64 * KiB));
}

TEST_CASE_FIXTURE(scratch,
                  "calls that do not wait make a ring grow once nothing was released for 10 ms, and not before") {
    tx s("shm://t?capacity=64KiB&max_capacity=128KiB");
    std::uint64_t first = s.fill_up(1, 1000);
    auto full = std::chrono::steady_clock::now();
    int result;
    CHECK(eventually([&] { return (result = s.send(first + 1, 1000, 0)) != -EAGAIN; }));
    CHECK(result == 0);
    CHECK(std::chrono::steady_clock::now() - full >= 10ms);
    CHECK(s.stats().capacity == 128 * KiB);
    rx r;
    s.await_links(1);
    CHECK(r.read(static_cast<int>(first + 1)) == "1-" + std::to_string(first + 1));
}

TEST_CASE_FIXTURE(scratch, "a host that waits for room on the fd is told when the ring can grow") {
    child s = sender("shm://t?capacity=64KiB&max_capacity=128KiB");
    int first = std::stoi(s.ask("fill 1 1000"));
    CHECK(s.ask("poll") == "ready");
    CHECK(std::stoi(s.ask("fill " + std::to_string(first + 1) + " 1000")) > 0);
    // It is as large as may be: nothing is to be told any more.
    CHECK(std::stoi(s.ask("fill 1 1000")) == 0);
    s.say("poll");
    CHECK(eventually([&] { return s.sleeps(); }));
    CHECK(s.quiet());
    CHECK(s.interrupt() == "interrupted");
}

TEST_CASE_FIXTURE(scratch, "a receiver that is only slow does not make the ring grow") {
    // Each hand-over is one message, so that the machine may be as slow as it likes.
    rx r;
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    s.await_links(1);
    std::uint64_t sent = s.fill_up(1, 1000), taken = 0;
    auto end = std::chrono::steady_clock::now() + 200ms;
    for (; std::chrono::steady_clock::now() < end; ++taken) {
        auto began = std::chrono::steady_clock::now();
        CHECK(r.take() == taken + 1);
        int result = s.send(sent + 1, 1000, 0);
        if (std::chrono::steady_clock::now() - began > 5ms) break;  // not what is tested
        REQUIRE(result == 0);
        ++sent;
        CHECK(s.send(0, 1000, 0) == -EAGAIN);
        doze();
    }
    if (taken >= 3) CHECK(s.stats().capacity == 64 * KiB);
}

TEST_CASE_FIXTURE(scratch, "over many growths and shrinks nothing is lost, doubled or reordered, whatever is held") {
    rx r;
    tx s("shm://t?capacity=64KiB&max_capacity=8MiB");
    s.await_links(1);
    dice any(11);
    std::uint64_t sent = 0, taken = 0;
    std::vector<ipc_message> held;
    auto release_one = [&] {
        std::swap(held[any.below(held.size())], held.back());
        REQUIRE(proven(held.back()));
        REQUIRE(r.release(held.back()) == 0);
        CHECK(r.release(held.back()) == -ESTALE);
        held.pop_back();
    };
    for (int round = 0; round < 3000; ++round) {
        std::uint64_t size = any.below(8) == 0 ? any.below(1 * MiB) : any.below(3000);
        int result = s.send(sent + 1, size, any.below(4) ? 0 : 11'000'000);
        if (result == 0) ++sent;
        REQUIRE((result == 0 || result == -EAGAIN || result == -ETIMEDOUT));
        while (taken < sent && any.below(3)) {
            ipc_message m;
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            REQUIRE(m.tag == ++taken);
            REQUIRE(m.sequence == taken);
            held.push_back(m);
        }
        while (!held.empty() && any.below(held.size() > 40 || result != 0 ? 8 : 2)) release_one();
        if (round % 1000 == 999) {  // a pause, in which all is given back
            while (taken < sent) CHECK(r.take() == ++taken);
            while (!held.empty()) release_one();
            CHECK(shrinks_to(s, 64 * KiB));
        }
    }
    CHECK(s.stats().unreleased == 0);
    CHECK(eventually([&] { return s.stats(), r.stats(), rings_mapped() == 128 * KiB; }));
}

TEST_CASE_FIXTURE(scratch, "several receivers, one of which is slow, get all messages of a ring that grows") {
    tx s("shm://t?capacity=64KiB&max_capacity=32MiB");
    rx fast, slow, third;
    s.await_links(3);
    for (std::uint64_t tag = 1; tag <= 40; ++tag) {
        REQUIRE(s.send(tag, tag % 5 == 0 ? 400 * KiB : 9000) == 0);
        CHECK(fast.take() == tag);
    }
    CHECK(s.stats().unreleased == 40);
    CHECK(slow.read(40) == "1-40");
    CHECK(third.hold(40) == "1-40");
    CHECK(s.stats().unreleased == 40);
    for (std::uint64_t tag = 40; tag > 0; --tag) CHECK(third.release_held(tag) == 0);
    CHECK(s.stats().unreleased == 0);
}
