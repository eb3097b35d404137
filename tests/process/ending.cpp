// The end is a word of the sender's, its death is none; a receiver learns of either once, after the last message. What
// the sender learns when it waits for its messages to be released.
#include <signal.h>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

TEST_CASE_FIXTURE(scratch, "an end is told once, after the last message, and close adds nothing to it") {
    rx r;
    child s = sender();
    s.ask("send 1 3");
    CHECK(s.ask("end") == "0");
    CHECK(s.ask("end") == "0");
    CHECK(r.read(5, briefly) == "1-3 end nothing");
    CHECK(s.ask("close 0") == "0");
    s.done();
    CHECK(r.read(1, briefly) == "nothing");
    CHECK(r.stats().ends == 1);
    CHECK(r.stats().deaths == 0);
    CHECK(r.stats().links == 0);
}

TEST_CASE_FIXTURE(scratch, "an exit without close is a death, told once, after the last message") {
    somebody_was_killed(url);
    rx r;
    child s = sender();
    s.ask("send 1 3");
    s.say("exit");
    s.done();
    CHECK(r.read(5, briefly) == "1-3 died nothing");
    CHECK(r.stats().ends == 0);
    CHECK(r.stats().deaths == 1);
    CHECK(r.stats().links == 0);
}

TEST_CASE_FIXTURE(scratch, "a death after the end is no death") {
    somebody_was_killed(url);
    rx r;
    child s = sender();
    s.ask("send 1 3");
    s.ask("end");
    s.kill();
    CHECK(r.read(5, briefly) == "1-3 end nothing");
    CHECK(r.stats().deaths == 0);
}

TEST_CASE_FIXTURE(scratch, "a death with a reservation open shows nothing of it") {
    somebody_was_killed(url);
    rx r;
    child s = sender();
    s.ask("send 1 3");
    s.ask("reserve 1000");
    s.kill();
    CHECK(r.read(5, briefly) == "1-3 died nothing");
}

TEST_CASE_FIXTURE(scratch, "ends and deaths name their sender, and each is told once") {
    somebody_was_killed(url);
    rx r;
    std::vector<child> all;
    std::set<std::uint64_t> to_end, to_die;
    for (std::uint64_t i = 0; i < 8; ++i) {
        all.push_back(sender());
        all.back().ask("send 1 1");
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        REQUIRE(r.release(m) == 0);
        (i % 2 ? to_end : to_die).insert(m.sender);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i % 2)
            all[i].ask("close 0");
        else
            all[i].kill();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        ipc_message m;
        int what = r.receive(m);
        if (what == IPC_END)
            CHECK(to_end.erase(m.sender) == 1);
        else if (what == IPC_DIED)
            CHECK(to_die.erase(m.sender) == 1);
        else
            FAIL("neither end nor death: " << what);
    }
    CHECK(r.read(1, briefly) == "nothing");
}

TEST_CASE_FIXTURE(scratch, "a receiver that sleeps is woken by an end, and by a death") {
    somebody_was_killed(url);
    child r = receiver(), ends = sender(), dies = sender();
    r.say("read 1");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    ends.ask("end");
    r.expect("end");
    r.say("read 1");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    dies.kill();
    r.expect("died");
}

TEST_CASE_FIXTURE(scratch, "each receiver is told of an end and of a death") {
    somebody_was_killed(url);
    child r1 = receiver(), r2 = receiver(), ends = sender(), dies = sender();
    ends.ask("send 1 2");
    ends.ask("end");
    for (child *r : {&r1, &r2}) CHECK(r->ask("read 3") == "1-2 end");
    dies.ask("send 1 2");
    dies.kill();
    for (child *r : {&r1, &r2}) CHECK(r->ask("read 3") == "1-2 died");
}

TEST_CASE_FIXTURE(scratch, "the end goes into a full ring, and does not wait") {
    rx r;
    child s = sender(small);
    std::string sent = s.ask("fill 1");
    CHECK(s.ask("end") == "0");
    CHECK(r.read(std::stoi(sent) + 1) == "1-" + sent + " end");
}

TEST_CASE_FIXTURE(scratch, "an end is told while messages before it are held, and they stay") {
    child s = sender();
    rx r;
    s.ask("send 1 3");
    s.ask("end");
    CHECK(r.hold(4) == "1-3 end");
    CHECK(s.ask("unreleased") == "3");
    CHECK(r.links().at(0).state == IPC_LINK_ENDED);
    for (std::uint64_t tag : {2, 1, 3}) CHECK(r.release_held(tag) == 0);
    CHECK(s.ask("unreleased") == "0");
}

TEST_CASE_FIXTURE(scratch, "a receiver that comes after the end is told of it, and gets what no other has") {
    child s = sender();
    s.ask("send 1 3");
    s.ask("end");
    child r1 = receiver();
    s.ask("unreleased");
    CHECK(r1.ask("read 4") == "1-3 end");
    child r2 = receiver();
    s.ask("unreleased");
    CHECK(r2.ask("read 1") == "end");
    CHECK(s.ask("close 0") == "0");
}

TEST_CASE_FIXTURE(scratch, "a sender that ended is not met again by a receiver whose name was made anew") {
    rx r;
    child s = sender();
    s.ask("send 1 1");
    s.ask("end");
    CHECK(r.read(2) == "1 end");
    s.ask("unreleased");
    delete_sockets("r");
    CHECK(r.read(1, briefly) == "nothing");
    REQUIRE(sockets(folder()) == 2);
    s.ask("unreleased");
    CHECK(r.read(1, briefly) == "nothing");
    CHECK(r.stats().ends == 1);
}

TEST_CASE_FIXTURE(scratch, "a sender that starts anew is another one") {
    somebody_was_killed(url);
    rx r;
    std::set<std::uint64_t> ids;
    for (int i = 0; i < 6; ++i) {
        child s = sender();
        s.ask("send 1 2");
        ipc_message m;
        for (std::uint64_t sequence : {1, 2}) {
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            CHECK(m.sequence == sequence);
            CHECK(r.release(m) == 0);
        }
        CHECK(ids.insert(m.sender).second);
        if (i % 2)
            s.kill();
        else
            s.ask("close 0");
        CHECK(r.read(1) == (i % 2 ? "died" : "end"));
    }
}

// ---- Flush and close ------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "flush says how many are left when its time has passed") {
    child r1 = receiver(), r2 = receiver();
    tx s;
    CHECK(ipc_sender_flush(s, 0) == 0);
    s.send_all(1, 5);
    CHECK(ipc_sender_flush(s, 0) == 5);
    CHECK(r1.ask("read 5") == "1-5");
    CHECK(ipc_sender_flush(s, briefly) == 5);
    CHECK(r2.ask("read 2") == "1-2");
    CHECK(ipc_sender_flush(s, briefly) == 3);
    CHECK(r2.ask("hold 3") == "3-5");
    CHECK(r2.ask("release 4") == "0");
    CHECK(ipc_sender_flush(s, briefly) == 2);
    CHECK(r2.ask("close") == "2");
    CHECK(ipc_sender_flush(s, briefly) == 2);
    CHECK(r2.ask("release 3") == "0");
    CHECK(r2.ask("release 5") == "0");
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
}

TEST_CASE_FIXTURE(scratch, "flush waits for a first receiver") {
    child s = sender();
    s.ask("send 1 5");
    s.say("flush -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    child r = receiver();
    CHECK(r.ask("read 5") == "1-5");
    s.expect("0");
}

TEST_CASE_FIXTURE(scratch, "flush goes on when the receiver that held it up is killed and another takes its place") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 5");
    CHECK(r1.ask("hold 2") == "1-2");
    s.say("flush -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    r1.kill();
    child r2 = receiver();
    CHECK(r2.ask("read 5") == "1-2* 3-5");
    s.expect("0");
}

TEST_CASE_FIXTURE(scratch, "close waits as long as it is told for the last release") {
    rx r;
    child s = sender();
    s.ask("send 1 5");
    CHECK(r.hold(5) == "1-5");
    s.say("close -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    for (std::uint64_t tag : {1, 2, 3, 4, 5}) CHECK(r.release_held(tag) == 0);
    s.expect("0");
    s.done();
    CHECK(r.read(1) == "end");
}

TEST_CASE_FIXTURE(scratch, "close says how many it could not wait for, and a receiver that is connected gets them") {
    rx r;
    child s = sender();
    s.ask("send 1 5");
    CHECK(r.read(2) == "1-2");
    CHECK(s.ask("close 1000000") == "3");
    s.done();
    CHECK(r.read(4) == "3-5 end");
}

TEST_CASE_FIXTURE(scratch, "close says how many are lost when no receiver ever came") {
    child s = sender();
    s.ask("send 1 5");
    CHECK(s.ask("close 1000000") == "5");
    s.done();
    rx r;
    CHECK(r.read(1, briefly) == "nothing");
}

static ipc_sender *lingering;

ROLE(lingers_until_interrupted) {
    tx s("shm://u");
    s.send_all(1, 3);
    lingering = s;
    ::signal(SIGUSR2, [](int) { ipc_sender_interrupt(lingering); });
    me.say("closing");
    me.say(std::to_string(s.close(-1)));
}

TEST_CASE_FIXTURE(scratch, "an interrupt from before does not cut a close short, one during it does") {
    child r = receiver();
    tx s;
    s.send_all(1, 5);
    ipc_sender_interrupt(s);
    r.say("read 5");
    CHECK(s.close(limit_ns) == 0);
    r.expect("1-5");
    child lingers = start("lingers_until_interrupted");
    lingers.expect("closing");
    REQUIRE(eventually([&] { return lingers.sleeps(); }));
    lingers.signal(SIGUSR2);
    lingers.expect("3");
    lingers.done();
}

TEST_CASE_FIXTURE(scratch, "a signal does not cut a close short") {
    rx r;
    child s = sender();
    s.ask("send 1 5");
    s.say("close -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    s.signal(SIGUSR1);
    CHECK(r.read(5) == "1-5");
    s.expect("0");
    s.done();
}

TEST_CASE_FIXTURE(scratch, "who dies holds up no sender when another had all, and the end") {
    for (bool ended_before : {false, true}) {
        CAPTURE(ended_before);
        somebody_was_killed(url);
        child dies = receiver();
        rx r;
        tx s;
        s.send_all(1, 5);
        CHECK(dies.ask("hold 1") == "1");
        CHECK(r.read(5) == "1-5");
        if (!ended_before) dies.kill();
        CHECK(s.end() == 0);
        CHECK(r.read(1) == "end");
        if (ended_before) {
            s.stats();
            dies.kill();
        }
        CHECK(s.close(limit_ns) == 0);
    }
}
