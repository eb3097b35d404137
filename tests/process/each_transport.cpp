// What means the same on every transport.
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "refusal.hpp"
#include "transports.hpp"

namespace {

// Sends numbered messages until told to stop by a count, then ends and lingers.
void send_numbers(const std::string &url, long from, long count, std::size_t size) {
    tx s(url);
    for (long i = 0; i < count; ++i) MUST(s.send(static_cast<std::uint64_t>(from + i), size) == 0);
    MUST(s.close(limit_ns) == 0);
}

// The handles of a process, as seen from outside.
std::vector<ipc_channel> list(pid_t process) {
    std::vector<ipc_channel> all(1000);  // others on this machine may open and close meanwhile
    all[0].struct_size = sizeof(ipc_channel);
    int count = ipc_channel_list(all.data(), all.size());
    REQUIRE(count >= 0);
    all.resize(std::min(all.size(), static_cast<std::size_t>(count)));
    std::erase_if(all, [&](const ipc_channel &c) { return c.pid != process; });
    return all;
}

}  // namespace

ROLE(numbers) { send_numbers(me.arg(0), me.number(1), me.number(2), static_cast<std::size_t>(me.number(3))); }

ROLE(sends_and_waits) {
    tx s(me.arg(0));
    for (long i = 0; i < me.number(1); ++i) MUST(s.send(static_cast<std::uint64_t>(i), 100) == 0);
    me.say("sent");
    me.hear();
}

TEST_CASE_TEMPLATE("messages arrive whole, in order, with tag, sequence and sender", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.start("numbers", {url.sender, "1000", "200", "300"});
    std::uint64_t id = 0;
    for (std::uint64_t i = 0; i < 200; ++i) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.tag == 1000 + i);
        CHECK(m.sequence == i + 1);
        CHECK(m.size == 300);
        CHECK(proven(m));
        CHECK(m.sender != 0);
        CHECK((i == 0 || m.sender == id));
        id = m.sender;
        CHECK(r.release(m) == 0);
    }
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_END);
    CHECK(m.sender == id);
    CHECK(r.receive(m, 0) == -EAGAIN);
    sender.done();
}

TEST_CASE_TEMPLATE("messages of every size arrive, also of none", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    std::vector<std::size_t> sizes = {0, 1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 65'000};
    if (T::lossless) sizes.insert(sizes.end(), {65'536, 100'000, 500'000, 524'288});
    for (std::size_t size : sizes) {
        CAPTURE(size);
        REQUIRE(s.send(size, size) == 0);
        // Of more than the system takes at once, the rest goes out when the sender is called again.
        std::atomic<bool> flushed{false};
        std::thread helps([&] {
            CHECK(ipc_sender_flush(s, limit_ns) == 0);
            flushed = true;
        });
        ipc_message m, none;
        int got = r.receive(m);
        bool good = got == IPC_MESSAGE && m.size == size && proven(m);
        r.release(m);
        while (!flushed) r.receive(none, 1'000'000);
        helps.join();
        CHECK(got == IPC_MESSAGE);
        CHECK(good);
    }
}

TEST_CASE_TEMPLATE("either side may be first", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    if (!T::waits_for_receiver) return;
    child sender = test.sender(url.sender);
    sender.ask("send 1 1000 200");  // more than a pipe takes
    sender.say("close -1");
    REQUIRE(eventually([&] { return sender.sleeps(); }));
    rx r(url.receiver);
    CHECK(r.read(1001) == "1-1000 end");
    // On a stream the sender asks what is released, and is answered in a call.
    CHECK(eventually([&] {
        r.stats();
        return !sender.quiet();
    }));
    sender.expect("0");
    sender.done();
}

TEST_CASE_TEMPLATE("several senders reach one receiver, and each ends by itself", T, NAMED) {
    if (!T::lossless) return;
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    std::vector<child> senders;
    for (int i = 0; i < 3; ++i) senders.push_back(test.start("numbers", {url, "0", "300", "5000"}));
    std::map<std::uint64_t, std::uint64_t> next;
    int ends = 0;
    while (ends < 3) {
        ipc_message m;
        int got = r.receive(m);
        REQUIRE((got == IPC_MESSAGE || got == IPC_END));
        if (got == IPC_END) {
            CHECK(next[m.sender] == 300);
            ++ends;
            continue;
        }
        CHECK(m.tag == next[m.sender]++);
        CHECK(proven(m));
        r.release(m);
    }
    CHECK(next.size() == 3);
    CHECK(r.stats().lost == 0);
    for (auto &s : senders) s.done();
}

// Shared memory takes any number of them.
TEST_CASE_TEMPLATE("a second receiver is refused, in words, and the first goes on", T, STREAMS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    refusal second = try_receiver(url);
    CHECK(second.code == -EADDRINUSE);
    CHECK(second.says("another receiver"));
    tx s(url);
    REQUIRE(s.send(1) == 0);
    CHECK(r.take() == 1);
}

TEST_CASE_TEMPLATE("a death is told apart from an end", T, ALL_TRANSPORTS) {
    if (!T::tells_death) return;
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.start("sends_and_waits", {url.sender, "5"});
    for (std::uint64_t i = 0; i < 5; ++i) CHECK(r.take() == i);
    sender.expect("sent");
    sender.kill();
    test.somebody_was_killed("shm://t");
    ipc_message m;
    CHECK(r.receive(m) == IPC_DIED);
    CHECK(r.receive(m, briefly) == -ETIMEDOUT);
    CHECK(r.stats().deaths == 1);
}

TEST_CASE_TEMPLATE("what a sender sent before it died is received first", T, ALL_TRANSPORTS) {
    if (!T::tells_death) return;
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.start("sends_and_waits", {url.sender, "20"});
    CHECK(r.take() == 0);
    sender.expect("sent");
    sender.kill();
    test.somebody_was_killed("shm://t");
    for (std::uint64_t i = 1; i < 20; ++i) CHECK(r.take() == i);
    ipc_message m;
    CHECK(r.receive(m) == IPC_DIED);
}

TEST_CASE_TEMPLATE("a stopped sender is not taken for dead, and goes on", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.sender(url.sender);
    sender.ask("send 1 3");
    sender.ask("flush 10000000");
    CHECK(r.read(3) == "1-3");
    sender.stop();
    CHECK(r.read(1, 200'000'000) == "nothing");
    CHECK(r.links().at(0).state == IPC_LINK_UP);
    sender.cont();
    sender.ask("send 4 5");
    sender.ask("end");
    CHECK(r.read(3) == "4-5 end");
}

TEST_CASE_TEMPLATE("messages may be held and released in any order", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    std::vector<ipc_message> held(20);
    for (std::uint64_t i = 0; i < 20; ++i) {
        REQUIRE(s.send(i, 1000) == 0);
        REQUIRE(r.receive(held[i]) == IPC_MESSAGE);
    }
    CHECK(r.stats().held == 20);
    for (std::size_t i = 0; i < 20; ++i) {
        const ipc_message &m = held[i * 7 % 20];
        CHECK(proven(m));
        CHECK(r.release(m) == 0);
        CHECK(r.release(m) == -ESTALE);
    }
    for (const ipc_message &m : held) CHECK(r.release(m) == -ESTALE);
    CHECK(r.stats().held == 0);
}

TEST_CASE_TEMPLATE("nothing is released by an empty struct, an end\'s, another receiver\'s message, or a second time",
                   T, ALL_TRANSPORTS) {
    scratch test;
    std::string elsewhere = test.folder() + "/elsewhere";
    REQUIRE(mkdir(elsewhere.c_str(), 0700) == 0);
    {
        ends url = ends_of<T>(test.folder()), other_url = ends_of<T>(elsewhere);
        if (url.sender == "shm://t") other_url = {"shm://other", "shm://other"};
        rx r(url.receiver), other(other_url.receiver);
        tx s(url.sender), others(other_url.sender);
        ipc_message m, theirs, end, empty = empty_message();
        REQUIRE(s.send(1) == 0);
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        REQUIRE(others.send(2) == 0);
        REQUIRE(other.receive(theirs) == IPC_MESSAGE);
        s.end();
        REQUIRE(r.receive(end) == IPC_END);
        CHECK(r.release(empty) < 0);
        CHECK(r.release(end) < 0);
        CHECK(r.release(theirs) == -ESTALE);
        CHECK(r.stats().held == 1);
        CHECK(proven(m));
        CHECK(r.release(m) == 0);
        CHECK(r.release(m) == -ESTALE);
        CHECK(other.release(theirs) == 0);
    }
    rmdir(elsewhere.c_str());
}

TEST_CASE_TEMPLATE("held messages outlive the close of their receiver, and their sender", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    child sender = test.sender(url.sender);
    sender.ask("send 1 5 10000");
    sender.ask("flush 10000000");
    CHECK(r.hold(5) == "1-5");
    sender.ask("end");
    CHECK(r.read(1) == "end");
    sender.ask("close 0");
    sender.done();
    CHECK(r.close() == 5);
    for (auto &m : r.held) CHECK(proven(m));
    for (std::size_t i : {2, 0, 4, 1, 3}) CHECK(r.release(r.held[i]) == 0);
}

TEST_CASE_TEMPLATE("a receiver times out, is interrupted, and does not wait when told so", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx silent(url.sender);
    ipc_message m;
    CHECK(r.receive(m, 0) == -EAGAIN);
    CHECK(r.receive(m, 5'000'000) == -ETIMEDOUT);
    ipc_receiver_interrupt(r);
    CHECK(r.receive(m) == -ECANCELED);
    std::thread other([&] {
        doze();
        ipc_receiver_interrupt(r);
    });
    CHECK(r.receive(m) == -ECANCELED);
    other.join();
    CHECK(r.receive(m, 1'000'000) == -ETIMEDOUT);
}

TEST_CASE_TEMPLATE("a signal ends a wait", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx silent(url.sender);
    struct sigaction nothing {
    }, before;
    nothing.sa_handler = [](int) {};
    nothing.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &nothing, &before);
    pthread_t waiting = pthread_self();
    std::atomic<bool> over{false};
    std::thread other([&] {
        while (!over) {
            doze();
            pthread_kill(waiting, SIGUSR1);
        }
    });
    ipc_message m;
    CHECK(r.receive(m) == -EINTR);
    over = true;
    other.join();
    sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE_TEMPLATE("a handler that interrupts the call which it cut short ends that one", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    static ipc_receiver *r = nullptr;
    static ipc_sender *s = nullptr;
    struct sigaction interrupts {
    }, before;
    interrupts.sa_handler = [](int) {
        if (r) ipc_receiver_interrupt(r);
        if (s) ipc_sender_interrupt(s);
    };
    sigaction(SIGUSR1, &interrupts, &before);
    auto waits = [waiting = pthread_self(), thread = gettid()](auto call) {
        std::thread other([=] {
            if (eventually([=] { return sleeps(getpid(), thread); })) pthread_kill(waiting, SIGUSR1);
        });
        int result = call();
        other.join();
        return result;
    };
    rx receives(url.receiver);
    tx sends(url.sender);
    r = receives;
    ipc_message m;
    CHECK(waits([&] { return receives.receive(m); }) == -ECANCELED);
    CHECK(receives.receive(m, briefly) == -ETIMEDOUT);
    r = nullptr;
    if (T::tells_release) {
        REQUIRE(sends.send(1) == 0);
        s = sends;
        CHECK(waits([&] { return ipc_sender_flush(s, limit_ns); }) == -ECANCELED);
        s = nullptr;
    }
    sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE_TEMPLATE("an interrupt from before a close does not cut its linger", T, ALL_TRANSPORTS) {
    if (!T::tells_release) return;
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    REQUIRE(s.send(1) == 0);
    ipc_sender_interrupt(s);
    std::thread reads([&] {
        doze();
        CHECK(r.take() == 1);
        CHECK(r.read(1) == "end");
    });
    CHECK(s.close(limit_ns) == 0);
    reads.join();
}

TEST_CASE_TEMPLATE("the longest time-out is as good as none", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    std::thread sends([&, reads = gettid()] {
        eventually([=] { return sleeps(getpid(), reads); });
        CHECK(s.send(1, 64, INT64_MAX) == 0);
        ipc_sender_flush(s, 10'000'000);
    });
    CHECK(r.take(INT64_MAX) == 1);
    sends.join();
}

TEST_CASE_TEMPLATE("a receiver's fd wakes whoever polls it", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    for (std::uint64_t i = 0; i < 50; ++i) {
        std::thread other([&] { CHECK(s.send(i) == 0); });
        ipc_message m;
        bool timely = eventually([&] {
            int armed = ipc_receiver_arm(r);
            if (armed == 1) {
                pollfd p{ipc_receiver_fd(r), POLLIN, 0};
                poll(&p, 1, 10'000);
            }
            return r.receive(m, 0) == IPC_MESSAGE;
        });
        other.join();
        REQUIRE(timely);
        CHECK(m.tag == i);
        r.release(m);
        // A sender that was not linked yet sends when it is called next.
        CHECK(ipc_sender_flush(s, 0) >= 0);
    }
}

TEST_CASE_TEMPLATE("send after end is refused", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    CHECK(s.end() == 0);
    CHECK(s.end() == 0);
    CHECK(s.send(1) == -EPIPE);
    CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EPIPE);
}

TEST_CASE_TEMPLATE("a reservation is filled in place, shortened, or given back", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    void *room;
    REQUIRE(ipc_sender_reserve(s, 1000, &room, limit_ns) == 0);
    CHECK(ipc_sender_reserve(s, 1, &room, 0) == -EINVAL);
    CHECK(ipc_sender_commit(s, 1001, 0) == -EINVAL);
    CHECK(ipc_sender_abort(s) == 0);
    CHECK(ipc_sender_commit(s, 1, 0) == -EINVAL);
    REQUIRE(ipc_sender_reserve(s, 1000, &room, limit_ns) == 0);
    fill(room, 10, 3);
    CHECK(ipc_sender_commit(s, 10, 3) == 0);
    REQUIRE(ipc_sender_reserve(s, 1000, &room, limit_ns) == 0);
    CHECK(ipc_sender_commit(s, 0, 4) == 0);
    ipc_sender_flush(s, 10'000'000);
    for (std::uint64_t sequence : {1, 2}) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.size == (sequence == 1 ? 10 : 0));
        CHECK(m.sequence == sequence);
        CHECK(proven(m));
        r.release(m);
    }
    REQUIRE(ipc_sender_reserve(s, 1000, &room, limit_ns) == 0);
    s.close();
    CHECK(r.read(1) == "end");
}

TEST_CASE_TEMPLATE("a message that never fits is refused", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    void *room;
    CHECK(ipc_sender_reserve(s, std::size_t{1} << 40, &room, limit_ns) == -EMSGSIZE);
}

TEST_CASE_TEMPLATE("flush waits for the release, and says how many are missing", T, ALL_TRANSPORTS) {
    if (!T::tells_release) return;
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    for (std::uint64_t i = 0; i < 3; ++i) REQUIRE(s.send(i) == 0);
    CHECK(ipc_sender_flush(s, 20'000'000) == 3);
    std::atomic<bool> flushed{false};
    ipc_message m[3];
    for (auto &each : m) REQUIRE(r.receive(each) == IPC_MESSAGE);
    r.release(m[0]);
    // On a stream the sender has to ask, and a receiver answers when it is called.
    CHECK(eventually([&] {
        ipc_message none;
        return r.receive(none, 0) == -EAGAIN && ipc_sender_flush(s, 1'000'000) == 2;
    }));
    std::atomic<pid_t> flushes{0};
    std::thread waits([&] {
        flushes = gettid();
        CHECK(ipc_sender_flush(s, limit_ns) == 0);
        flushed = true;
    });
    for (int i : {2, 1}) {
        CHECK(eventually([&] { return flushes != 0 && sleeps(getpid(), flushes); }));
        CHECK(!flushed);
        r.release(m[i]);
        ipc_message none;
        CHECK(r.receive(none, briefly) < 0);
    }
    waits.join();
    CHECK(s.stats().unreleased == 0);
    CHECK(s.close(0) == 0);
}

TEST_CASE_TEMPLATE("flush and close are done when all is taken, though the receiver has left before the end", T,
                   ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    tx s(url.sender);
    {
        rx r(url.receiver);
        REQUIRE(s.send(1) == 0);
        ipc_message m;
        CHECK(eventually([&] {
            int left = ipc_sender_flush(s, 0);
            if (r.receive(m, 0) == IPC_MESSAGE) r.release(m);
            return left == 0 && r.stats().messages == 1;
        }));
    }
    CHECK(eventually([&] { return !T::tells_release || s.stats().links == 0; }));
    s.end();
    auto start = std::chrono::steady_clock::now();
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    CHECK(s.close(limit_ns) == 0);
    CHECK(std::chrono::steady_clock::now() - start < limit / 2);
}

TEST_CASE_TEMPLATE("a path that is deleted under way: who is linked goes on, and newcomers find it", T, over_unix,
                   over_pipe) {
    scratch test;
    std::string url = T::url(test.folder()), path = url.substr(7);
    rx r(url);
    tx before(url);
    REQUIRE(before.send(1) == 0);
    CHECK(r.take() == 1);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(unlink(path.c_str()) == 0);
        struct stat there;
        CHECK(eventually([&] {
            r.stats();
            return lstat(path.c_str(), &there) == 0;
        }));
        tx newcomer(url);
        REQUIRE(newcomer.send(2) == 0);
        CHECK(eventually([&] {
            newcomer.stats();
            ipc_message m;
            return r.receive(m, briefly) == IPC_MESSAGE && m.tag == 2 && r.release(m) == 0;
        }));
        REQUIRE(before.send(3) == 0);
        CHECK(r.take() == 3);
        newcomer.end();
        CHECK(r.read(1) == "end");
    }
    CHECK(r.stats().deaths == 0);
    CHECK(r.stats().lost == 0);
}

TEST_CASE_TEMPLATE("a sender is held up by a receiver that does not read, and goes on when it does", T,
                   ALL_TRANSPORTS) {
    if (!T::lossless) return;
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender + "?capacity=1MiB");
    std::uint64_t sent = 0;
    int result;
    // It ends: what lies between them is bounded.
    while ((result = s.send(sent, 10'000, 50'000'000)) == 0) {
        ++sent;
        REQUIRE(sent < 10'000);
    }
    CHECK(result == -ETIMEDOUT);
    std::atomic<bool> flushed{false};
    std::thread reads([&] {
        for (std::uint64_t i = 0; i < sent + 10; ++i)
            if (r.take() != i) throw std::runtime_error("another message");
        ipc_message none;
        while (!flushed) r.receive(none, briefly);  // who asks what is released is answered in a call
    });
    for (int i = 0; i < 10; ++i) CHECK(s.send(sent + static_cast<std::uint64_t>(i), 10'000) == 0);
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    flushed = true;
    reads.join();
}

TEST_CASE_TEMPLATE("an always-running receiver serves one sender after the other", T, NAMED) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    for (int run = 0; run < 5; ++run) {
        child sender = test.start("numbers", {url, "0", "20", "64"});
        for (std::uint64_t i = 0; i < 20; ++i) CHECK(r.take() == i);
        ipc_message m;
        CHECK(r.receive(m) == IPC_END);
        sender.done();
    }
    CHECK(r.stats().ends == 5);
    CHECK(r.stats().lost == 0);
}

TEST_CASE_TEMPLATE("a sender finds the next receiver", T, NAMED) {
    if (!T::waits_for_receiver) return;
    scratch test;
    std::string url = T::url(test.folder());
    tx s(url);
    for (std::uint64_t run = 0; run < 3; ++run) {
        rx r(url);
        std::thread sends([&] {
            CHECK(s.send(run) == 0);
            CHECK(ipc_sender_flush(s, limit_ns) == 0);
        });
        CHECK(r.take() == run);
        ipc_message m;
        while (T::tells_release && r.receive(m, 50'000'000) == -EAGAIN) {
        }
        sends.join();
    }
    CHECK(s.stats().lost == 0);
}

TEST_CASE_TEMPLATE("a forked child may not use a handle, and the parent does not notice", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    REQUIRE(s.send(1) == 0);
    ipc_sender_flush(s, 10'000'000);
    CHECK(r.take() == 1);
    pid_t pid = fork();
    if (pid == 0) {
        ipc_message m = empty_message();
        bool good = ipc_receiver_receive(r, &m, 0) == IPC_EFORKED && ipc_sender_send(s, "x", 1, 0, 0) == IPC_EFORKED &&
                    ipc_sender_close(s, 0) == IPC_EFORKED && ipc_receiver_close(r) == IPC_EFORKED;
        _exit(good ? 0 : 1);
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
    for (std::uint64_t i = 0; i < 10; ++i) {
        REQUIRE(s.send(i) == 0);
        CHECK(r.take() == i);
    }
}

TEST_CASE_TEMPLATE("a channel's handles and their links are listed from outside", T, ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    rx r(url.receiver);
    tx s(url.sender);
    REQUIRE(s.send(1, 100) == 0);
    ipc_sender_flush(s, 10'000'000);
    CHECK(r.hold(1) == "1");
    s.stats();
    r.stats();
    auto all = list(getpid());
    std::ranges::sort(all, {}, &ipc_channel::role);  // they come by URL, and may have two
    REQUIRE(all.size() == 2);
    for (std::size_t i : {0, 1}) {
        CHECK(all[i].role == (i == 0 ? IPC_SENDER : IPC_RECEIVER));
        CHECK(all[i].url == (i == 0 ? url.sender : url.receiver));
        CHECK(all[i].links == 1);
        REQUIRE(all[i].shown == 1);
        CHECK(all[i].messages == 1);
        CHECK(all[i].bytes == 100);
        const ipc_channel_link &l = all[i].link[0];
        CHECK(l.state == IPC_LINK_UP);
        CHECK(l.behind == 0);
        CHECK(l.lost == 0);
        // Where nothing comes back, a sender does not know who reads.
        if (T::tells_release || i == 1) CHECK(l.peer == all[1 - i].id);
    }
    CHECK(all[1].link[0].held >= 100);
    CHECK(all[1].backlog >= 100);
    CHECK(std::string(all[0].folder) == (url.sender == "shm://t" ? test.folder() : ""));
}

TEST_CASE_TEMPLATE("a receiver that sleeps in a call is listed with the figures from before it slept", T,
                   ALL_TRANSPORTS) {
    scratch test;
    ends url = ends_of<T>(test.folder());
    child r = test.receiver(url.receiver);
    tx s(url.sender);
    REQUIRE(s.send(1, 100) == 0);
    ipc_sender_flush(s, 10'000'000);
    CHECK(r.ask("hold 1") == "1");
    r.say("read 1");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    auto all = list(r.pid());
    REQUIRE(all.size() == 1);
    CHECK(all[0].messages == 1);
    CHECK(all[0].bytes == 100);
    CHECK(all[0].backlog >= 100);
    REQUIRE(all[0].shown == 1);
    CHECK(all[0].link[0].held >= 100);
    CHECK(all[0].link[0].behind == 0);
    s.end();
    r.expect("end");
}
