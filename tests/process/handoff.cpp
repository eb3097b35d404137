// Handles that go from one loaded build of the library to another: what they had, they have still.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "host_calls.hpp"

TEST_CASE_FIXTURE(scratch, "a handed over receiver is the same to its sender, its counters and its user") {
    host h;
    h.open_receiver("shm://t");
    child sender = this->sender();
    sender.say("send 1 10");
    sender.expect("sent");
    for (std::uint64_t tag = 1; tag <= 5; ++tag) CHECK(take(h) == tag);
    ipc_receiver_counters before = receiver_stats(h);
    std::string version = h.library->ipc_version();
    int fd = h.library->ipc_receiver_fd(h.receivers[0]);

    REQUIRE(h.reload(next_build) == 0);
    CHECK(h.library->ipc_version() != version);
    CHECK(h.library->ipc_receiver_fd(h.receivers[0]) == fd);
    CHECK(h.library->ipc_receiver_url(h.receivers[0]) == std::string("shm://t"));
    ipc_receiver_counters after = receiver_stats(h);
    CHECK(after.id == before.id);
    CHECK(after.messages == 5);
    CHECK(after.links == 1);
    ipc_message m;
    REQUIRE(receive(h, m) == IPC_MESSAGE);
    CHECK(m.tag == 6);
    CHECK(m.sequence == 6);
    CHECK(m.flags == 0);
    CHECK(h.library->ipc_receiver_release(h.receivers[0], &m) == 0);
    for (std::uint64_t tag = 7; tag <= 10; ++tag) CHECK(take(h) == tag);
    sender.say("unreleased");
    sender.expect("0");
    sender.say("close 0");
    sender.expect("0");
    CHECK(receive(h, m) == IPC_END);
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "a handed over sender is the same to its receivers, its counters and its user") {
    host h;
    h.open_sender("shm://t", 1 << 16);
    child one = receiver(), two = receiver();
    for (std::uint64_t tag = 1; tag <= 5; ++tag) CHECK(send(h, tag) == 0);
    REQUIRE(eventually([&] { return sender_stats(h).links == 2; }));
    ipc_sender_counters before = sender_stats(h);

    REQUIRE(h.reload(next_build) == 0);
    ipc_sender_counters after = sender_stats(h);
    CHECK(after.id == before.id);
    CHECK(after.capacity == 1 << 16);
    CHECK(after.messages == 5);
    CHECK(after.links == 2);
    for (std::uint64_t tag = 6; tag <= 10; ++tag) CHECK(send(h, tag) == 0);
    for (child *c : {&one, &two}) {
        c->say("read 10");
        c->expect("1-10");
    }
    CHECK(h.library->ipc_sender_flush(h.senders[0], limit_ns) == 0);
    // A newcomer is placed by the new build.
    child three = receiver();
    CHECK(sender_stats(h).links == 3);  // which looks for it; a send does not each time
    CHECK(send(h, 11) == 0);
    three.say("read 1");
    three.expect("11");
    for (child *c : {&one, &two, &three}) {
        c->say("close");
        c->expect("0");
        c->say("exit");
        c->done();
    }
}

TEST_CASE_FIXTURE(scratch, "messages held through a handoff stay readable, and are released once, in any order") {
    host h;
    h.open_receiver("shm://t");
    tx s;
    s.send_all(1, 6);
    ipc_message m[6];
    for (auto &one : m) REQUIRE(receive(h, one) == IPC_MESSAGE);
    CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[1]) == 0);  // early: the first is held still
    CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[3]) == 0);

    REQUIRE(h.reload(next_build) == 0);
    CHECK(receiver_stats(h).held == 4);
    CHECK(s.stats().unreleased == 4);
    for (int i : {0, 2, 4, 5}) CHECK(proven(m[i]));
    for (int i : {1, 3}) CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[i]) == -ESTALE);
    CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[4]) == 0);

    REQUIRE(h.reload(this_build) == 0);
    CHECK(s.stats().unreleased == 3);
    for (int i : {5, 0, 2}) {
        CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[i]) == 0);
        CHECK(h.library->ipc_receiver_release(h.receivers[0], &m[i]) == -ESTALE);
    }
    CHECK(s.stats().unreleased == 0);
}

TEST_CASE_FIXTURE(scratch, "a closed receiver whose messages are held goes over, and is gone with the last release") {
    host h;
    h.open_receiver("shm://t");
    tx s;
    s.send_all(1, 2);
    ipc_message m[2];
    for (auto &one : m) REQUIRE(receive(h, one) == IPC_MESSAGE);
    CHECK(h.library->ipc_receiver_close(h.receivers[0]) == 2);
    REQUIRE(h.reload(next_build) == 0);
    ipc_receiver *r = h.receivers[0];
    h.receivers.clear();
    CHECK(h.library->ipc_receiver_release(r, &m[0]) == 0);
    CHECK(proven(m[1]));
    CHECK(h.library->ipc_receiver_release(r, &m[1]) == 0);
}

TEST_CASE_FIXTURE(scratch, "a reservation begun in one build is committed in the next") {
    host h;
    h.open_sender("shm://t");
    rx r;
    CHECK(send(h, 1) == 0);
    void *room;
    REQUIRE(h.library->ipc_sender_reserve(h.senders[0], 1000, &room, 0) == 0);
    fill(room, 100, 2);
    REQUIRE(h.reload(next_build) == 0);
    void *other;
    CHECK(h.library->ipc_sender_reserve(h.senders[0], 1000, &other, 0) == -EINVAL);  // it is open
    CHECK(h.library->ipc_sender_commit(h.senders[0], 1001, 2) == -EINVAL);
    CHECK(h.library->ipc_sender_commit(h.senders[0], 100, 2) == 0);
    CHECK(r.read(2) == "1-2");
}

TEST_CASE_FIXTURE(scratch, "ends and deaths that wait are told by the next build, and those told are not told again") {
    host h;
    h.open_receiver("shm://t");
    child ended = sender(), told = sender(), died = sender();
    for (child *c : {&ended, &told, &died}) {
        c->say("send 1 1");
        c->expect("sent");
    }
    for (int i = 0; i < 3; ++i) CHECK(take(h) == 1);
    told.say("close 0");
    told.expect("0");
    told.done();
    ipc_message m;
    REQUIRE(receive(h, m) == IPC_END);
    std::uint64_t told_id = m.sender;
    ended.say("end");
    ended.expect("0");
    died.kill();
    somebody_was_killed("shm://t");

    REQUIRE(h.reload(next_build) == 0);
    int first = receive(h, m);
    CHECK(m.sender != told_id);
    int second = receive(h, m);
    CHECK(m.sender != told_id);
    CHECK(((first == IPC_END && second == IPC_DIED) || (first == IPC_DIED && second == IPC_END)));
    CHECK(receive(h, m, briefly) == -ETIMEDOUT);
    REQUIRE(h.reload(this_build) == 0);
    CHECK(receive(h, m, briefly) == -ETIMEDOUT);
    ended.say("exit");
    ended.done();
}

TEST_CASE_FIXTURE(scratch, "a sender that has ended stays so") {
    host h;
    h.open_sender("shm://t");
    rx r;
    CHECK(send(h, 1) == 0);
    CHECK(h.library->ipc_sender_end(h.senders[0]) == 0);
    REQUIRE(h.reload(next_build) == 0);
    CHECK(send(h, 2) == -EPIPE);
    CHECK(r.read(2) == "1 end");
    CHECK(h.library->ipc_sender_flush(h.senders[0], limit_ns) == 0);
}

TEST_CASE_FIXTURE(scratch, "an interrupt before, amid and after a handoff is told once") {
    host h;
    h.open_sender("shm://t");
    h.open_receiver("shm://t");
    copy next(next_build);
    ipc_message m;

    h.library->ipc_receiver_interrupt(h.receivers[0]);
    REQUIRE(h.reload(next_build) == 0);
    CHECK(receive(h, m) == -ECANCELED);
    CHECK(receive(h, m, briefly) == -ETIMEDOUT);

    auto state = freeze(*h.library, h.receivers[0]);
    ipc_receiver *twin = nullptr;
    CHECK(h.library->ipc_receiver_interrupt(h.receivers[0]) == 0);  // frozen: a signal handler can't know
    REQUIRE(next.adopt(&twin, state, h.words, sizeof h.words) == 0);
    m = empty_message();
    CHECK(next.ipc_receiver_receive(twin, &m, limit_ns) == -ECANCELED);
    CHECK(next.ipc_receiver_receive(twin, &m, briefly) == -ETIMEDOUT);
    CHECK(h.library->ipc_receiver_interrupt(h.receivers[0]) == 0);  // not forgotten yet
    CHECK(next.ipc_receiver_arm(twin) == -ECANCELED);
    CHECK(h.library->ipc_receiver_forget(h.receivers[0]) == 0);
    CHECK(next.ipc_receiver_interrupt(twin) == 0);
    CHECK(next.ipc_receiver_receive(twin, &m, limit_ns) == -ECANCELED);
    CHECK(next.ipc_receiver_close(twin) == 0);
    h.receivers.clear();

    h.library->ipc_sender_interrupt(h.senders[0]);
    REQUIRE(h.reload(this_build) == 0);
    CHECK(h.library->ipc_sender_arm(h.senders[0]) == -ECANCELED);
    CHECK(h.library->ipc_sender_arm(h.senders[0]) == 1);
}

TEST_CASE_FIXTURE(scratch, "the fd, armed and nested in an epoll, wakes for what comes after the handoff") {
    host h;
    h.open_receiver("shm://t");
    child sender = this->sender();
    arm(h);
    int outer = epoll_create1(EPOLL_CLOEXEC);
    epoll_event e{EPOLLIN, {}};
    REQUIRE(epoll_ctl(outer, EPOLL_CTL_ADD, h.library->ipc_receiver_fd(h.receivers[0]), &e) == 0);
    REQUIRE_FALSE(ready(outer, 0));

    REQUIRE(h.reload(next_build) == 0);
    CHECK_FALSE(ready(outer, 0));
    sender.say("send 1 1");
    sender.expect("sent");
    CHECK(ready(outer, static_cast<int>(limit_ns / 1'000'000)));
    CHECK(take(h) == 1);
    arm(h);
    CHECK_FALSE(ready(outer, 0));
    close(outer);
    sender.say("close 0");
    sender.expect("0");
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "a thread that waits in poll on the fd does not notice a handoff, and wakes as ever") {
    host h;
    h.open_receiver("shm://t");
    child sender = this->sender();
    arm(h);
    std::atomic<bool> woken{false};
    int fd = h.library->ipc_receiver_fd(h.receivers[0]);
    std::thread waiter([&] { woken = ready(fd, static_cast<int>(limit_ns / 1'000'000)); });
    for (int i = 0; i < 10; ++i) REQUIRE(h.reload(i % 2 ? this_build : next_build) == 0);
    CHECK_FALSE(woken);
    sender.say("send 1 1");
    sender.expect("sent");
    waiter.join();
    CHECK(woken);
    CHECK(take(h) == 1);
    sender.say("close 0");
    sender.expect("0");
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "a sender that was refused for room is ready when there is, also in the next build") {
    host h;
    h.open_sender("shm://t", 1 << 16);
    rx r;
    std::uint64_t sent = 0;
    while (send(h, sent + 1, 64, 0) == 0) ++sent;
    while (h.library->ipc_sender_arm(h.senders[0]) == 0) REQUIRE(send(h, 0, 64, 0) == -EAGAIN);
    int fd = h.library->ipc_sender_fd(h.senders[0]);
    REQUIRE_FALSE(ready(fd, 0));
    REQUIRE(h.reload(next_build) == 0);
    CHECK_FALSE(ready(fd, 0));
    CHECK(r.take() == 1);
    CHECK(ready(fd, static_cast<int>(limit_ns / 1'000'000)));
    CHECK(send(h, sent + 1, 64, 0) == 0);
    for (std::uint64_t tag = 2; tag <= sent + 1; ++tag) CHECK(r.take() == tag);
}

TEST_CASE_FIXTURE(scratch, "the place of a receiver that died is taken by the next one, past a handoff of the sender") {
    host h;
    h.open_sender("shm://t");
    child first = receiver();
    for (std::uint64_t tag = 1; tag <= 4; ++tag) CHECK(send(h, tag) == 0);
    first.say("hold 3");
    first.expect("1-3");
    first.say("release 2");
    first.expect("0");
    first.kill();
    somebody_was_killed("shm://t");
    REQUIRE(eventually([&] { return sender_stats(h).links == 0; }));
    REQUIRE(h.reload(next_build) == 0);
    rx second;
    CHECK(send(h, 5) == 0);
    CHECK(second.read(4) == "1* 3* 4-5");
}

TEST_CASE_FIXTURE(scratch, "what a closed receiver still holds is known to the sender past a handoff") {
    host h;
    h.open_sender("shm://t");
    rx first;
    for (std::uint64_t tag = 1; tag <= 4; ++tag) CHECK(send(h, tag) == 0);
    CHECK(first.hold(3) == "1-3");
    ipc_receiver *closed = first.h;
    CHECK(first.close() == 3);
    REQUIRE(eventually([&] {
        ipc_link link{};
        link.struct_size = sizeof link;
        return h.library->ipc_sender_links(h.senders[0], &link, 1) == 1 && link.state == IPC_LINK_LEFT;
    }));
    REQUIRE(h.reload(next_build) == 0);
    for (int i : {1, 0}) CHECK(ipc_receiver_release(closed, &first.held[i]) == 0);
    CHECK(sender_stats(h).unreleased == 2);
    rx second;
    CHECK(sender_stats(h).links == 2);
    CHECK(second.read(2) == "3* 4");
    CHECK(ipc_receiver_release(closed, &first.held[2]) == 0);
    CHECK(h.library->ipc_sender_flush(h.senders[0], limit_ns) == 0);
}

// ---- Frozen ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "a frozen sender refuses every call but url, fd, interrupt and forget") {
    host h;
    h.open_sender("shm://t");
    auto &l = *h.library;
    ipc_sender *s = h.senders[0];
    int fd = l.ipc_sender_fd(s);
    auto state = freeze(l, s);
    check_frozen(l, s, state);
    CHECK(l.ipc_sender_fd(s) == fd);
    CHECK(l.ipc_sender_url(s) == std::string("shm://t"));
    CHECK(l.ipc_sender_interrupt(s) == 0);

    copy next(next_build);
    ipc_sender *twin = nullptr;
    REQUIRE(next.adopt(&twin, state, h.words, sizeof h.words) == 0);
    CHECK(next.ipc_sender_send(twin, "x", 1, 0, 0) == 0);
    CHECK(l.ipc_sender_send(s, "x", 1, 0, 0) == -EBUSY);  // and so it stays
    CHECK(next.ipc_sender_close(twin, 0) == 1);
    CHECK(l.ipc_sender_send(s, "x", 1, 0, 0) == -EBUSY);
    CHECK(l.ipc_sender_forget(s) == 0);
    h.senders.clear();
}

TEST_CASE_FIXTURE(scratch, "a frozen receiver refuses every call but url, fd, interrupt and forget") {
    host h;
    h.open_receiver("shm://t");
    auto &l = *h.library;
    ipc_receiver *r = h.receivers[0];
    tx s;
    s.send_all(1, 1);
    ipc_message m;
    REQUIRE(receive(h, m) == IPC_MESSAGE);
    int fd = l.ipc_receiver_fd(r);
    auto state = freeze(l, r);
    check_frozen(l, r, state, m);
    CHECK(l.ipc_receiver_fd(r) == fd);
    CHECK(l.ipc_receiver_url(r) == std::string("shm://t"));
    CHECK(l.ipc_receiver_interrupt(r) == 0);
    CHECK(proven(m));

    copy next(next_build);
    ipc_receiver *twin = nullptr;
    REQUIRE(next.adopt(&twin, state, h.words, sizeof h.words) == 0);
    CHECK(next.ipc_receiver_release(twin, &m) == 0);
    CHECK(l.ipc_receiver_release(r, &m) == -EBUSY);
    CHECK(l.ipc_receiver_forget(r) == 0);
    CHECK(next.ipc_receiver_close(twin) == 0);
    h.receivers.clear();
}

TEST_CASE_FIXTURE(scratch, "into too small a buffer nothing is frozen, and the size that is needed returned") {
    host h;
    h.open_receiver("shm://t");
    auto &l = *h.library;
    ipc_receiver *r = h.receivers[0];
    tx s;
    int needed = l.ipc_receiver_freeze(r, nullptr, 0);
    CHECK(needed > 0);
    std::vector<char> state(static_cast<std::size_t>(needed));
    for (int size = 0; size < needed; ++size)
        REQUIRE(l.ipc_receiver_freeze(r, state.data(), static_cast<std::size_t>(size)) == needed);
    CHECK(l.ipc_receiver_freeze(r, nullptr, 1) == -EINVAL);
    s.send_all(1, 1);
    CHECK(take(h) == 1);
    CHECK(l.ipc_receiver_forget(r) == -EINVAL);
    // With a link the state takes more.
    CHECK(l.ipc_receiver_freeze(r, state.data(), state.size()) > needed);
    s.send_all(2, 2);
    CHECK(take(h) == 2);
}

TEST_CASE_FIXTURE(scratch, "a handle in which a thread sleeps can't be frozen, and that thread does not notice") {
    host h;
    h.open_receiver("shm://t");
    tx s;
    std::atomic<int> result{0};
    ipc_message m;
    std::atomic<pid_t> thread{0};
    std::thread waiter([&] {
        thread = gettid();
        result = receive(h, m);
    });
    std::vector<char> state(100'000);
    // Before it sleeps, only a debug build knows that it is inside.
    REQUIRE(eventually([&] {
        std::ifstream call("/proc/self/task/" + std::to_string(thread) + "/syscall");
        int number = -1;
        return call >> number && (number == SYS_epoll_pwait2 || number == SYS_epoll_wait);
    }));
    CHECK(h.library->ipc_receiver_freeze(h.receivers[0], state.data(), state.size()) == -EBUSY);
    s.send_all(1, 1);
    waiter.join();
    CHECK(result == IPC_MESSAGE);
    CHECK(h.library->ipc_receiver_release(h.receivers[0], &m) == 0);
}
