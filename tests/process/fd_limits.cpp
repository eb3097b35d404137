// A process that has no descriptor free: at open, when a peer is to be connected to, when one is to be accepted. It is
// told once and in words, nothing is lost, and all goes on when there are some again.
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <thread>

#include "lowered_limit.hpp"
#include "refusal.hpp"
#include "transports.hpp"

namespace {

// As many as are free for `opens` to succeed; each refusal before that says why, and keeps none.
template <class Open>
rlim_t needs(Open opens) {
    for (rlim_t free = 0;; ++free) {
        CAPTURE(free);
        refusal got;
        {
            few_fds few(free);
            got = opens();
        }
        if (got.code == 0) return free;
        CAPTURE(got);
        CHECK(got.code == -EMFILE);
        CHECK(got.says("Too many open files"));
        CHECK(got.says("`ulimit -n`"));
        REQUIRE(free < 30);
    }
}

}  // namespace

// ---- Open -----------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a sender that finds too few descriptors says so, however far it got", T, NAMED) {
    scratch s;
    std::string url = T::url(s.folder());
    CHECK(needs([&] { return try_sender(url); }) > 3);
}

TEST_CASE_TEMPLATE("a receiver that finds too few descriptors says so, however far it got", T, NAMED) {
    scratch s;
    std::string url = T::url(s.folder());
    CHECK(needs([&] { return try_receiver(url); }) > 3);
}

TEST_CASE_FIXTURE(scratch, "a receiver that opened with the last descriptors is found by a sender that waits") {
    rlim_t enough = needs([] { return try_receiver("shm://t"); });
    child s = sender();
    few_fds few(enough);
    rx r;
    ipc_message m;
    s.ask("send 1 3");
    // Found: its hello is here, and waits for descriptors.
    CHECK(r.receive(m) == -EMFILE);
    CHECK(r.stats().waiting_for_fds == 1);
}

TEST_CASE_FIXTURE(scratch, "a receiver without an inotify instance looks at its folder every second") {
    rlim_t enough = needs([] { return try_receiver("shm://t"); });
    few_fds few(enough);
    rx r;
    CHECK(r.stats().watching == 0);
}

// ---- Connect --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "a sender without descriptors keeps its messages, and connects when it has some") {
    for (rlim_t free = 0; free < 3; ++free) {
        CAPTURE(free);
        tx s;
        s.send_all(1, 3);
        child r = receiver();
        {
            few_fds few(free);
            CHECK(s.stats().unlinked == 1);
            CHECK(s.stats().links == 0);
            CHECK(s.send(4, 64, 0) == -EAGAIN);
        }
        CHECK(s.send(4) == 0);
        CHECK(s.stats().unlinked == 0);
        CHECK(r.ask("read 4") == "1-4");
    }
}

TEST_CASE_FIXTURE(scratch, "a sender that waits without descriptors connects as soon as it has some") {
    tx s("shm://t?capacity=64KiB");
    std::uint64_t sent = s.fill_up(1);
    child r = receiver();
    r.say("read " + std::to_string(sent));
    {
        few_fds few(1);
        CHECK(s.send(sent + 1, 64, 50 * briefly) == -ETIMEDOUT);
        CHECK(s.stats().waits < 20);
    }
    CHECK(s.send(sent + 1) == 0);
    r.expect("1-" + std::to_string(sent));
    CHECK(r.ask("read 1") == std::to_string(sent + 1));
}

// ---- Accept ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch,
                  "a hello that finds no descriptors free is told once, kept, and served when there are some") {
    // At first the accept finds none, later the hello's three do not all, at last there is none for a bell.
    for (rlim_t free = 0; free < 6; ++free) {
        CAPTURE(free);
        rx r;
        ipc_message m;
        child s = sender();
        s.ask("send 1 3");
        {
            few_fds few(free);
            CHECK(r.receive(m) == -EMFILE);
            CHECK(r.receive(m, 0) == -EAGAIN);
            CHECK(r.receive(m, briefly) == -ETIMEDOUT);
            CHECK(r.stats().waiting_for_fds == 1);
            CHECK(r.stats().links == 0);
        }
        CHECK(r.read(3) == "1-3");
        CHECK(r.stats().waiting_for_fds == 0);
        CHECK(r.stats().refused == 0);
        s.ask("send 4 4");
        CHECK(r.read(1) == "4");
        s.ask("close 0");
        CHECK(r.read(1) == "end");
    }
}

TEST_CASE_FIXTURE(scratch, "a sender that is gone before there were descriptors for its hello is heard to its end") {
    for (rlim_t free : {0, 3}) {
        CAPTURE(free);
        rx r;
        ipc_message m;
        child s = sender();
        s.ask("send 1 3");
        {
            few_fds few(free);
            CHECK(r.receive(m) == -EMFILE);
            s.ask("close 0");
            s.done();
            CHECK(r.receive(m, 200 * briefly) == -ETIMEDOUT);
        }
        CHECK(r.read(4) == "1-3 end");
    }
}

TEST_CASE_FIXTURE(scratch, "a second shortage is told again") {
    rx r;
    ipc_message m;
    for (int i = 0; i < 2; ++i) {
        child s = sender();
        s.ask("send 1 1");
        {
            few_fds few(2);
            CHECK(r.receive(m) == -EMFILE);
            CHECK(r.receive(m, 0) == -EAGAIN);
        }
        CHECK(r.read(1) == "1");
        s.ask("close 0");
        CHECK(r.read(1) == "end");
    }
}

TEST_CASE_FIXTURE(scratch, "senders that are linked already are heard while another's hello waits") {
    rx r;
    ipc_message m;
    child first = sender(), second = sender();
    first.ask("send 1 1");
    second.ask("send 1 1");
    {
        few_fds few(9);  // one link's six, of which it keeps four, and five of the other's
        CHECK(r.read(1) == "1");
        CHECK(r.receive(m) == -EMFILE);
        first.ask("send 2 100");
        CHECK(r.read(99) == "2-100");
        CHECK(r.stats().waiting_for_fds == 1);
    }
    CHECK(r.read(1) == "1");
}

TEST_CASE_FIXTURE(scratch, "waiting for descriptors is a look now and then, and no loop") {
    for (rlim_t free : {0, 3}) {
        CAPTURE(free);
        rx r;
        ipc_message m;
        child s = sender();
        few_fds few(free);
        CHECK(r.receive(m) == -EMFILE);
        std::uint64_t before = r.stats().waits;
        CHECK(r.receive(m, 350 * briefly) == -ETIMEDOUT);
        CHECK(r.stats().waits - before < 15);
    }
}

TEST_CASE_FIXTURE(scratch, "a receiver that sleeps takes the hello that waits as soon as there are descriptors") {
    rx r;
    ipc_message m;
    child s = sender();
    s.ask("send 1 1");
    auto few = std::make_unique<few_fds>(2);
    CHECK(r.receive(m) == -EMFILE);
    pid_t receiving = gettid();
    std::thread lifts([&] {
        CHECK(eventually([&] { return sleeps(getpid(), receiving); }));
        few.reset();
    });
    auto start = std::chrono::steady_clock::now();
    CHECK(r.read(1) == "1");
    CHECK(std::chrono::steady_clock::now() - start < limit / 2);  // and not at its last look, when the time has passed
    lifts.join();
}

TEST_CASE_FIXTURE(scratch, "a host that polls is woken for a hello that waits for descriptors, and told") {
    rx r;
    ipc_message m;
    child s = sender();
    few_fds few(3);
    REQUIRE(eventually([&] { return ipc_receiver_arm(r) == 0; }));
    CHECK(r.receive(m, 0) == -EMFILE);
}
