// A sender whose connection broke comes again, to the same receiver or to the next one: on unix and tcp.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "bare.hpp"
#include "cut_connections.hpp"
#include "transports.hpp"

namespace {

// A sender, and what lies between it and the receivers behind.
template <class T>
struct cut_sender {
    bool all_is_out() {
        return eventually([&] { return s.stats().used == 0; });
    }
    // ... and through to this one.
    bool all_has_come(rx &r) {
        return eventually([&] {
            while (between.pass(4096)) {
            }
            r.stats();
            return s.links().size() == 1 && s.links()[0].peer == r.stats().id && s.stats().used == 0 &&
                   !between.pass(4096);
        });
    }

    scratch test;
    std::string behind = T::url(test.folder());
    std::string before = second_url<T>(behind, test.folder());
    cut_connections between{before, behind};
    tx s{before};
};

}  // namespace

TEST_CASE_TEMPLATE("what lies in a broken connection is read before its sender's next one", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?capacity=64MiB");
    int before = connect_bare(url);
    std::string all = hello(77, 64 << 20);
    constexpr std::size_t size = 100'000;
    for (std::uint64_t i = 1; i <= 100; ++i) all += frame(1, size, i, i) + std::string(size, 'x');
    std::size_t wrote = 0;
    for (ssize_t n; (n = send(before, all.data() + wrote, all.size() - wrote, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;)
        wrote += static_cast<std::size_t>(n);
    std::uint64_t whole = (wrote - hello_bytes) / (size + 32);
    shutdown(before, SHUT_WR);
    int again = connect_bare(url);
    std::string more = hello(77, 64 << 20, whole + 1) + frame(1, 4, 5, whole + 1) + "more";
    REQUIRE(send(again, more.data(), more.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(more.size()));
    std::uint64_t came = 0;
    ipc_message m;
    for (int got; came <= whole && ((got = r.receive(m)) == IPC_MESSAGE || got == IPC_DIED);)
        if (got == IPC_MESSAGE) {
            ++came;
            r.release(m);
        }
    CHECK(came == whole + 1);
    CHECK(r.stats().lost == 0);
    close(before);
    close(again);
}

TEST_CASE_TEMPLATE("a message that came over an earlier connection is released for the one that repeats it", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    int before = connect_bare(url);
    std::string all = hello() + frame(1, 3, 1, 1) + "one";
    REQUIRE(send(before, all.data(), all.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(all.size()));
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    r.release(m);
    close(before);
    CHECK(r.receive(m) == IPC_DIED);
    int again = connect_bare(url);
    all += frame(6, 0, 0, 1);  // asks
    REQUIRE(send(again, all.data(), all.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(all.size()));
    REQUIRE(eventually([&] {
        r.stats();
        pollfd p{again, POLLIN, 0};
        return poll(&p, 1, 0) == 1;
    }));
    r.stats();
    std::string said = read_exactly(again, 288 + 40);
    REQUIRE(said.size() == 328);
    CHECK(said.substr(288) == frame(5, 8, 1, 1) + std::string(8, '\0'));
    CHECK(r.receive(m, briefly) == -ETIMEDOUT);
    close(again);
}

TEST_CASE_TEMPLATE("what came by a connection that broke is given out before what comes by the next one", T,
                   CONNECTIONS) {
    cut_sender<T> c;
    tx &s = c.s;
    rx r(c.behind);
    constexpr std::uint64_t count = 100;  // more than a sender's turn is
    s.send_all(1, count);
    REQUIRE(c.all_has_come(r));
    c.between.cut(0, false, 0);
    s.send_all(count + 1, count + 10);
    s.end();
    REQUIRE(eventually([&] {
        bool all_out = s.stats().used == 0, any = c.between.pass(4096);
        return r.links().size() == 1 && r.links()[0].state == IPC_LINK_ENDED && all_out && !any;
    }));
    std::uint64_t last = 0;
    ipc_message m;
    int got;
    while ((got = r.receive(m)) == IPC_MESSAGE) {
        CHECK(m.sequence > last);
        last = m.sequence;
        r.release(m);
    }
    CHECK(got == IPC_END);  // and no death before
    CHECK(last == count + 10);
}

TEST_CASE_TEMPLATE(
    "what lies unread when its connection breaks is waited for, and counted as lost if its receiver goes", T,
    CONNECTIONS) {
    cut_sender<T> c;
    tx &s = c.s;
    rx first(c.behind);
    s.send_all(1, 5);
    REQUIRE(c.all_has_come(first));
    for (int broken = 0; broken < 2; ++broken) {
        c.between.cut(0, false, 0);
        s.send(6 + broken);
        REQUIRE(c.all_has_come(first));
        CHECK(ipc_sender_flush(s, 0) == 6 + broken);
    }
    CHECK(first.take() == 1);
    CHECK(first.close() == 0);
    rx second(c.behind);
    REQUIRE(c.all_has_come(second));
    CHECK(s.stats().lost == 6);
    CHECK(second.stats().lost == 6);
    CHECK(ipc_sender_flush(s, 0) == 0);
}

TEST_CASE_TEMPLATE("what is lost before and after what lies unread is counted once, by the receiver that misses it", T,
                   CONNECTIONS) {
    cut_sender<T> c;
    tx &s = c.s;
    rx first(c.behind);
    s.send(1);
    REQUIRE(c.all_has_come(first));
    s.send_all(2, 11);
    REQUIRE(c.all_is_out());  // and on its way
    c.between.cut(0, false, 0);
    s.send(12);
    REQUIRE(c.all_has_come(first));
    s.send(13);
    REQUIRE(c.all_is_out());
    c.between.cut(0, false, 0);
    s.send(14);
    REQUIRE(c.all_has_come(first));
    CHECK(s.stats().lost == 11);
    CHECK(first.stats().lost == 11);
    CHECK(first.take() == 1);
    CHECK(first.take() == 12);
    CHECK(eventually([&] {
        int left = static_cast<int>(ipc_sender_flush(s, 0));
        c.between.pass(4096);
        first.stats();
        return left == 2;  // 13, which is lost after it, and 14
    }));
    s.send(15);
    REQUIRE(c.all_has_come(first));
    CHECK(first.close() == 0);
    rx second(c.behind);
    REQUIRE(c.all_has_come(second));
    CHECK(s.stats().lost == 13);
    CHECK(second.stats().lost == 2);
}

TEST_CASE_TEMPLATE("losses that the next receiver told in an answer that got lost are told in the one after it", T,
                   CONNECTIONS) {
    cut_sender<T> c;
    tx &s = c.s;
    rx first(c.behind);
    s.send_all(1, 5);
    REQUIRE(c.all_has_come(first));
    s.send(6);
    REQUIRE(c.all_is_out());
    c.between.cut(0, false, 0);
    REQUIRE(eventually([&] { return s.links().empty(); }));
    REQUIRE(c.all_has_come(first));
    CHECK(s.stats().lost == 1);  // told by the first, up to the last one
    CHECK(first.close() == 0);
    rx second(c.behind);
    REQUIRE(eventually([&] {
        s.stats();
        c.between.pass(4096);
        return second.links().size() == 1;
    }));
    c.between.cut(0, true, 0);
    REQUIRE(c.all_has_come(second));
    CHECK(second.stats().lost == 5);
    CHECK(s.stats().lost == 6);
}

TEST_CASE_TEMPLATE("what comes again and was had needs no room", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?capacity=64KiB");
    std::string payload(15'000, 0), messages;
    for (std::uint64_t i = 1; i <= 4; ++i) {
        fill(payload.data(), payload.size(), i);
        messages += frame(1, payload.size(), i, i) + payload;
    }
    auto say = [&](const std::string &bytes) {
        int peer = connect_bare(url);
        REQUIRE(send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
        return peer;
    };
    int before = say(hello() + messages);
    CHECK(r.hold(4) == "1-4");
    std::string again = hello();
    again[16] = 4;  // so many were sent before, and not answered
    int second = say(again + messages + frame(2, 0, 0, 4));
    CHECK(r.read(1) == "end");
    for (std::uint64_t tag = 1; tag <= 4; ++tag) CHECK(r.release_held(tag) == 0);
    close(before);
    close(second);
}
