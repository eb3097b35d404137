// One side of a connection goes: what was on its way, what comes again, and what both sides count as lost.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bare.hpp"
#include "refused_call.hpp"
#include "transports.hpp"

ROLE(receives_until_told) {
    rx r(me.arg(0));
    me.say("open");
    for (long i = 0; i < me.number(1); ++i) r.take();
    me.say("taken");
    me.hear();
}

// Sends one a millisecond or so, until the test says stop; then tells how many went out and how many are lost. With a
// second argument it does so on a system before Linux 6.18.
ROLE(sends_to_url_until_told) {
    signal(SIGPIPE, SIG_DFL);  // as most programs have it
    if (me.has(1)) refuse_call(SYS_pwritev2, EOPNOTSUPP);
    tx s(me.arg(0));
    me.say("open");
    std::uint64_t i = 0;
    pollfd told{STDIN_FILENO, POLLIN, 0};
    while (poll(&told, 1, 1) == 0) MUST(s.send(i++, 200) == 0);
    me.hear();
    MUST(ipc_sender_flush(s, limit_ns) == 0);
    me.say(std::to_string(i));
    me.say(std::to_string(s.stats().lost));
    s.close(limit_ns);
}

TEST_CASE_FIXTURE(scratch, "a socket that a killed receiver left is replaced, and one that is left is removed") {
    std::string path = folder() + "/socket", url = "unix://" + path;
    child dead = start("receives_until_told", {url, "0"});
    dead.expect("open");
    dead.kill();
    struct stat s;
    CHECK(lstat(path.c_str(), &s) == 0);
    {
        rx r(url);
        CHECK(lstat(path.c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0700);
    }
    CHECK(lstat(path.c_str(), &s) != 0);
}

TEST_CASE_TEMPLATE("a sender that stops in the middle of a message is dead, and the message never comes", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    // Cut at each byte of what comes after the hello, up to the payload, and here and there in that.
    for (std::size_t cut = hello_bytes + 1; cut < hello_bytes + 568; cut += cut < hello_bytes + 76 ? 1 : 97) {
        std::string all = hello(1000 + cut) + frame(1, 4, 9, 1) + "good" + frame(1, 1000, 9, 2) + std::string(500, 'x');
        int peer = connect_bare(url);
        REQUIRE(send(peer, all.data(), cut, MSG_NOSIGNAL) == static_cast<ssize_t>(cut));
        close(peer);
        ipc_message m;
        int got = r.receive(m);
        if (cut >= hello_bytes + 36) {
            REQUIRE(got == IPC_MESSAGE);
            CHECK(m.size == 4);
            r.release(m);
            got = r.receive(m);
        }
        CHECK(got == IPC_DIED);
    }
    CHECK(r.stats().held == 0);
}

TEST_CASE_TEMPLATE("a receiver is killed and another comes: both sides count the same as lost", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    child sender = test.start("sends_to_url_until_told", {url});
    sender.expect("open");
    child receiver = test.start("receives_until_told", {url, "20"});
    receiver.expect("open");
    receiver.expect("taken");
    // More than it took is on the way.
    CHECK(eventually([&] {
        std::vector<ipc_channel> all(static_cast<std::size_t>(ipc_channel_list(nullptr, 0)) + 64);
        all[0].struct_size = sizeof all[0];
        int count = ipc_channel_list(all.data(), all.size());
        return std::any_of(all.begin(), all.begin() + std::clamp(count, 0, static_cast<int>(all.size())),
                           [&](auto &c) { return c.url == url && c.role == IPC_SENDER && c.messages > 40; });
    }));
    receiver.kill();
    rx r(url);
    std::uint64_t received = 0, first = 0;
    ipc_message m;
    for (; received < 50; ++received) {
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        if (received == 0) first = m.sequence;
        CHECK(m.sequence == first + received);
        r.release(m);
    }
    sender.say("stop");
    int got;
    while ((got = r.receive(m)) == IPC_MESSAGE) {
        ++received;
        r.release(m);
    }
    CHECK(got == IPC_END);
    std::uint64_t sent = std::stoull(sender.hear()), lost = std::stoull(sender.hear());
    CHECK(first + received - 1 == sent);  // none is missing from the first on
    CHECK(lost > 0);                      // what the killed one had in its hands
    CHECK(r.stats().lost == lost);
    CHECK(lost < first);
    sender.done();
}

TEST_CASE_TEMPLATE("a sender survives that its receiver goes, with SIGPIPE as programs have it", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    child sender = test.start("sends_to_url_until_told", {url});
    outlive_receivers(sender, url);
}

TEST_CASE_FIXTURE(scratch, "a sender that does not read for long hears of the last release all the same") {
    std::string url = over_unix::url(folder());
    rx r(url);
    tx s(url);
    constexpr int count = 2000;
    std::vector<ipc_message> held;
    for (std::uint64_t i = 0; i < count; ++i) {
        REQUIRE(s.send(i, 1) == 0);
        held.emplace_back();
        REQUIRE(r.receive(held.back()) == IPC_MESSAGE);
    }
    s.stats();
    CHECK(ipc_sender_flush(s, 0) == count);  // asks
    r.stats();
    for (const ipc_message &m : held) CHECK(r.release(m) == 0);  // each is told, more than the socket takes
    CHECK(eventually([&] {
        r.stats();
        return ipc_sender_flush(s, 0) == 0;
    }));
}

TEST_CASE_FIXTURE(scratch, "what the system has taken of a tcp sender that closes without linger comes, and its end") {
    rx r("tcp://127.0.0.1:0?capacity=64MiB");
    std::string url = ipc_receiver_url(r) + std::string("?capacity=64MiB");
    constexpr std::size_t size = 100'000;
    auto link = [&](const tx &s) {
        return eventually([&] {
            r.stats();
            return s.stats().links == 1;
        });
    };
    std::uint64_t taken = 0;  // so many messages are on their way when the system takes no more
    {
        tx probe(url);
        REQUIRE(link(probe));
        while (probe.stats().used == 0) REQUIRE(probe.send(++taken, size) == 0);
    }
    ipc_message m;
    for (int got; (got = r.receive(m)) == IPC_MESSAGE;) r.release(m);
    for (bool answered : {true, false}) {
        CAPTURE(answered);
        {
            tx s(url);
            if (answered) REQUIRE(link(s));
            for (std::uint64_t i = 1; i <= taken / 2; ++i) REQUIRE(s.send(i, size) == 0);
        }
        CHECK(r.read(static_cast<int>(taken / 2) + 1) == "1-" + std::to_string(taken / 2) + " end");
    }
}

TEST_CASE_TEMPLATE("a sender hears of a release that comes after its receiver was told of the end", T, CONNECTIONS) {
    for (bool asks : {true, false}) {
        CAPTURE(asks);
        scratch test;
        std::string url = T::url(test.folder());
        rx r(url);
        tx s(url);
        REQUIRE(s.send(1) == 0);
        s.end();
        CHECK(r.hold(1) == "1");
        REQUIRE(ipc_sender_arm(s) == 1);
        CHECK(r.read(1) == "end");
        CHECK(r.release_held(1) == 0);
        if (asks) {
            CHECK(eventually([&] {
                r.stats();
                return ipc_sender_flush(s, 0) == 0;
            }));
        } else {
            r.close();
            CHECK(eventually([&] { return s.stats().links == 0; }));
            CHECK(s.stats().unreleased == 0);
        }
    }
}

TEST_CASE_TEMPLATE("what a receiver took before it went, while its sender made no call, is not sent again", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder()) + "?capacity=32MiB";
    std::set<std::uint64_t> got;
    auto take = [&](rx &r) {
        ipc_message m;
        while (r.receive(m, briefly) == IPC_MESSAGE) {
            CHECK(got.insert(m.tag).second);
            r.release(m);
        }
    };
    std::optional<rx> first(url);
    tx s(url);
    constexpr std::uint64_t count = 150;
    s.send_all(1, count, 100'000);  // more than the system takes at once
    take(*first);
    CHECK(!got.empty());
    CHECK(got.size() < count);
    first.reset();
    rx second(url);
    CHECK(eventually([&] {
        take(second);
        return ipc_sender_flush(s, 0) == 0;
    }));
    CHECK(got.contains(count));
    CHECK(got.size() + s.stats().lost >= count);
}

TEST_CASE_TEMPLATE("a sender that has ended, and of whom all is released, looks for no other receiver", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    std::optional<rx> first(url);
    tx ended(url);
    REQUIRE(ended.send(1) == 0);
    ended.end();
    CHECK(first->read(2) == "1 end");
    first.reset();
    rx second(url);
    tx other(url);
    for (std::uint64_t i = 1; i <= 50; ++i) {
        REQUIRE(other.send(i) == 0);
        CHECK(second.take() == i);
        ended.stats();
        doze();
    }
    CHECK(second.stats().links == 1);
    CHECK(ended.close() == 0);
    CHECK(second.read(1, briefly) == "nothing");
}

TEST_CASE_TEMPLATE("a sender that has ended tells the next receiver, too, if the first had not released all", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    std::optional<rx> first(url);
    tx s(url);
    REQUIRE(s.send(1) == 0);
    s.end();
    CHECK(first->hold(2) == "1 end");
    first->close();
    rx second(url);
    CHECK(eventually([&] {
        second.stats();
        return s.stats().links == 1;
    }));
    CHECK(second.read(1) == "end");
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    CHECK(first->release_held(1) == 0);
}

TEST_CASE_TEMPLATE("what is held when its receiver goes has come, and is counted as lost by nobody", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx first(url);
    tx s(url);
    s.send_all(1, 5);
    CHECK(first.hold(3) == "1-3");
    s.await_links(1);
    CHECK(first.close() == 3);
    rx second(url);
    CHECK(eventually([&] {
        second.stats();
        return ipc_sender_flush(s, 0) == 0;
    }));
    CHECK(second.stats().lost == 2);
    CHECK(s.stats().lost == 2);
    for (std::uint64_t tag : {3, 2, 1}) CHECK(first.release_held(tag) == 0);
}
