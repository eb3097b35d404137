// A sender's ring grows when a message or a backlog needs it, and the small one comes back: nothing is lost or doubled,
// or comes in another order, and the memory is given back on both sides.
#include <poll.h>
#include <sys/resource.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "host.hpp"
#include "lowered_limit.hpp"
#include "support.hpp"

namespace {

constexpr std::uint64_t KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30;

// Bytes of rings that a process has mapped, each of them twice in a row; `pid` 0 is this process.
std::uint64_t rings_mapped(pid_t pid = 0) {
    std::ifstream maps("/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/maps");
    std::uint64_t bytes = 0;
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin, end;
        if (line.find("/memfd:ipc-ring") == line.npos || std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2)
            continue;
        bytes += end - begin;
    }
    return bytes / 2;
}

// Both call, as hosts do, until the sender is back in a ring of so many bytes.
bool shrinks_to(const tx &s, std::uint64_t capacity) {
    return eventually([&] { return s.stats().capacity == capacity; });
}

}  // namespace

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

// ---- Joining, leaving, dying ----------------------------------------------------------------------------------------

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

// ---- Many rings -----------------------------------------------------------------------------------------------------

namespace {

// A message of `size` bytes is reserved, for which the ring is too small, and a small one sent. 0 or an error.
int send_small_in(tx &s, std::size_t size, std::uint64_t tag) {
    void *room;
    int result = ipc_sender_reserve(s, size, &room, 0);
    if (result < 0) return result;
    fill(room, 64, tag);
    return ipc_sender_commit(s, 64, tag);
}

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

// Takes a message each 150 ms for two seconds. The longest that it took for one.
static std::chrono::nanoseconds take_slowly(tx &s, rx &r) {
    using clock = std::chrono::steady_clock;
    std::uint64_t sent = 0, taken = 0;
    auto start = clock::now(), took = start;
    std::chrono::nanoseconds longest{};
    while (clock::now() - start < 2s) {
        if (s.send(sent + 1, 10'000, 5'000'000) == 0) ++sent;
        if (clock::now() - took < 150ms) continue;
        CHECK(r.take() == ++taken);
        longest = std::max(longest, clock::now() - took);
        took = clock::now();
    }
    CHECK(r.read(static_cast<int>(sent - taken)) == std::to_string(taken + 1) + "-" + std::to_string(sent));
    return longest;
}

// At each message, a ring that takes no notice grows twofold: to 1 GiB in these two seconds.
TEST_CASE_FIXTURE(scratch, "a receiver that takes its time for each message makes no more than a few rings") {
    std::uint64_t capacity = 0;
    // On a busy machine it may take much longer once, which is another receiver than this one.
    for (int tries = 0; tries < 10; ++tries) {
        tx s("shm://t?capacity=64KiB&max_capacity=1GiB");
        rx r;
        s.await_links(1);
        auto longest = take_slowly(s, r);
        capacity = s.stats().capacity;
        if (longest < 200ms) break;
    }
    CHECK(capacity <= 128 * MiB);
}

// ---- What is in the way ---------------------------------------------------------------------------------------------

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

// ---- Handing over ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(
    scratch, "a receiver is handed over with messages held in several rings, and with rings that it has not read") {
    host h;
    h.open_receiver("shm://t");
    child s = sender("shm://t?capacity=64KiB&max_capacity=32MiB");
    auto receive = [&](std::uint64_t tag) {
        ipc_message m = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[0], &m, limit_ns) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        CHECK(proven(m));
        return m;
    };
    s.ask("send 1 3 20000");
    s.ask("send 4 6 100000");
    s.ask("send 7 9 1000000");
    std::vector<ipc_message> held;
    for (std::uint64_t tag = 1; tag <= 5; ++tag) held.push_back(receive(tag));
    auto release = [&](std::size_t i) { CHECK(h.library->ipc_receiver_release(h.receivers[0], &held[i]) == 0); };
    release(1);
    release(4);
    REQUIRE(h.reload(next_build) == 0);
    for (std::uint64_t tag = 6; tag <= 8; ++tag) held.push_back(receive(tag));
    s.ask("send 10 10 3000000");
    REQUIRE(h.reload(this_build) == 0);
    for (std::uint64_t tag = 9; tag <= 10; ++tag) held.push_back(receive(tag));
    for (const ipc_message &m : held) CHECK(proven(m));
    for (std::size_t i : {9, 0, 7, 3, 2, 8, 5, 6}) release(i);
    CHECK(s.ask("unreleased") == "0");
}

TEST_CASE_FIXTURE(scratch, "a sender is handed over with several rings alive, grows, and goes back to the small one") {
    host h;
    h.open_sender("shm://t?capacity=64KiB&max_capacity=32MiB");
    child r1 = receiver();
    auto send = [&](std::uint64_t tag, std::size_t size) {
        void *room;
        REQUIRE(h.library->ipc_sender_reserve(h.senders[0], size, &room, limit_ns) == 0);
        fill(room, size, tag);
        REQUIRE(h.library->ipc_sender_commit(h.senders[0], size, tag) == 0);
    };
    auto stats = [&] {
        ipc_sender_counters c{};
        c.struct_size = sizeof c;
        REQUIRE(h.library->ipc_sender_stats(h.senders[0], &c) == 0);
        return c;
    };
    send(1, 100);
    send(2, 100'000);
    REQUIRE(h.reload(next_build) == 0);
    send(3, 1'000'000);
    REQUIRE(h.reload(this_build) == 0);
    CHECK(r1.ask("hold 3") == "1-3");
    CHECK(r1.ask("release 2") == "0");
    CHECK(stats().unreleased == 2);
    REQUIRE(h.reload(next_build) == 0);
    r1.kill();
    child r2 = receiver();
    REQUIRE(eventually([&] { return stats().links == 1; }));
    send(4, 10'000'000);
    CHECK(r2.ask("read 3") == "1* 3* 4");
    CHECK(eventually([&] { return stats().capacity == 64 * KiB; }));
    CHECK(stats().unreleased == 0);
    send(5, 100);
    CHECK(r2.ask("read 1") == "5");
}
