// A sender changes rings again and again, while old ones are held: how many there are, and who waits for what.
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>

#include "growing.hpp"

namespace {

constexpr std::size_t large = 100'000, larger = 600'000;

// Fifteen times the stream goes on in another ring, at last in a small one. Returns the last tag.
std::uint64_t change_rings(tx &s, std::uint64_t tag) {
    for (int i = 0; i < 5; ++i) {
        REQUIRE(send_small_in(s, large, ++tag) == 0);
        REQUIRE(send_small_in(s, larger, ++tag) == 0);
        REQUIRE(shrinks_to(s, 64 * KiB));
    }
    return tag;
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a receiver that makes no call keeps a sender from changing rings for ever, and gets all") {
    tx s("shm://t?capacity=64KiB&max_capacity=64MiB");
    child r = receiver();
    s.await_links(1);
    REQUIRE(s.send(1) == 0);
    CHECK(r.ask("read 1") == "1");  // and it does not see that the stream goes on behind this
    std::uint64_t last = change_rings(s, 1);
    CHECK(send_small_in(s, large, last + 1) == -EAGAIN);
    CHECK(s.send(++last) == 0);
    CHECK(s.stats().refused == 0);
    CHECK(s.stats().links == 1);
    CHECK(r.ask("read " + std::to_string(last - 1)) == "2-" + std::to_string(last));
    CHECK(eventually([&] { return send_small_in(s, large, last + 1) == 0; }));
    CHECK(r.ask("read 1") == std::to_string(last + 1));
    CHECK(shrinks_to(s, 64 * KiB));
    CHECK(eventually([&] { return s.stats(), rings_mapped() == 64 * KiB; }));
}

TEST_CASE_FIXTURE(scratch, "a sender that has as many rings as may be sleeps until the oldest has gone") {
    tx s("shm://t?capacity=64KiB&max_capacity=64MiB");
    child r = receiver();
    s.await_links(1);
    REQUIRE(s.send(1) == 0);
    std::uint64_t last = change_rings(s, 1);
    pollfd ready{ipc_sender_fd(s), POLLIN, 0};
    for (int i = 0; i < 3; ++i) {
        CHECK(send_small_in(s, large, last + 1) == -EAGAIN);
        CHECK(ipc_sender_arm(s) == 1);
        CHECK(poll(&ready, 1, 0) == 0);
    }
    CHECK(r.ask("read 2") == "1-2");
    CHECK(poll(&ready, 1, 10'000) == 1);
    CHECK(send_small_in(s, large, ++last) == 0);
    CHECK(r.ask("read " + std::to_string(last - 2)) == "3-" + std::to_string(last));
}

TEST_CASE_FIXTURE(scratch, "all rings together take no more than twice the largest") {
    tx s("shm://t?capacity=64KiB&max_capacity=132KiB");
    std::uint64_t sent = 0;
    while (s.send(sent + 1, 1000, 200'000'000) == 0) ++sent;
    CHECK(s.stats().capacity == 128 * KiB);
    CHECK(rings_mapped() == 192 * KiB);
    void *room;
    CHECK(ipc_sender_reserve(s, 65 * KiB, &room, 0) == -EAGAIN);  // it would need a ring of 132 KiB
    rx r;
    s.await_links(1);
    CHECK(r.read(static_cast<int>(sent)) == "1-" + std::to_string(sent));
    CHECK(ipc_sender_reserve(s, 65 * KiB, &room, limit_ns) == 0);
}

TEST_CASE_FIXTURE(scratch,
                  "a sender with as much memory as may be goes on in a larger ring once an older one has gone") {
    for (bool large_too : {false, true}) {
        CAPTURE(large_too);
        tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
        rx r;
        s.await_links(1);
        // One message is held in a ring of 1 MiB; behind it lies a small one, which has grown to 512 KiB and is full.
        REQUIRE(send_small_in(s, 300'000, 1) == 0);
        CHECK(r.hold(1) == "1");
        REQUIRE(shrinks_to(s, 64 * KiB));
        std::uint64_t sent = 1;
        while (s.send(sent + 1, 1000, 300'000'000) == 0) ++sent;
        CHECK(s.stats().capacity == 512 * KiB);
        pollfd ready{ipc_sender_fd(s), POLLIN, 0};
        void *room;
        CHECK(ipc_sender_reserve(s, 1000, &room, 0) == -EAGAIN);
        if (large_too) CHECK(ipc_sender_reserve(s, 300'000, &room, 0) == -EAGAIN);
        CHECK(ipc_sender_arm(s) == 1);
        CHECK(poll(&ready, 1, 0) == 0);
        CHECK(r.release_held(1) == 0);
        CHECK(poll(&ready, 1, 10'000) == 1);
        CHECK(eventually([&] { return ipc_sender_reserve(s, 1000, &room, 0) == 0; }));
        CHECK(s.stats().capacity == MiB);
        ipc_sender_abort(s);
        CHECK(r.read(static_cast<int>(sent - 1)) == "2-" + std::to_string(sent));
    }
}

TEST_CASE_FIXTURE(scratch, "that the ring can grow is told beside a large message that has to wait for longer") {
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    REQUIRE(send_small_in(s, 300'000, 1) == 0);
    REQUIRE(shrinks_to(s, 64 * KiB));
    s.fill_up(2, 1000);
    void *room;
    CHECK(ipc_sender_reserve(s, 30'000, &room, 0) == -EAGAIN);
    CHECK(ipc_sender_reserve(s, 300'000, &room, 0) == -EAGAIN);
    CHECK(ipc_sender_arm(s) == 1);
    pollfd ready{ipc_sender_fd(s), POLLIN, 0};
    CHECK(poll(&ready, 1, 10'000) == 1);
    CHECK(eventually([&] { return ipc_sender_reserve(s, 30'000, &room, 0) == 0; }));
}

ROLE(waits_for_a_ring) {
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    s.await_links(1);
    MUST(send_small_in(s, 300'000, 1) == 0);
    me.say("sent");
    me.hear();  // it is held
    MUST(eventually([&] { return s.stats().capacity == 64 * KiB; }));
    std::uint64_t sent = 1;
    while (s.send(sent + 1, 1000, 300'000'000) == 0) ++sent;
    me.say("full");
    auto used = [] {
        rusage u{};
        getrusage(RUSAGE_SELF, &u);
        return u.ru_utime.tv_sec * 1'000'000 + u.ru_utime.tv_usec + u.ru_stime.tv_sec * 1'000'000 + u.ru_stime.tv_usec;
    };
    long before = used();
    MUST(s.send(sent + 1, 1000) == 0);
    me.say(std::to_string(used() - before));
    me.hear();
}

TEST_CASE_FIXTURE(scratch,
                  "a call that waits goes on in a larger ring once an older one has gone, and sleeps until then") {
    rx r;
    child s = start("waits_for_a_ring");
    s.expect("sent");
    CHECK(r.hold(1) == "1");
    s.say("held");
    s.expect("full");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    CHECK(r.release_held(1) == 0);
    CHECK(std::stol(s.hear()) < 200'000);  // microseconds
    s.say("end");
    s.done();
    ipc_message m;
    while (r.receive(m) == IPC_MESSAGE) r.release(m);
}

// A ring that takes no notice grows twofold at each message: to 1 GiB in these two seconds.
TEST_CASE_FIXTURE(scratch, "a receiver that takes its time for each message makes no more than a few rings") {
    using clock = std::chrono::steady_clock;
    // On a busy machine either may be held up once, which is another pair than this one.
    for (int tries = 0; tries < 10; ++tries) {
        tx s("shm://t?capacity=64KiB&max_capacity=1GiB");
        rx r;
        s.await_links(1);
        std::uint64_t sent = 0, taken = 0;
        auto start = clock::now(), took = start, before = start;
        std::chrono::nanoseconds longest{};  // from one message sent to the next
        while (clock::now() - start < 2s) {
            if (s.send(sent + 1, 10'000, 5'000'000) == 0) ++sent;
            if (clock::now() - took >= 150ms) {
                CHECK(r.take() == ++taken);
                took = clock::now();
            }
            longest = std::max(longest, clock::now() - before);
            before = clock::now();
        }
        CHECK(r.read(static_cast<int>(sent - taken)) == std::to_string(taken + 1) + "-" + std::to_string(sent));
        bool held_up = longest > 100ms;
        CHECK(s.stats().capacity <= (held_up ? 128 : 8) * MiB);
        if (!held_up) break;
    }
}
