// Waiting in a host's own event loop: arm, wait on the fd, go on.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <thread>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

// A host's way to wait for one fd. True if it got ready.
class event_loop {
  public:
    explicit event_loop(const std::string &way, int fd) : fd_(fd) {
        if (way == "poll") return;
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
        epoll_event e{way == "edge" ? EPOLLIN | EPOLLET : EPOLLIN, {}};
        REQUIRE(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) == 0);
    }
    ~event_loop() {
        if (epoll_ >= 0) close(epoll_);
    }
    bool wait(std::chrono::nanoseconds patience = limit) {
        auto ms = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(patience).count());
        if (epoll_ >= 0) {
            epoll_event e;
            return epoll_wait(epoll_, &e, 1, ms) == 1 && e.events == EPOLLIN;
        }
        pollfd p{fd_, POLLIN | POLLOUT | POLLPRI, 0};
        return poll(&p, 1, ms) == 1 && p.revents == POLLIN;
    }

  private:
    int fd_, epoll_ = -1;
};

ROLE(sends_at_random_times) {
    tx s(url);
    me.say("open");
    dice any(11);
    for (std::uint64_t tag = 1; tag <= static_cast<std::uint64_t>(me.number(0)); ++tag) {
        MUST(s.send(tag) == 0);
        if (any.below(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(any.below(100)));
    }
    MUST(s.close(limit_ns) == 0);
}

static void receive_as_host(scratch &here, const std::string &way) {
    rx r;
    int fd = ipc_receiver_fd(r);
    constexpr std::uint64_t last = 5000;
    child s = here.start("sends_at_random_times", {std::to_string(last)});
    s.expect("open");
    event_loop h(way, fd);
    bool ended = false;
    for (std::uint64_t tag = 1; !ended;) {
        int armed = ipc_receiver_arm(r);
        REQUIRE(armed >= 0);
        if (armed == 1) REQUIRE(h.wait());
        for (ipc_message m;;) {
            int what = r.receive(m, 0);
            if (what == -EAGAIN) break;
            if (what == IPC_END) {
                CHECK(tag == last + 1);
                ended = true;
                break;
            }
            REQUIRE(what == IPC_MESSAGE);
            REQUIRE(m.tag == tag++);
            REQUIRE(r.release(m) == 0);
        }
    }
    CHECK(ipc_receiver_fd(r) == fd);
    s.done();
}

TEST_CASE_FIXTURE(scratch, "a host that polls a receiver misses nothing") { receive_as_host(*this, "poll"); }
TEST_CASE_FIXTURE(scratch, "a host that has a receiver in an epoll misses nothing") { receive_as_host(*this, "level"); }
TEST_CASE_FIXTURE(scratch, "a host that has a receiver in an epoll, edge-triggered, misses nothing") {
    receive_as_host(*this, "edge");
}

ROLE(receives_at_random_times) {
    rx r(url);
    me.say("open");
    dice any(12);
    for (std::uint64_t tag = 1; tag <= static_cast<std::uint64_t>(me.number(0)); ++tag) {
        MUST(r.take() == tag);
        if (any.below(10) == 0) std::this_thread::sleep_for(std::chrono::microseconds(any.below(100)));
    }
}

static void send_as_host(scratch &here, const std::string &way) {
    constexpr std::uint64_t last = 20000;
    child r = here.start("receives_at_random_times", {std::to_string(last)});
    r.expect("open");
    tx s(small);
    int fd = ipc_sender_fd(s);
    event_loop h(way, fd);
    for (std::uint64_t tag = 1; tag <= last;) {
        int sent = s.send(tag, 200, 0);
        if (sent == 0) {
            ++tag;
            continue;
        }
        REQUIRE(sent == -EAGAIN);
        int armed = ipc_sender_arm(s);
        REQUIRE(armed >= 0);
        if (armed == 1) REQUIRE(h.wait());
    }
    r.done();
    CHECK(ipc_sender_fd(s) == fd);
}

TEST_CASE_FIXTURE(scratch, "a host that polls a sender misses no room") { send_as_host(*this, "poll"); }
TEST_CASE_FIXTURE(scratch, "a host that has a sender in an epoll misses no room") { send_as_host(*this, "level"); }
TEST_CASE_FIXTURE(scratch, "a host that has a sender in an epoll, edge-triggered, misses no room") {
    send_as_host(*this, "edge");
}

// Arms until there is nothing to do but to wait; a host that waits then sleeps.
static void settle(rx &r, event_loop &h) {
    REQUIRE(eventually([&] {
        while (ipc_receiver_arm(r) == 0) r.read(1000, 0);
        return !h.wait(1ms);
    }));
}
static void settle(tx &s, event_loop &h) {
    REQUIRE(eventually([&] { return ipc_sender_arm(s) == 1 && !h.wait(1ms); }));
}

TEST_CASE_FIXTURE(scratch, "a receiver's fd gets ready for a newcomer, its message, an end and a death") {
    somebody_was_killed(url);
    rx r;
    event_loop h("level", ipc_receiver_fd(r));
    settle(r, h);
    child s1 = sender();
    CHECK(h.wait());
    settle(r, h);
    s1.ask("send 1 1");
    CHECK(h.wait());
    CHECK(ipc_receiver_arm(r) == 0);
    CHECK(r.read(1, 0) == "1");
    settle(r, h);
    s1.ask("end");
    CHECK(h.wait());
    CHECK(ipc_receiver_arm(r) == 0);
    CHECK(r.read(1, 0) == "end");
    child s2 = sender();
    settle(r, h);
    s2.kill();
    CHECK(h.wait());
    CHECK(eventually([&] { return ipc_receiver_arm(r) == 0; }));
    CHECK(r.read(1, 0) == "died");
    settle(r, h);
}

TEST_CASE_FIXTURE(scratch, "a sender's fd gets ready for a newcomer, and arm serves it") {
    tx s;
    event_loop h("level", ipc_sender_fd(s));
    s.send_all(1, 3);
    settle(s, h);
    child r1 = receiver();
    CHECK(h.wait());
    settle(s, h);
    CHECK(r1.ask("read 3") == "1-3");
    settle(s, h);
    child r2 = receiver();
    CHECK(h.wait());
    settle(s, h);
    s.send(4);
    CHECK(r1.ask("read 1") == "4");
    CHECK(r2.ask("read 1") == "4");
}

TEST_CASE_FIXTURE(scratch, "a sender's fd gets ready for the room that a reserve was refused, and not for less") {
    child r = receiver();
    tx s(small);
    event_loop h("level", ipc_sender_fd(s));
    s.send(0);
    CHECK(r.ask("read 1") == "0");  // accepted and answered
    s.fill_up(1, 1000);
    CHECK(r.ask("read 1") == "1");  // what the last of these was refused
    CHECK(s.send(0, 10000, 0) == -EAGAIN);
    settle(s, h);
    CHECK(r.ask("read 7") == "2-8");
    CHECK_FALSE(h.wait(1ms));
    CHECK(r.ask("read 3") == "9-11");
    CHECK(h.wait());
    CHECK(ipc_sender_arm(s) == 0);
    CHECK(s.send(0, 10000, 0) == 0);
}

TEST_CASE_FIXTURE(scratch, "a sender's fd gets ready when the receiver in the way dies") {
    somebody_was_killed(url);
    child stays = receiver(), goes = receiver();
    tx s(small);
    event_loop h("level", ipc_sender_fd(s));
    std::string sent = std::to_string(s.fill_up(1));
    CHECK(stays.ask("read " + sent) == "1-" + sent);
    CHECK(s.send(0, 64, 0) == -EAGAIN);
    settle(s, h);
    goes.kill();
    CHECK(h.wait());
    CHECK(eventually([&] { return ipc_sender_arm(s) == 0; }));
    CHECK(s.send(0, 64, 0) == 0);
}

TEST_CASE_FIXTURE(scratch, "a sender's fd gets ready for the death of its only receiver, and for the next one") {
    somebody_was_killed(url);
    tx s(small);
    event_loop h("level", ipc_sender_fd(s));
    child r1 = receiver();
    s.await_links(1);
    std::uint64_t sent = s.fill_up(1);
    CHECK(r1.ask("hold 2") == "1-2");
    settle(s, h);
    r1.kill();
    CHECK(h.wait());
    settle(s, h);
    child r2 = receiver();
    CHECK(h.wait());
    settle(s, h);
    std::string rest = std::to_string(sent);
    CHECK(r2.ask("read " + rest) == "1-2* 3-" + rest);
    CHECK(h.wait());
    CHECK(s.send(0, 64, 0) == 0);
}

TEST_CASE_FIXTURE(scratch,
                  "of several calls that were refused, the sender's fd gets ready for the one that is nearest") {
    child r = receiver();
    tx s("shm://t?capacity=64KiB");
    event_loop h("level", ipc_sender_fd(s));
    s.send(0);
    CHECK(r.ask("read 1") == "0");  // accepted and answered: that makes the fd ready, too
    auto sent = static_cast<int>(s.fill_up(1, 16000));
    CHECK(s.send(9, 16000, 0) == -EAGAIN);
    CHECK(ipc_sender_flush(s, 0) == sent);
    CHECK(s.send(9, 20000, 0) == -EAGAIN);
    settle(s, h);
    CHECK(r.ask("read 1") == "1");
    CHECK(h.wait());
    CHECK(s.send(9, 16000, 0) == 0);
    settle(s, h);
}

TEST_CASE_FIXTURE(scratch, "a sender's fd gets ready when a flush that was refused would be over") {
    child r = receiver();
    tx s;
    event_loop h("level", ipc_sender_fd(s));
    s.send_all(1, 3);
    CHECK(ipc_sender_flush(s, 0) == 3);
    settle(s, h);
    CHECK(r.ask("read 3") == "1-3");
    CHECK(h.wait());
    CHECK(ipc_sender_flush(s, 0) == 0);
    settle(s, h);
}
