// Where a receiver starts: the first, one beside others, one after others; and what it is told of its predecessors.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.hpp"

static const std::string url = "shm://t";

TEST_CASE_FIXTURE(scratch, "the first receiver starts at the oldest message that waits") {
    child s = sender();
    s.ask("send 1 100");
    child r = receiver();
    s.ask("end");
    CHECK(r.ask("read 101") == "1-100 end");
}

TEST_CASE_FIXTURE(scratch, "one that joins others starts at the next message") {
    child s = sender(), first = receiver();
    s.ask("send 1 10");
    child second = receiver();
    CHECK(s.ask("unreleased") == "10");  // and the sender has looked for newcomers
    s.ask("send 11 20");
    s.ask("end");
    CHECK(first.ask("read 21") == "1-20 end");
    CHECK(second.ask("read 11") == "11-20 end");
}

TEST_CASE_FIXTURE(scratch, "from=oldest gets what is still in the ring, also beside others, and without a mark") {
    child s = sender(), first = receiver();
    s.ask("send 1 10");
    CHECK(first.ask("read 4") == "1-4");
    child second = receiver(url + "?from=oldest");
    CHECK(s.ask("unreleased") == "6");
    CHECK(second.ask("read 3") == "5-7");
    s.ask("send 11 20");
    s.ask("end");
    CHECK(second.ask("read 14") == "8-20 end");
    CHECK(first.ask("read 17") == "5-20 end");
    CHECK(s.ask("flush 20000000000") == "0");
}

TEST_CASE_FIXTURE(scratch, "from=latest passes over what waits, and both sides count it") {
    tx s;
    s.send_all(1, 10);
    rx r(url + "?from=latest");
    CHECK(s.stats().links == 1);
    CHECK(r.read(1, briefly) == "nothing");
    CHECK(r.stats().skipped == 10);
    CHECK(r.links().at(0).skipped == 10);
    CHECK(s.links().at(0).skipped == 10);
    CHECK(s.stats().unreleased == 0);
    s.send_all(11, 12);
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    CHECK(m.tag == 11);
    CHECK(m.sequence == 11);
    CHECK(m.flags == 0);
    CHECK(r.release(m) == 0);
    CHECK(r.read(1) == "12");
}

TEST_CASE_FIXTURE(scratch, "from=latest beside others takes nothing from them") {
    child s = sender(), first = receiver();
    s.ask("send 1 10");
    child second = receiver(url + "?from=latest");
    CHECK(s.ask("unreleased") == "10");
    CHECK(first.ask("read 5") == "1-5");
    second.say("read 2");
    REQUIRE(eventually([&] { return second.sleeps(); }));
    s.ask("send 11 12");
    second.expect("11-12");
    CHECK(first.ask("read 7") == "6-12");
}

TEST_CASE_FIXTURE(scratch, "from=latest still sees the end of a sender that has ended") {
    child s = sender();
    s.ask("send 1 10");
    s.ask("end");
    rx r(url + "?from=latest");
    s.ask("unreleased");
    CHECK(r.read(2, briefly) == "end nothing");
    CHECK(r.stats().skipped == 10);
}

TEST_CASE_FIXTURE(scratch,
                  "the successor of a closed receiver gets what that had not released, marked if it had got it") {
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("read 3") == "1-3");
    CHECK(r1.ask("hold 3") == "4-6");
    CHECK(r1.ask("close") == "3");
    child r2 = receiver();
    s.ask("send 11 11");
    s.ask("end");
    CHECK(r2.ask("read 9") == "4-6* 7-11 end");
}

TEST_CASE_FIXTURE(scratch,
                  "the successor of a killed receiver gets what that had not released, marked if it had got it") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("read 3") == "1-3");
    CHECK(r1.ask("hold 3") == "4-6");
    r1.kill();
    child r2 = receiver();
    s.ask("send 11 11");
    s.ask("end");
    CHECK(r2.ask("read 9") == "4-6* 7-11 end");
}

TEST_CASE_FIXTURE(scratch, "sequences go on where the predecessor was") {
    somebody_was_killed(url);
    tx s;
    child r1 = receiver();
    s.send_all(1, 10);
    CHECK(r1.ask("read 3") == "1-3");
    CHECK(r1.ask("hold 1") == "4");
    r1.kill();
    rx r2;
    CHECK(s.stats().links == 1);
    for (std::uint64_t sequence = 4; sequence <= 10; ++sequence) {
        ipc_message m;
        REQUIRE(r2.receive(m) == IPC_MESSAGE);
        CHECK(m.sequence == sequence);
        CHECK(m.tag == sequence);
        CHECK(r2.release(m) == 0);
    }
}

TEST_CASE_FIXTURE(scratch, "the mark stays through a second and a third death") {
    somebody_was_killed(url);
    child s = sender();
    s.ask("send 1 10");
    child r1 = receiver();
    s.ask("unreleased");
    CHECK(r1.ask("hold 4") == "1-4");
    r1.kill();
    child r2 = receiver();
    s.ask("unreleased");
    CHECK(r2.ask("hold 2") == "1-2*");
    r2.kill();
    child r3 = receiver();
    s.ask("unreleased");
    CHECK(r3.ask("hold 5") == "1-4* 5");
    r3.kill();
    child r4 = receiver();
    s.ask("unreleased");
    CHECK(r4.ask("read 10") == "1-5* 6-10");
}

TEST_CASE_FIXTURE(scratch, "the mark stays through a successor that never called") {
    somebody_was_killed(url);
    child s = sender();
    s.ask("send 1 10");
    child r1 = receiver();
    s.ask("unreleased");
    CHECK(r1.ask("read 1") == "1");
    CHECK(r1.ask("hold 4") == "2-5");
    r1.kill();
    child r2 = receiver();
    CHECK(s.ask("unreleased") == "9");  // connected, not accepted
    r2.kill();
    child r3 = receiver();
    s.ask("unreleased");
    CHECK(r3.ask("read 9") == "2-5* 6-10");
}

TEST_CASE_FIXTURE(scratch, "of several that die together the one that was furthest behind counts") {
    somebody_was_killed(url);
    child s = sender(), ahead = receiver(), behind = receiver();
    s.ask("send 1 10");
    CHECK(ahead.ask("read 8") == "1-8");
    CHECK(behind.ask("read 3") == "1-3");
    CHECK(behind.ask("hold 2") == "4-5");
    ahead.kill();
    behind.kill();
    // The sender has made no call between the deaths: for it they come at once.
    child next = receiver();
    s.ask("unreleased");
    CHECK(next.ask("read 7") == "4-5* 6-10");
}

TEST_CASE_FIXTURE(scratch, "the last one to leave hands over, not one that left earlier") {
    somebody_was_killed(url);
    child s = sender(), earlier = receiver(), last = receiver();
    s.ask("send 1 10");
    CHECK(earlier.ask("hold 2") == "1-2");
    CHECK(last.ask("read 6") == "1-6");
    earlier.kill();
    CHECK(s.ask("unreleased") == "4");
    last.kill();
    child next = receiver();
    s.ask("unreleased");
    CHECK(next.ask("read 4") == "7-10");
}

TEST_CASE_FIXTURE(scratch, "a receiver that comes before the sender has seen the death takes the dead one's place") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("hold 4") == "1-4");
    s.stop();
    r1.kill();
    child r2 = receiver();
    r2.say("read 10");
    REQUIRE(eventually([&] { return r2.sleeps(); }));
    s.cont();
    s.ask("unreleased");
    r2.expect("1-4* 5-10");
}

TEST_CASE_FIXTURE(scratch, "a death beside others leaves nothing to a newcomer, who joins at the next message") {
    somebody_was_killed(url);
    child s = sender(), stays = receiver(), goes = receiver();
    s.ask("send 1 10");
    CHECK(goes.ask("hold 4") == "1-4");
    goes.kill();
    child next = receiver();
    CHECK(s.ask("unreleased") == "10");
    s.ask("send 11 12");
    s.ask("end");
    CHECK(next.ask("read 3") == "11-12 end");
    CHECK(stays.ask("read 13") == "1-12 end");
}

TEST_CASE_FIXTURE(scratch, "a successor with from=latest passes over what its predecessor left") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("hold 4") == "1-4");
    r1.kill();
    rx r2(url + "?from=latest");
    CHECK(s.ask("unreleased") == "10");
    CHECK(r2.read(1, briefly) == "nothing");
    CHECK(r2.stats().skipped == 10);
    s.ask("send 11 11");
    CHECK(r2.read(1) == "11");
}

TEST_CASE_FIXTURE(scratch, "a successor with from=oldest starts where one without does") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("read 2") == "1-2");
    CHECK(r1.ask("hold 2") == "3-4");
    r1.kill();
    child r2 = receiver(url + "?from=oldest");
    s.ask("unreleased");
    CHECK(r2.ask("read 8") == "3-4* 5-10");
}

// The fork holds copies of the sockets, of the listener and of the bells, and becomes the test's own child.
ROLE(receiver_that_forks) {
    rx r("shm://t");
    me.say("open");
    MUST(r.hold(4) == "1-4");
    pid_t fork_of_it = fork();
    while (fork_of_it == 0) pause();
    me.say(std::to_string(fork_of_it));
    me.hear();
}

TEST_CASE_FIXTURE(scratch, "a killed receiver is dead although a fork of it lives on") {
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    somebody_was_killed(url);
    child s = sender(), r1 = start("receiver_that_forks");
    r1.expect("open");
    s.ask("send 1 10");
    pid_t fork_of_r1 = std::stoi(r1.hear());
    r1.kill();
    child r2 = receiver();
    CHECK(s.ask("unreleased") == "10");
    s.ask("end");
    CHECK(r2.ask("read 11") == "1-4* 5-10 end");
    CHECK(::kill(fork_of_r1, SIGKILL) == 0);
    CHECK(waitpid(fork_of_r1, nullptr, 0) == fork_of_r1);
}
