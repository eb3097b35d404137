// From one process to another: everything arrives, once, whole, in order, whoever comes first and whoever goes first.
#include <signal.h>
#include <unistd.h>

#include "support.hpp"

static constexpr std::size_t capacity = 64 << 10;
static const std::string small = "shm://t?capacity=64KiB";

// Sizes around each power of two, and each small one.
static std::vector<std::size_t> telling_sizes() {
    std::vector<std::size_t> sizes;
    for (std::size_t size = 0; size <= 300; ++size) sizes.push_back(size);
    for (std::size_t power = 512; power <= capacity / 2; power *= 2)
        for (std::size_t size : {power - 1, power, power + 1})
            if (size <= capacity / 2) sizes.push_back(size);
    return sizes;
}

ROLE(sends_telling_sizes) {
    tx s(small);
    std::uint64_t tag = 0;
    for (std::size_t size : telling_sizes()) MUST(s.send(++tag, size) == 0);
    MUST(s.send(++tag, capacity / 2 + 1) == -EMSGSIZE);
    MUST(s.close() >= 0);
}

TEST_CASE_FIXTURE(scratch, "messages of each size from 0 to half the ring arrive whole, aligned, in order") {
    rx r;
    child sender = start("sends_telling_sizes");
    ipc_message m;
    std::uint64_t count = 0;
    for (std::size_t size : telling_sizes()) {
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        ++count;
        REQUIRE(m.sequence == count);
        REQUIRE(m.tag == count);
        REQUIRE(m.size == size);
        REQUIRE(m.flags == 0);
        REQUIRE(proven(m));
        REQUIRE(r.release(m) == 0);
    }
    CHECK(r.read(1) == "end");
    sender.done();
}

static std::size_t size_for(std::uint64_t tag) { return dice(tag).below(tag % 50 == 0 ? capacity / 2 : 2000); }

ROLE(streams_random_sizes) {
    tx s(small);
    auto last = static_cast<std::uint64_t>(me.number(0));
    for (std::uint64_t tag = 1; tag <= last; ++tag) MUST(s.send(tag, size_for(tag)) == 0);
    MUST(s.close() >= 0);
}

TEST_CASE_FIXTURE(scratch, "messages of random sizes go round the ring a thousand times unharmed") {
    rx r;
    constexpr std::uint64_t last = 60000;
    child sender = start("streams_random_sizes", {std::to_string(last)});
    ipc_message m;
    for (std::uint64_t tag = 1; tag <= last; ++tag) {
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        REQUIRE(m.tag == tag);
        REQUIRE(m.sequence == tag);
        REQUIRE(m.size == size_for(tag));
        REQUIRE(proven(m));
        REQUIRE(r.release(m) == 0);
    }
    CHECK(r.stats().bytes > 1000 * capacity);
    CHECK(r.read(1) == "end");
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "a receiver that sleeps already gets the first message of a sender that comes later") {
    child r = receiver();
    r.say("read 2");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    tx s;
    REQUIRE(s.send(1) == 0);
    REQUIRE(s.end() == 0);
    r.expect("1 end");
}

// The receiver makes no call meanwhile: nobody has accepted the sender's connection when it is gone.
TEST_CASE_FIXTURE(scratch, "a sender may be gone before the receiver has accepted it") {
    rx r;
    child s = sender();
    s.ask("send 1 1000");
    CHECK(s.ask("close 0") == "1000");
    s.done();
    CHECK(r.read(1001) == "1-1000 end");
}

ROLE(sends_and_is_gone) {
    tx s("shm://t");
    auto last = static_cast<std::uint64_t>(me.number(0));
    for (std::uint64_t tag = 1; tag <= last; ++tag) MUST(s.send(tag) == 0);
    if (me.arg(1) == "exit") _exit(0);
    if (me.arg(1) == "kill") kill(getpid(), SIGKILL);
}

TEST_CASE_FIXTURE(scratch, "a process that goes right after its last commit loses nothing") {
    somebody_was_killed("shm://t");
    rx r;
    for (std::string way : {"close", "exit", "kill"}) {
        CAPTURE(way);
        for (int count = 1; count < 8; ++count) {
            child s = start("sends_and_is_gone", {std::to_string(count), way});
            if (count % 2) CHECK(s.wait() == (way == "kill" ? 128 + SIGKILL : 0));
            std::string all = count == 1 ? "1" : "1-" + std::to_string(count);
            CHECK(r.read(count + 1) == all + (way == "close" ? " end" : " died"));
            if (count % 2 == 0) s.wait();
        }
    }
}
