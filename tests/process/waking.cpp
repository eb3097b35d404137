// Sleeping and being woken, at any rhythm: no wake-up is lost.
#include <signal.h>

#include <atomic>
#include <thread>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

// Does nothing for a random time around the time that a waiting side spins before it sleeps (up to 50 us), so that
// messages come before, while and after it falls asleep. Seldom for much longer.
static void idle_a_little(dice &any) {
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(any.below(any.below(8) ? 80 : 400));
    while (std::chrono::steady_clock::now() < until) {
    }
}

// Sends back what it gets. Waits for ever: a lost wake-up hangs, and fails in the test's own time-out.
ROLE(echo) {
    rx in("shm://ping");
    tx out("shm://pong");
    me.say("open");
    dice any(2);
    for (;;) {
        ipc_message m;
        int what = in.receive(m, -1);
        if (what == IPC_END) return;
        MUST(what == IPC_MESSAGE);
        MUST(proven(m));
        std::uint64_t tag = m.tag;
        MUST(in.release(m) == 0);
        idle_a_little(any);
        MUST(out.send(tag, 16, -1) == 0);
    }
}

TEST_CASE_FIXTURE(scratch, "in a long ping-pong at random rhythm no wake-up is lost") {
    child other = start("echo");
    other.expect("open");
    tx out("shm://ping");
    rx in("shm://pong");
    dice any(1);
    for (std::uint64_t tag = 1; tag <= 10000; ++tag) {
        REQUIRE(out.send(tag, any.below(100)) == 0);
        idle_a_little(any);
        REQUIRE(in.take() == tag);
    }
    out.end();
    other.done();
}

// A burst of over 1,024 messages without a sleep is what gives the leave to go without a fence; a sleep takes it back.
static std::uint64_t burst(dice &any) { return any.below(3) ? 1 + any.below(5) : 1000 + any.below(2000); }

ROLE(sends_bursts) {
    tx s(me.arg(0));
    me.say("open");
    dice any(3), pauses(4);
    auto last = static_cast<std::uint64_t>(me.number(1));
    for (std::uint64_t tag = 1; tag <= last;) {
        for (std::uint64_t left = burst(any); left > 0 && tag <= last; --left) MUST(s.send(tag++, 40, -1) == 0);
        idle_a_little(pauses);
    }
    MUST(s.close(-1) == 0);
}

TEST_CASE_FIXTURE(scratch, "bursts and pauses lose no wake-up of a receiver") {
    rx r;
    constexpr std::uint64_t last = 400'000;
    child s = start("sends_bursts", {url, std::to_string(last)});
    s.expect("open");
    for (std::uint64_t tag = 1; tag <= last; ++tag) REQUIRE(r.take() == tag);
    WARN(r.stats().waits > 0);  // else it was too slow here to have caught up once
    CHECK(r.read(1) == "end");
    s.done();
}

TEST_CASE_FIXTURE(scratch, "a receiver that pauses loses no wake-up of a sender whose ring is full") {
    rx r;
    constexpr std::uint64_t last = 400'000;
    child s = start("sends_bursts", {small, std::to_string(last)});
    s.expect("open");
    dice any(5), pauses(6);
    for (std::uint64_t tag = 1; tag <= last;) {
        for (std::uint64_t left = burst(any); left > 0 && tag <= last; --left) REQUIRE(r.take() == tag++);
        idle_a_little(pauses);
    }
    CHECK(r.read(1) == "end");
    s.done();
}

TEST_CASE_FIXTURE(scratch, "with two receivers at different rhythms nobody loses a wake-up") {
    child other = start("reads_all", {"200000"});
    other.expect("open");
    rx r;
    child s = start("sends_bursts", {small, "200000"});
    s.expect("open");
    dice any(7);
    for (std::uint64_t tag = 1; tag <= 200'000; ++tag) {
        REQUIRE(r.take() == tag);
        if (any.below(500) == 0) idle_a_little(any);
    }
    CHECK(r.read(1) == "end");
    other.done();
    s.done();
}

ROLE(reads_all) {
    rx r;
    me.say("open");
    dice any(8);
    for (std::uint64_t tag = 1; tag <= static_cast<std::uint64_t>(me.number(0)); ++tag) {
        MUST(r.take(-1) == tag);
        if (any.below(300) == 0) idle_a_little(any);
    }
    MUST(r.read(1) == "end");
}

// An interrupted send is sent again.
ROLE(sends_though_signalled) {
    tx s(small);
    me.say("open");
    dice any(3), pauses(4);
    auto last = static_cast<std::uint64_t>(me.number(0));
    for (std::uint64_t tag = 1; tag <= last;) {
        for (std::uint64_t left = burst(any); left > 0 && tag <= last;) {
            int result = s.send(tag, 40, -1);
            MUST(result == 0 || result == -EINTR);
            if (result != 0) continue;
            ++tag;
            --left;
        }
        idle_a_little(pauses);
    }
    MUST(s.close(-1) == 0);
}

TEST_CASE_FIXTURE(scratch, "interrupts and signals at any moment lose neither messages nor wake-ups") {
    rx r;
    constexpr std::uint64_t last = 100'000;
    child s = start("sends_though_signalled", {std::to_string(last)});
    s.expect("open");
    std::atomic<bool> stop{false};
    std::atomic<int> interrupts{0};
    std::thread interrupter([&] {
        dice any(9);
        while (!stop) {
            ++interrupts;
            ipc_receiver_interrupt(r);
            kill(s.pid(), SIGUSR1);
            idle_a_little(any);
        }
    });
    int canceled = 0, what = 0;
    auto receive = [&](ipc_message &m) {
        while ((what = r.receive(m)) == -ECANCELED) ++canceled;
        return what;
    };
    ipc_message m;
    std::uint64_t tag = 1;
    while (tag <= last && receive(m) == IPC_MESSAGE && m.tag == tag && proven(m) && r.release(m) == 0) ++tag;
    stop = true;
    interrupter.join();
    CHECK(tag == last + 1);
    CHECK(receive(m) == IPC_END);
    CHECK(canceled > 0);
    CHECK(canceled <= interrupts);
    s.done();
}
