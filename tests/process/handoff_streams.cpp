// Handles on pipes and sockets that go from one loaded build of the library to another.
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <thread>

#include "bare.hpp"
#include "floods.hpp"
#include "lowered_limit.hpp"
#include "transports.hpp"

namespace {

// A receiver and a sender in this process, each in a copy of the library of its own.
struct both {
    host r, s;
    explicit both(const ends &url) {
        r.open_receiver(url.receiver);
        s.open_sender(url.sender);
        ipc_message m;
        CHECK(eventually([&] {
            receive(r, m, 0);
            return sender_stats(s).links == 1;
        }));
    }
    void reload(int turn) {
        REQUIRE_MESSAGE(r.reload(build(turn)) == 0, r.words);
        REQUIRE_MESSAGE(s.reload(build(turn)) == 0, s.words);
    }
};

#define EACH_STREAM STREAMS, INHERITED

// A receiver and its sender over each of these, in one copy.
template <class... T>
void open_each(host &h, const std::string &folder) {
    for (const ends &url : {ends_of<T>(folder)...}) {
        h.open_receiver(url.receiver);
        h.open_sender(url.sender);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("what was sent, received, held and counted goes over with both handles of a stream", T,
                   EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    for (std::uint64_t tag = 1; tag <= 8; ++tag) REQUIRE(send(b.s, tag, 500 * tag) == 0);
    for (std::uint64_t tag = 1; tag <= 2; ++tag) CHECK(take(b.r) == tag);
    std::vector<ipc_message> held(3);
    for (ipc_message &m : held) REQUIRE(receive(b.r, m) == IPC_MESSAGE);
    CHECK(release(b.r, held[1]) == 0);
    ipc_receiver_counters received = receiver_stats(b.r);
    ipc_sender_counters sent = sender_stats(b.s);
    std::string url = b.r.library->ipc_receiver_url(b.r.receivers[0]), version = b.r.library->ipc_version();
    int fd = b.r.library->ipc_receiver_fd(b.r.receivers[0]), fd_of_sender = b.s.library->ipc_sender_fd(b.s.senders[0]);

    b.reload(0);
    CHECK(b.r.library->ipc_version() != version);
    CHECK(b.r.library->ipc_receiver_url(b.r.receivers[0]) == url);
    CHECK(b.r.library->ipc_receiver_fd(b.r.receivers[0]) == fd);
    CHECK(b.s.library->ipc_sender_fd(b.s.senders[0]) == fd_of_sender);
    CHECK(receiver_stats(b.r).id == received.id);
    CHECK(receiver_stats(b.r).messages == 5);
    CHECK(receiver_stats(b.r).held == 2);
    CHECK(receiver_stats(b.r).links == 1);
    CHECK(sender_stats(b.s).id == sent.id);
    CHECK(sender_stats(b.s).capacity == sent.capacity);
    CHECK(sender_stats(b.s).messages == 8);
    CHECK(sender_stats(b.s).links == 1);

    for (int i : {0, 2}) CHECK(proven(held[i]));
    CHECK(release(b.r, held[1]) == -ESTALE);
    for (int i : {2, 0}) CHECK(release(b.r, held[i]) == 0);
    CHECK(release(b.r, held[0]) == -ESTALE);
    for (std::uint64_t tag = 9; tag <= 12; ++tag) REQUIRE(send(b.s, tag) == 0);
    for (std::uint64_t tag = 6; tag <= 12; ++tag) {
        ipc_message m;
        REQUIRE(receive(b.r, m) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        CHECK(m.sequence == tag);
        CHECK(m.sender == sent.id);
        CHECK(m.flags == 0);
        CHECK(proven(m));
        CHECK(release(b.r, m) == 0);
    }
    b.reload(1);
    CHECK(b.s.library->ipc_sender_close(b.s.senders[0], 0) >= 0);
    b.s.senders.clear();
    ipc_message m;
    CHECK(receive(b.r, m) == IPC_END);
    CHECK(m.sender == sent.id);
    CHECK(receiver_stats(b.r).lost == 0);
}

TEST_CASE_TEMPLATE("a closed stream receiver whose message is held goes over, and is gone with its release", T,
                   EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    REQUIRE(send(b.s, 1) == 0);
    ipc_message m;
    REQUIRE(receive(b.r, m) == IPC_MESSAGE);
    CHECK(b.r.library->ipc_receiver_close(b.r.receivers[0]) == 1);
    REQUIRE(b.r.reload(next_build) == 0);
    CHECK(proven(m));
    CHECK(release(b.r, m) == 0);
    b.r.receivers.clear();
}

TEST_CASE_TEMPLATE("a reservation on a stream that is begun in one build is committed in the next", T, EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    void *room;
    REQUIRE(b.s.library->ipc_sender_reserve(b.s.senders[0], 1000, &room, 0) == 0);
    fill(room, 100, 1);
    b.reload(0);
    CHECK(b.s.library->ipc_sender_commit(b.s.senders[0], 100, 1) == 0);
    CHECK(take(b.r) == 1);
}

TEST_CASE_TEMPLATE("an interrupt of a stream before and amid a handoff is told once", T, EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    b.r.library->ipc_receiver_interrupt(b.r.receivers[0]);
    b.s.library->ipc_sender_interrupt(b.s.senders[0]);
    b.reload(0);
    ipc_message m;
    CHECK(receive(b.r, m) == -ECANCELED);
    CHECK(receive(b.r, m, briefly) == -ETIMEDOUT);
    CHECK(b.s.library->ipc_sender_arm(b.s.senders[0]) == -ECANCELED);
    CHECK(b.s.library->ipc_sender_arm(b.s.senders[0]) == 1);

    copy next(this_build);
    auto state = freeze(*b.r.library, b.r.receivers[0]);
    b.r.library->ipc_receiver_interrupt(b.r.receivers[0]);
    ipc_receiver *twin = nullptr;
    REQUIRE(next.adopt(&twin, state, b.r.words, sizeof b.r.words) == 0);
    CHECK(next.ipc_receiver_arm(twin) == -ECANCELED);
    CHECK(b.r.library->forget(b.r.receivers[0]) == 0);
    b.r.receivers.clear();
    CHECK(next.ipc_receiver_close(twin) == 0);
}

TEST_CASE_TEMPLATE("whoever waits on the fd of a stream receiver does not notice a handoff, and wakes as ever", T,
                   EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    arm(b.r);
    int fd = b.r.library->ipc_receiver_fd(b.r.receivers[0]), outer = epoll_create1(EPOLL_CLOEXEC);
    epoll_event e{EPOLLIN, {}};
    REQUIRE(epoll_ctl(outer, EPOLL_CTL_ADD, fd, &e) == 0);
    std::atomic<bool> woken{false};
    std::thread waiter([&] { woken = ready(fd); });
    for (int turn = 0; turn < 10; ++turn) REQUIRE(b.r.reload(build(turn)) == 0);
    CHECK_FALSE(woken);
    CHECK_FALSE(ready(outer, 0));
    REQUIRE(send(b.s, 1) == 0);  // no call was made in the new build
    waiter.join();
    CHECK(woken);
    CHECK(ready(outer));
    CHECK(take(b.r) == 1);
    arm(b.r);
    CHECK_FALSE(ready(outer, 0));
    close(outer);
}

TEST_CASE_TEMPLATE("what comes for a stream while nobody has its handle wakes the next build", T, EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    arm(b.r);
    int fd = b.r.library->ipc_receiver_fd(b.r.receivers[0]);
    auto state = freeze(*b.r.library, b.r.receivers[0]);
    CHECK(b.r.library->forget(b.r.receivers[0]) == 0);
    b.r.receivers.clear();
    REQUIRE(send(b.s, 1) == 0);
    b.r.library = std::make_unique<copy>(next_build);  // the old one is unloaded
    ipc_receiver *twin = nullptr;
    REQUIRE(b.r.library->adopt(&twin, state, b.r.words, sizeof b.r.words) == 0);
    b.r.receivers.push_back(twin);
    CHECK(ready(fd));
    CHECK(take(b.r) == 1);
}

// ---- In the middle of something -------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a frame that is half read is read to its end by the next build, wherever it was cut", T,
                   CONNECTIONS) {
    scratch test;
    host h;
    std::string url = T::url(test.folder());
    h.open_receiver(url);
    int peer = connect_bare(url);
    std::string payload(100, 'x');
    std::string all = hello() + frame(1, 100, 5, 1) + payload + frame(1, 0, 6, 2);
    int turn = 0;
    for (std::size_t done = 0; done < all.size(); done += 13) {
        std::string part = all.substr(done, 13);
        REQUIRE(::send(peer, part.data(), part.size(), 0) == static_cast<ssize_t>(part.size()));
        REQUIRE(eventually([&] {
            receiver_stats(h);  // reads
            int left = -1;
            return ioctl(peer, TIOCOUTQ, &left) == 0 && left == 0;
        }));
        REQUIRE(h.reload(build(turn++)) == 0);
    }
    ipc_message m;
    REQUIRE(receive(h, m) == IPC_MESSAGE);
    CHECK(m.tag == 5);
    CHECK(std::string(static_cast<const char *>(m.data), m.size) == payload);
    CHECK(release(h, m) == 0);
    REQUIRE(receive(h, m) == IPC_MESSAGE);
    CHECK(m.tag == 6);
    CHECK(release(h, m) == 0);
    close(peer);
    CHECK(receive(h, m) == IPC_DIED);
}

TEST_CASE_TEMPLATE("a sender that is held up with half a message out goes on in the next build", T, CONNECTIONS,
                   over_pipe, INHERITED) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    std::uint64_t sent = 0;
    while (send(b.s, sent + 1, 300'000, 0) == 0) ++sent;
    while (b.s.library->ipc_sender_arm(b.s.senders[0]) == 0) REQUIRE(send(b.s, 0, 300'000, 0) == -EAGAIN);
    int fd = b.s.library->ipc_sender_fd(b.s.senders[0]);
    REQUIRE_FALSE(ready(fd, 0));
    b.reload(0);
    CHECK_FALSE(ready(fd, 0));
    std::uint64_t next = 1;
    // It writes when it is called, as its fd says.
    CHECK(eventually([&] {
        ipc_message m;
        if (receive(b.r, m, 0) == IPC_MESSAGE) {
            CHECK(m.tag == next++);
            CHECK(proven(m));
            CHECK(release(b.r, m) == 0);
            b.reload(static_cast<int>(next));
        } else if (ready(fd, 0)) {
            b.s.library->ipc_sender_arm(b.s.senders[0]);
        }
        return next == sent + 1;
    }));
    CHECK(send(b.s, sent + 1, 300'000) == 0);
}

TEST_CASE_TEMPLATE("a receiver that nobody has found yet goes over, and is found", T, STREAMS) {
    scratch test;
    host h;
    h.open_receiver(T::url(test.folder()));
    REQUIRE(h.reload(next_build) == 0);
    tx s(h.library->ipc_receiver_url(h.receivers[0]));
    CHECK(s.send(1) == 0);
    CHECK(take(h) == 1);
}

TEST_CASE_TEMPLATE("a sender that has found no receiver yet goes over, and finds one", T, over_unix, over_tcp,
                   over_pipe) {
    scratch test;
    std::string url = T::url(test.folder());
    host h;
    h.open_sender(url);
    CHECK(send(h, 1) == 0);
    for (int turn = 0; turn < 3; ++turn) REQUIRE(h.reload(build(turn)) == 0);
    rx r(url);
    std::thread helps([&] { CHECK(eventually([&] { return sender_stats(h).links == 1; })); });
    CHECK(r.take() == 1);
    helps.join();
}

TEST_CASE_TEMPLATE("a sender whose receiver has not answered yet goes over, and is answered", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    host h;
    h.open_sender(url);  // connected by the system; the receiver has made no call
    CHECK(send(h, 1) == 0);
    REQUIRE(h.reload(next_build) == 0);
    CHECK(sender_stats(h).links == 0);
    CHECK(r.take() == 1);
    CHECK(eventually([&] { return sender_stats(h).links == 1; }));
    CHECK(send(h, 2) == 0);
    CHECK(r.take() == 2);
    CHECK(sender_stats(h).lost == 0);
}

TEST_CASE_TEMPLATE("a sender that dies amid a handoff of the receiver is told of, after what it has sent", T, over_unix,
                   over_tcp, over_pipe) {
    scratch test;
    host h;
    h.open_receiver(T::url(test.folder()));
    child sender = test.sender(h.library->ipc_receiver_url(h.receivers[0]));
    sender.say("send 1 5");
    CHECK(take(h) == 1);
    sender.expect("sent");
    auto state = freeze(*h.library, h.receivers[0]);
    sender.kill();
    copy next(next_build);
    ipc_receiver *twin = nullptr;
    REQUIRE(next.adopt(&twin, state, h.words, sizeof h.words) == 0);
    for (std::uint64_t tag = 2; tag <= 5; ++tag) {
        ipc_message m = empty_message();
        REQUIRE(next.ipc_receiver_receive(twin, &m, limit_ns) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        CHECK(next.ipc_receiver_release(twin, &m) == 0);
    }
    ipc_message m = empty_message();
    CHECK(next.ipc_receiver_receive(twin, &m, limit_ns) == IPC_DIED);
    CHECK(next.ipc_receiver_receive(twin, &m, briefly) == -ETIMEDOUT);
    CHECK(h.library->forget(h.receivers[0]) == 0);
    h.receivers.clear();
    CHECK(next.ipc_receiver_close(twin) == 0);
}

TEST_CASE_TEMPLATE("ends and deaths that wait in a stream are told by the next build, and not twice", T, over_unix,
                   over_tcp, over_pipe) {
    scratch test;
    host h;
    h.open_receiver(T::url(test.folder()));
    std::string url = h.library->ipc_receiver_url(h.receivers[0]);
    child ended = test.sender(url), died = test.sender(url);
    for (child *c : {&ended, &died}) {
        c->say("send 1 1");
        CHECK(take(h) == 1);
        c->expect("sent");
    }
    ended.say("close 0");
    ended.hear();
    ended.done();
    died.kill();
    REQUIRE(h.reload(next_build) == 0);
    receiver_stats(h);  // looks
    REQUIRE(h.reload(this_build) == 0);
    std::map<int, int> told;
    ipc_message m;
    for (int i = 0; i < 2; ++i) ++told[receive(h, m)];
    CHECK(told == std::map<int, int>{{IPC_END, 1}, {IPC_DIED, 1}});
    REQUIRE(h.reload(next_build) == 0);
    CHECK(receive(h, m, briefly) == -ETIMEDOUT);
}

TEST_CASE_TEMPLATE("a sender whose receiver goes amid a handoff finds the next one", T, over_unix, over_tcp,
                   over_pipe) {
    scratch test;
    std::string url = T::url(test.folder());
    host h;
    std::optional<rx> first(url);
    h.open_sender(url);
    CHECK(send(h, 1) == 0);
    CHECK(first->take() == 1);
    CHECK(eventually([&] { return sender_stats(h).links == 1; }));
    auto state = freeze(*h.library, h.senders[0]);
    first.reset();
    auto next = std::make_unique<copy>(next_build);
    ipc_sender *twin = nullptr;
    REQUIRE(next->adopt(&twin, state, h.words, sizeof h.words) == 0);
    CHECK(h.library->forget(h.senders[0]) == 0);
    h.senders = {twin};
    h.library = std::move(next);
    CHECK(eventually([&] { return sender_stats(h).links == 0; }));
    rx second(url);
    CHECK(eventually([&] {
        ipc_message m;
        second.receive(m, 0);
        return sender_stats(h).links == 1;
    }));
    CHECK(send(h, 2) == 0);
    CHECK(second.take() == 2);
}

TEST_CASE_FIXTURE(scratch, "udp: what came before a handoff is known after it: lost, doubled, late") {
    both b(ends_of<over_udp>(""));
    std::string url = b.r.library->ipc_receiver_url(b.r.receivers[0]);
    std::string before = over_udp::url("");
    int relay = listen_bare(before, SOCK_DGRAM), from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in there = internet_address(url);
    b.s.open_sender(before);
    std::vector<std::string> datagrams;
    for (int i = 1; i <= 4; ++i) {
        REQUIRE(b.s.library->ipc_sender_send(b.s.senders[1], "x", 1, static_cast<std::uint64_t>(i), limit_ns) == 0);
        pollfd p{relay, POLLIN, 0};
        REQUIRE(poll(&p, 1, 20'000) == 1);
        char bytes[200];
        ssize_t n = recv(relay, bytes, sizeof bytes, 0);
        REQUIRE(n > 0);
        datagrams.emplace_back(bytes, static_cast<std::size_t>(n));
    }
    REQUIRE(connect(from, reinterpret_cast<sockaddr *>(&there), sizeof there) == 0);
    auto comes = [&](std::size_t which) {
        REQUIRE(::send(from, datagrams[which].data(), datagrams[which].size(), 0) > 0);
        ipc_message m;
        REQUIRE(receive(b.r, m) == IPC_MESSAGE);
        CHECK(m.tag == which + 1);
        CHECK(release(b.r, m) == 0);
        return m.flags;
    };
    CHECK(comes(0) == 0);
    CHECK(comes(2) == 0);
    CHECK(receiver_stats(b.r).lost == 1);
    b.reload(0);
    CHECK(receiver_stats(b.r).lost == 1);
    CHECK(comes(0) == IPC_DUPLICATE);
    CHECK(comes(1) == IPC_LATE);
    CHECK(comes(3) == 0);
    CHECK(receiver_stats(b.r).lost == 0);
    close(relay);
    close(from);
}

// ---- Refused, and taken back ----------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a frozen stream receiver refuses every call but url, fd, interrupt and forget", T, EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    REQUIRE(send(b.s, 1) == 0);
    auto &l = *b.r.library;
    ipc_receiver *r = b.r.receivers[0];
    ipc_message m;
    REQUIRE(receive(b.r, m) == IPC_MESSAGE);
    int fd = l.ipc_receiver_fd(r);
    auto state = freeze(l, r);
    check_frozen(l, r, state, m);
    CHECK(l.ipc_receiver_fd(r) == fd);
    CHECK(l.ipc_receiver_url(r) != nullptr);
    CHECK(proven(m));
    ipc_receiver *back = nullptr;
    REQUIRE(l.adopt(&back, state, b.r.words, sizeof b.r.words) == 0);
    CHECK(back == r);
    CHECK(l.forget(r) == -EINVAL);  // it is not frozen
    CHECK(release(b.r, m) == 0);
}

TEST_CASE_TEMPLATE("a frozen stream sender refuses every call but url, fd, interrupt and forget", T, EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    auto &l = *b.s.library;
    ipc_sender *s = b.s.senders[0];
    auto state = freeze(l, s);
    check_frozen(l, s, state);
    CHECK(l.ipc_sender_fd(s) >= 0);
    CHECK(l.ipc_sender_url(s) != nullptr);
    ipc_sender *back = nullptr;
    REQUIRE(l.adopt(&back, state, b.s.words, sizeof b.s.words) == 0);
    CHECK(back == s);
    CHECK(l.forget(s) == -EINVAL);
    CHECK(send(b.s, 1) == 0);
    CHECK(take(b.r) == 1);
}

TEST_CASE_TEMPLATE("into too small a buffer no stream is frozen, and the size that is needed returned", T,
                   EACH_STREAM) {
    scratch test;
    both b(ends_of<T>(test.folder()));
    auto &l = *b.r.library;
    int needed = l.ipc_receiver_freeze(b.r.receivers[0], nullptr, 0);
    REQUIRE(needed > 0);
    std::vector<char> state(static_cast<std::size_t>(needed));
    for (int size = 0; size < needed; size += 31)
        REQUIRE(l.ipc_receiver_freeze(b.r.receivers[0], state.data(), static_cast<std::size_t>(size)) == needed);
    CHECK(l.ipc_receiver_freeze(b.r.receivers[0], state.data(), state.size() - 1) == needed);
    CHECK(l.ipc_receiver_freeze(b.r.receivers[0], nullptr, 1) == -EINVAL);
    REQUIRE(send(b.s, 1) == 0);
    CHECK(take(b.r) == 1);
}

// Of every transport, each with something to lose: a message to come, one that is held, a reservation.
TEST_CASE_FIXTURE(scratch, "when the k-th of streams of all kinds can't be adopted, all are as before, for every k") {
    host h;
    open_each<EACH_STREAM>(h, folder());
    std::size_t n = h.receivers.size();
    std::vector<void *> rooms(n);
    std::vector<ipc_message> held(n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::uint64_t tag : {1, 2}) REQUIRE(h.library->ipc_sender_send(h.senders[i], "x", 1, tag, limit_ns) == 0);
        held[i] = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[i], &held[i], limit_ns) == IPC_MESSAGE);
        REQUIRE(h.library->ipc_sender_reserve(h.senders[i], 64, &rooms[i], 0) == 0);
        fill(rooms[i], 64, 3);
    }
    std::size_t before = entries("/proc/self/fd");
    auto senders = h.senders;
    auto receivers = h.receivers;
    for (std::size_t k = 0; k < 2 * n; ++k) {
        CHECK(h.reload(k % 2 ? this_build : next_build, k) == -EINVAL);
        CHECK(std::strstr(h.words, "checksum") != nullptr);
        CHECK(h.senders == senders);
        CHECK(h.receivers == receivers);
    }
    CHECK(entries("/proc/self/fd") == before);
    REQUIRE(h.reload(next_build) == 0);
    for (std::size_t i = 0; i < n; ++i) {
        CAPTURE(i);
        CHECK(h.library->ipc_receiver_release(h.receivers[i], &held[i]) == 0);
        CHECK(h.library->ipc_sender_commit(h.senders[i], 64, 3) == 0);
        for (std::uint64_t tag : {2, 3}) {
            ipc_message m = empty_message();
            REQUIRE(h.library->ipc_receiver_receive(h.receivers[i], &m, limit_ns) == IPC_MESSAGE);
            CHECK(m.tag == tag);
            CHECK((tag == 2 || proven(m)));
            CHECK(h.library->ipc_receiver_release(h.receivers[i], &m) == 0);
        }
    }
}

TEST_CASE_FIXTURE(scratch, "a stream that finds no descriptor in the next build goes on in the old one") {
    both b(ends_of<over_unix>(folder()));
    REQUIRE(send(b.s, 1) == 0);
    {
        auto next = std::make_unique<copy>(next_build);
        few_fds none(0);
        CHECK(b.r.reload(std::move(next)) == -EMFILE);
        CHECK(std::strstr(b.r.words, "cannot make an event loop: ") != nullptr);
    }
    CHECK(take(b.r) == 1);
    b.reload(0);
    REQUIRE(send(b.s, 2) == 0);
    CHECK(take(b.r) == 2);
}

// ---- Under load, and again and again --------------------------------------------------------------------------------

namespace {
constexpr int reloads = 60;
}

TEST_CASE_TEMPLATE("a stream receiver of three flooding senders changes builds again and again: 0 lost, 0 doubled", T,
                   over_unix, over_tcp, over_pipe) {
    scratch test;
    host h;
    h.open_receiver(T::url(test.folder()));
    std::string url = h.library->ipc_receiver_url(h.receivers[0]);
    std::vector<child> senders;
    for (int i = 0; i < 3; ++i) senders.push_back(test.start("flood", {url}));
    for (child &c : senders) c.expect("open");
    std::uint64_t received = receive_floods(h, senders, reloads, 6);
    std::uint64_t sent = 0;
    for (child &c : senders) sent += std::stoull(c.hear());
    // They wait until all is released, and that is told in the receiver's calls.
    std::atomic<bool> gone{false};
    std::thread tells([&] {
        ipc_message m;
        while (!gone) receive(h, m, briefly);
    });
    for (child &c : senders) c.done();
    gone = true;
    tells.join();
    CHECK(received == sent);
    CHECK(receiver_stats(h).lost == 0);
    CHECK(receiver_stats(h).deaths == 0);
}

TEST_CASE_TEMPLATE("a flooding stream sender changes builds again and again: 0 lost, 0 doubled", T, over_unix, over_tcp,
                   over_pipe) {
    scratch test;
    std::string url = T::url(test.folder());
    host h;
    h.open_sender(url, 1 << 16);
    child drain = test.start("drain", {url});
    drain.expect("open");
    std::uint64_t tag = send_flood(h, reloads, 7);
    CHECK(sender_stats(h).lost == 0);
    CHECK(h.library->ipc_sender_close(h.senders[0], limit_ns) == 0);
    h.senders.clear();
    drain.expect(std::to_string(tag));
    drain.done();
}

TEST_CASE_TEMPLATE("bare bytes go on where they were when both sides change builds", T, CONNECTIONS, over_pipe) {
    scratch test;
    std::string url = T::url(test.folder()) + "?framing=raw";
    both b({url, url});
    dice random(8);
    std::uint64_t sent = 0, received = 0, wrong = 0;
    auto drain = [&] {
        ipc_message m;
        while (receive(b.r, m, 0) == IPC_MESSAGE) {
            for (std::size_t i = 0; i < m.size; ++i)
                wrong += static_cast<const unsigned char *>(m.data)[i] != (received + i) % 251;
            received += m.size;
            CHECK(release(b.r, m) == 0);
        }
    };
    for (int turn = 0; turn < reloads; ++turn) {
        for (;;) {
            void *room;
            std::size_t size = random.below(100'000) + 1;
            if (b.s.library->ipc_sender_reserve(b.s.senders[0], size, &room, 0) != 0) break;
            for (std::size_t i = 0; i < size; ++i) static_cast<unsigned char *>(room)[i] = (sent + i) % 251;
            sent += size;
            REQUIRE(b.s.library->ipc_sender_commit(b.s.senders[0], size, 0) == 0);
        }
        b.reload(turn);
        drain();
    }
    CHECK(eventually([&] {
        drain();
        sender_stats(b.s);  // writes what there is room for
        return received == sent;
    }));
    CHECK(wrong == 0);
}

TEST_CASE_FIXTURE(scratch, "after 150 handoffs of streams descriptors, mappings and memory are what they were") {
    host h;
    open_each<EACH_STREAM>(h, folder());
    std::uint64_t tag = 0;
    auto turn = [&](int n) {
        ++tag;
        std::vector<ipc_message> held(h.receivers.size());
        for (std::size_t i = 0; i < held.size(); ++i) {
            REQUIRE(h.library->ipc_sender_send(h.senders[i], &tag, sizeof tag, tag, limit_ns) == 0);
            held[i] = empty_message();
            REQUIRE(h.library->ipc_receiver_receive(h.receivers[i], &held[i], limit_ns) == IPC_MESSAGE);
            CHECK(held[i].tag == tag);
        }
        std::string old = h.library->name();
        REQUIRE(h.reload(build(n)) == 0);
        REQUIRE(lines_with(old) == 0);
        REQUIRE(lines_with(h.library->name()) > 0);
        for (std::size_t i = 0; i < held.size(); ++i)
            CHECK(h.library->ipc_receiver_release(h.receivers[i], &held[i]) == 0);
    };
    for (int n = 0; n < 20; ++n) turn(n);
    std::size_t descriptors = entries("/proc/self/fd");
    [[maybe_unused]] std::size_t mappings = lines_with("");
    [[maybe_unused]] auto memory = mallinfo2().uordblks;
    for (int n = 20; n < 170; ++n) turn(n);
    CHECK(entries("/proc/self/fd") == descriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which map memory of their own
    CHECK(lines_with("") <= mappings + 2);                           // the allocator's may come and go
    CHECK(mallinfo2().uordblks <= memory + 150 * 200);               // the allocator counts its caches, too
#endif
    while (!h.senders.empty()) {
        CHECK(h.library->ipc_sender_close(h.senders.back(), 0) >= 0);
        h.senders.pop_back();
    }
}
