// The ways out of a wait other than what is waited for: time-out, signal, interrupt.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

static const std::string interrupted = std::to_string(-EINTR);

// ---- Time -----------------------------------------------------------------------------------------------------------

template <class Call>
static std::chrono::nanoseconds time_of(Call call) {
    auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::steady_clock::now() - start;
}

TEST_CASE_FIXTURE(scratch, "a receive that finds nothing returns at once, or when its time has passed and not before") {
    child s = sender();
    rx r;
    ipc_message m;
    CHECK(r.receive(m, 0) == -EAGAIN);
    for (auto time : {1ns, 1'000'000ns, 20'000'000ns})
        CHECK(time_of([&] { CHECK(r.receive(m, time.count()) == -ETIMEDOUT); }) >= time);
    s.ask("send 1 1");
    CHECK(r.read(1) == "1");
}

TEST_CASE_FIXTURE(scratch, "a send that finds no room returns at once, or when its time has passed and not before") {
    child r = receiver();
    tx s(small);
    std::uint64_t sent = s.fill_up(1);
    CHECK(s.send(0, 64, 0) == -EAGAIN);
    for (auto time : {1ns, 1'000'000ns, 20'000'000ns})
        CHECK(time_of([&] { CHECK(s.send(0, 64, time.count()) == -ETIMEDOUT); }) >= time);
    CHECK(r.ask("read 1") == "1");
    CHECK(s.send(sent + 1, 64, 0) == 0);
}

// ---- Signals --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "a signal ends a receive that waits, and nothing is lost by it") {
    tx s;
    child r = receiver();
    for (const char *time : {"-1", "3600000000000"}) {
        r.say(std::string("receive ") + time);
        REQUIRE(eventually([&] { return r.sleeps(); }));
        r.signal(SIGUSR1);
        r.expect(interrupted);
        s.send(1);
        CHECK(r.ask("read 1") == "1");
    }
}

TEST_CASE_FIXTURE(scratch, "a signal ends a send that waits, and nothing of it is sent") {
    rx r;
    child s = sender(small);
    std::string sent = s.ask("fill 1");
    for (const char *time : {"-1", "3600000000000"}) {
        s.say(std::string("try 0 ") + time);
        REQUIRE(eventually([&] { return s.sleeps(); }));
        s.signal(SIGUSR1);
        s.expect(interrupted);
    }
    s.say("flush -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    s.signal(SIGUSR1);
    s.expect(interrupted);
    s.ask("end");
    CHECK(r.read(std::stoi(sent) + 1) == "1-" + sent + " end");
}

// ---- Interrupts -----------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "an interrupt before the call ends the next one that may wait, once") {
    tx s;
    rx r;
    ipc_message m;
    CHECK(ipc_receiver_interrupt(r) == 0);
    CHECK(ipc_receiver_interrupt(r) == 0);
    CHECK(r.receive(m, 0) == -EAGAIN);
    CHECK(r.receive(m, -1) == -ECANCELED);
    CHECK(r.receive(m, briefly) == -ETIMEDOUT);
    CHECK(ipc_sender_interrupt(s) == 0);
    CHECK(ipc_sender_interrupt(s) == 0);
    CHECK(s.send(1, 64, 0) == 0);
    CHECK(s.send(2, 64, -1) == -ECANCELED);
    CHECK(s.send(2, 64, -1) == 0);
    CHECK(ipc_sender_interrupt(s) == 0);
    CHECK(ipc_sender_flush(s, 0) == 2);
    CHECK(ipc_sender_flush(s, -1) == -ECANCELED);
    CHECK(ipc_sender_flush(s, briefly) == 2);
    CHECK(r.read(2) == "1-2");
}

// Calls `wait` in a thread, and `interrupt` when that sleeps.
template <class Wait, class Interrupt>
static int interrupted_while_asleep(Wait wait, Interrupt interrupt) {
    std::atomic<pid_t> thread{0};
    int result = 0;
    std::thread waiter([&] {
        thread = gettid();
        result = wait();
    });
    CHECK(eventually([&] { return thread != 0 && sleeps(getpid(), thread); }));
    interrupt();
    waiter.join();
    return result;
}

TEST_CASE_FIXTURE(scratch, "an interrupt ends the call that is under way, and not the next") {
    child r1 = receiver();
    tx s(small);
    rx r("shm://other");
    ipc_message m;
    CHECK(interrupted_while_asleep([&] { return r.receive(m, limit_ns); }, [&] { ipc_receiver_interrupt(r); }) ==
          -ECANCELED);
    CHECK(r.receive(m, briefly) == -ETIMEDOUT);
    s.fill_up(1);
    CHECK(interrupted_while_asleep([&] { return s.send(0); }, [&] { ipc_sender_interrupt(s); }) == -ECANCELED);
    CHECK(s.send(0, 64, briefly) == -ETIMEDOUT);
    CHECK(interrupted_while_asleep([&] { return ipc_sender_flush(s, limit_ns); }, [&] { ipc_sender_interrupt(s); }) ==
          -ECANCELED);
    CHECK(ipc_sender_flush(s, briefly) > 0);
}

static bool ready(int fd) {
    pollfd p{fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

TEST_CASE_FIXTURE(scratch, "an interrupt makes the fd ready, and arm tells of it once") {
    tx s;
    rx r;
    s.stats();
    while (ipc_receiver_arm(r) == 0) r.read(1, 0);
    CHECK_FALSE(ready(ipc_receiver_fd(r)));
    ipc_receiver_interrupt(r);
    CHECK(ready(ipc_receiver_fd(r)));
    CHECK(ipc_receiver_arm(r) == -ECANCELED);
    CHECK(ipc_receiver_arm(r) == 1);
    CHECK_FALSE(ready(ipc_receiver_fd(r)));
    while (ipc_sender_arm(s) == 0) {
    }
    CHECK_FALSE(ready(ipc_sender_fd(s)));
    ipc_sender_interrupt(s);
    CHECK(ready(ipc_sender_fd(s)));
    CHECK(ipc_sender_arm(s) == -ECANCELED);
    CHECK(ipc_sender_arm(s) == 1);
    CHECK_FALSE(ready(ipc_sender_fd(s)));
}
