// A receiver that a sender has seen, and can't be linked with since this user has as many descriptors on their way as
// may be. Alone: other tests of the same user pass descriptors, too.
#include <poll.h>

#include <cerrno>
#include <deque>
#include <memory>
#include <optional>

#include "descriptors_in_flight.hpp"
#include "support.hpp"

namespace {

// Before the end of a test: all that are linked take some descriptors along.
struct crowded : scratch {
    std::optional<all_in_flight> others;
    void use_all() { others.emplace(); }
    void free_all() { others.reset(); }
};

std::optional<ipc_link> unlinked(const std::vector<ipc_link> &links) {
    for (const ipc_link &l : links)
        if (l.state == IPC_LINK_UNLINKED) return l;
    return {};
}

}  // namespace

TEST_CASE_FIXTURE(crowded, "a receiver that was seen, and linked later, gets all from the moment on that it was seen") {
    tx s;
    rx first;
    s.send_all(1, 3);
    CHECK(first.read(3) == "1-3");
    void *room;
    REQUIRE(ipc_sender_reserve(s, 64, &room, 0) == 0);
    fill(room, 64, 4);
    use_all();
    rx second;
    CHECK(s.stats().unlinked == 1);  // seen
    REQUIRE(ipc_sender_commit(s, 64, 4) == 0);
    CHECK(first.read(1) == "4");
    CHECK(s.stats().unreleased == 1);
    CHECK(ipc_sender_flush(s, 0) == 1);
    free_all();
    CHECK(s.send(5) == 0);
    CHECK(second.read(2) == "4-5");
    CHECK(first.read(1) == "5");
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
}

TEST_CASE_FIXTURE(crowded, "a first receiver that is linked later gets all that waited") {
    tx s;
    s.send_all(1, 3);
    use_all();
    rx r;
    CHECK(s.send(4, 64, 0) == -EAGAIN);
    CHECK(s.send(4, 64, briefly) == -ETIMEDOUT);
    CHECK(r.read(1, briefly) == "nothing");
    free_all();
    CHECK(s.send(4) == 0);
    CHECK(r.read(4) == "1-4");
}

TEST_CASE_FIXTURE(crowded, "both sides know of each other, and what is in the way") {
    tx s;
    use_all();
    rx r;
    CHECK(s.send(1, 64, 0) == -EAGAIN);
    auto at_sender = unlinked(s.links());
    REQUIRE(at_sender);
    CHECK(at_sender->lack == -ETOOMANYREFS);
    CHECK(at_sender->peer == r.stats().id);
    CHECK(at_sender->pid == getpid());
    auto at_receiver = unlinked(r.links());
    REQUIRE(at_receiver);
    CHECK(at_receiver->lack == -ETOOMANYREFS);
    CHECK(at_receiver->peer == s.stats().id);
    CHECK(at_receiver->pid == getpid());
    CHECK(std::string(ipc_strerror(-ETOOMANYREFS)).find("`ulimit -n`") != std::string::npos);
    free_all();
    CHECK(s.send(1) == 0);
    CHECK(r.read(1) == "1");
    CHECK(!unlinked(s.links()));
    CHECK(!unlinked(r.links()));
}

TEST_CASE_FIXTURE(crowded, "close tells what a receiver misses that was not linked, and that one counts who went") {
    for (bool killed : {false, true}) {
        CAPTURE(killed);
        if (killed) somebody_was_killed("shm://t");
        rx r;
        use_all();
        child s = sender();
        CHECK(s.ask("try 1 0") == std::to_string(-EAGAIN));
        CHECK(eventually([&] { return unlinked(r.links()).has_value(); }));
        if (killed) {
            s.kill();
        } else {
            s.ask("close 0");
            s.done();
        }
        CHECK(eventually([&] { return r.stats().unheard == 1; }));
        CHECK(!unlinked(r.links()));
        free_all();
    }
}

TEST_CASE_FIXTURE(crowded, "a receiver that goes before it was linked holds nobody up") {
    for (bool killed : {false, true}) {
        CAPTURE(killed);
        if (killed) somebody_was_killed("shm://t");
        tx s;
        rx stays;
        s.send_all(1, 1);
        CHECK(stays.read(1) == "1");
        use_all();
        child goes = receiver();
        CHECK(s.stats().unlinked == 1);  // looks, which send need not do more often than once in a clock tick
        CHECK(s.send(2, 64, 0) == -EAGAIN);
        if (killed) {
            goes.kill();
        } else {
            goes.ask("close");
            goes.say("exit");
            goes.done();
        }
        CHECK(s.send(2) == 0);
        CHECK(stays.read(1) == "2");
        CHECK(s.close(limit_ns) == 0);
        CHECK(stays.read(1) == "end");
        free_all();
    }
}

TEST_CASE_FIXTURE(crowded, "who takes the place of a receiver that went before it was linked gets what waited") {
    somebody_was_killed("shm://t");
    tx s;
    s.send_all(1, 3);
    use_all();
    child goes = receiver();
    CHECK(s.stats().unlinked == 1);
    rx comes;
    CHECK(s.stats().unlinked == 2);
    goes.kill();
    CHECK(eventually([&] { return s.stats().unlinked == 1; }));
    free_all();
    CHECK(s.send(4) == 0);
    CHECK(comes.read(4) == "1-4");
}

TEST_CASE_FIXTURE(crowded, "a host that polls a sender is woken when its receiver could be linked") {
    tx s;
    use_all();
    rx r;
    CHECK(s.send(1, 64, 0) == -EAGAIN);
    REQUIRE(ipc_sender_arm(s) == 1);
    free_all();
    CHECK(eventually([&] {
        pollfd p{ipc_sender_fd(s), POLLIN, 0};
        poll(&p, 1, 1000);
        return ipc_sender_arm(s) == 0;
    }));
    CHECK(s.send(1, 64, 0) == 0);
    CHECK(r.read(1) == "1");
}

TEST_CASE_FIXTURE(crowded, "a receiver that makes no call leaves descriptors for others") {
    rx idle("shm://idle");
    lowered_limit user(RLIMIT_NOFILE, 300);
    std::deque<tx> senders;
    for (int i = 0; i < 80; ++i) {
        senders.emplace_back("shm://idle?capacity=64KiB");
        senders.back().send(1, 64, 0);
        if (senders.size() > 10) senders.pop_front();  // gone, and its hello still waits to be accepted
    }
    tx s("shm://other");
    rx r("shm://other");
    CHECK(s.send(1) == 0);
    CHECK(r.read(1) == "1");
}
