// Between arm and the wait on the fd: whatever happens there, the fd gets ready for it.
#include <poll.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "transports.hpp"

namespace {

bool ready(int fd, std::chrono::nanoseconds patience) {
    pollfd p{fd, POLLIN, 0};
    int count;
    do count = poll(&p, 1, static_cast<int>(patience / 1ms));
    while (count < 0 && errno == EINTR);
    return count == 1;
}

// Arms until there is nothing to do: what was to be served before is served.
bool armed(ipc_receiver *r) {
    return eventually([&] { return ipc_receiver_arm(r) == 1 && !ready(ipc_receiver_fd(r), 0ms); });
}
bool armed(ipc_sender *s) {
    return eventually([&] { return ipc_sender_arm(s) == 1 && !ready(ipc_sender_fd(s), 0ms); });
}

// Commits when told.
ROLE(sends_on_command) {
    tx s(me.arg(0));
    me.say("open");
    for (;;) {
        std::string word = me.hear();
        if (word == "end") break;
        MUST(s.send(std::stoul(word)) == 0);
        me.say("sent");
    }
}

// Takes a message when told.
ROLE(takes_on_command) {
    rx r(me.arg(0));
    me.say("open");
    while (me.hear() == "take") {
        r.take();
        me.say("taken");
    }
}

}  // namespace

TEST_CASE_TEMPLATE("figures asked for after arm don't keep a receiver from seeing its message", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.start("sends_on_command", {url.sender});
    sender.expect("open");
    for (int i = 1; i <= 3; ++i) {
        REQUIRE(armed(r));
        sender.say(std::to_string(i));
        sender.expect("sent");
        r.stats();
        r.links();
        r.stats();
        CHECK(ready(ipc_receiver_fd(r), limit));
        CHECK(r.take() == static_cast<std::uint64_t>(i));
    }
    sender.say("end");
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "figures asked for after arm don't keep a sender from seeing its room") {
    ipc_sender_options options{sizeof options, 64 << 10, 0};
    tx s("shm://t", &options);
    child receiver = start("takes_on_command", {"shm://t"});
    receiver.expect("open");
    for (std::uint64_t i = 0; i < 2; ++i) REQUIRE(s.send(i, 30'000) == 0);
    for (std::uint64_t i = 2; i < 5; ++i) {
        CHECK(s.send(i, 30'000, 0) == -EAGAIN);
        REQUIRE(armed(s));
        receiver.say("take");
        receiver.expect("taken");
        s.stats();
        s.links();
        s.stats();
        CHECK(ready(ipc_sender_fd(s), limit));
        REQUIRE(s.send(i, 30'000, 0) == 0);
    }
    receiver.say("end");
    receiver.done();
}

TEST_CASE_TEMPLATE("figures asked for after arm don't keep a sender from seeing that the system takes more", T,
                   over_unix, over_tcp, over_pipe) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?capacity=64KiB");
    tx s(url + "?capacity=64KiB");
    std::uint64_t sent = 0;
    for (int i = 0; i < 3; ++i) {
        REQUIRE(eventually([&] {
            r.stats();
            while (s.send(sent, 30'000, 0) == 0) ++sent;
            return s.stats().links == 1 && ipc_sender_arm(s) == 1 && !ready(ipc_sender_fd(s), 100ms);
        }));
        ipc_message m = empty_message();
        while (r.receive(m, 0) == IPC_MESSAGE) r.release(m);
        s.stats();
        s.links();
        s.stats();
        CHECK(ready(ipc_sender_fd(s), limit));
    }
}

TEST_CASE_TEMPLATE("a release after arm that makes room for more does not keep a receiver from seeing it", T, over_unix,
                   over_tcp, over_pipe) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?capacity=64KiB");
    tx s(url);
    for (std::uint64_t i = 1; i <= 6; ++i) REQUIRE(s.send(i, 30'000) == 0);
    CHECK(r.hold(2) == "1-2");
    for (std::uint64_t i = 1; i <= 4; ++i) {
        REQUIRE(armed(r));
        REQUIRE(r.release_held(i) == 0);
        s.stats();  // hands over what the system had no room for
        CHECK(ready(ipc_receiver_fd(r), limit));
        CHECK(r.hold(1) == std::to_string(i + 2));
    }
}

TEST_CASE_TEMPLATE("a sender whose flush was refused learns by arm or by its fd that all is released", T, over_shm,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    tx s(url + "?capacity=8MiB");
    // The answer is there before arm looks.
    REQUIRE(s.send(1) == 0);
    CHECK(r.hold(1) == "1");
    CHECK(ipc_sender_flush(s, 0) == 1);
    r.stats();
    REQUIRE(r.release_held(1) == 0);
    CHECK(ipc_sender_arm(s) == 0);
    CHECK(ipc_sender_flush(s, 0) == 0);
    // The question can't go out before the message has.
    REQUIRE(s.send(2, 4'000'000) == 0);
    CHECK(ipc_sender_flush(s, 0) == 1);
    std::thread takes([&] {
        CHECK(r.take() == 2);
        CHECK(r.read(1) == "end");
    });
    int result;
    while ((result = ipc_sender_arm(s)) == 1 && ready(ipc_sender_fd(s), limit)) continue;
    CHECK(result == 0);
    s.end();
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    takes.join();
}

TEST_CASE_FIXTURE(scratch, "figures asked for after arm don't make the fd ready where nothing came") {
    tx s;
    rx r;
    s.stats();
    r.stats();
    REQUIRE(eventually([&] { return ipc_sender_arm(s) == 1; }));
    REQUIRE(armed(r));
    r.stats();
    r.links();
    s.stats();
    s.links();
    CHECK_FALSE(ready(ipc_receiver_fd(r), 0ms));
    CHECK_FALSE(ready(ipc_sender_fd(s), 0ms));
}

// The interrupt comes from a signal handler, and so as a whole between any two instructions of arm: the timer that
// sends the signal is set a little later each time.
static std::atomic<ipc_sender *> interrupted_sender;
static std::atomic<ipc_receiver *> interrupted_receiver;
static void interrupt(int) {
    if (interrupted_sender) ipc_sender_interrupt(interrupted_sender);
    if (interrupted_receiver) ipc_receiver_interrupt(interrupted_receiver);
}

template <class Arm>
static void interrupt_while_arming(int fd, Arm arm) {
    struct sigaction handler {
    }, before;
    handler.sa_handler = interrupt;
    REQUIRE(sigaction(SIGUSR1, &handler, &before) == 0);
    sigevent by_signal{};
    by_signal.sigev_notify = SIGEV_SIGNAL;
    by_signal.sigev_signo = SIGUSR1;
    timer_t timer;
    REQUIRE(timer_create(CLOCK_MONOTONIC, &by_signal, &timer) == 0);
    bool good = true;
    for (int i = 0; i < 10'000 && good; ++i) {
        itimerspec when{{}, {0, 1 + i % 1000 * 20}};
        timer_settime(timer, 0, &when, nullptr);
        int result;
        while ((result = arm()) >= 0 && good)
            if (result == 1) CHECK((good = ready(fd, limit)));
        if (good) CHECK((good = result == -ECANCELED));
    }
    timer_delete(timer);
    sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE_TEMPLATE("an interrupt that comes while a receiver arms is seen by arm, or makes the fd ready", T, over_shm,
                   over_unix) {
    scratch test;
    rx r(T::url(test.folder()));
    interrupted_receiver = r;
    interrupt_while_arming(ipc_receiver_fd(r), [&] { return ipc_receiver_arm(r); });
    interrupted_receiver = nullptr;
}

TEST_CASE_TEMPLATE("an interrupt that comes while a sender arms is seen by arm, or makes the fd ready", T, over_shm,
                   over_unix) {
    scratch test;
    tx s(T::url(test.folder()));
    interrupted_sender = s;
    interrupt_while_arming(ipc_sender_fd(s), [&] { return ipc_sender_arm(s); });
    interrupted_sender = nullptr;
}
