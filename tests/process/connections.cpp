// What is special to connections: unix:// and tcp://.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "bare.hpp"
#include "lowered_limit.hpp"
#include "refusal.hpp"
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

TEST_CASE_TEMPLATE("a stranger is refused alone, whatever it says", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?capacity=1MiB");
    tx s(url);
    std::mt19937 random(5);
    std::string noise(5000, '\0');
    for (char &c : noise) c = static_cast<char>(random());
    std::string version = hello();
    version[4] = 9;
    std::vector<std::string> strange = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "SSH-2.0-OpenSSH_9.2\r\n",
                                        noise,
                                        version,
                                        frame(1, 10, 0, 1) + "0123456789",                 // without a hello
                                        frame(2, 0, 0, 1),                                 // an end without one
                                        frame(4, 0, 0, 0),                                 // what a receiver says
                                        hello() + hello(),                                 // twice
                                        hello(0),                                          // of nobody
                                        hello() + frame(1, std::uint64_t{1} << 60, 0, 1),  // of a size that can't be
                                        hello() + frame(1, 0, 0, 2) + frame(1, 0, 0, 1),   // backwards
                                        hello() + frame(2, 0, 0, 0) + frame(1, 0, 0, 1)};  // after the end
    std::uint64_t refused = 0, tag = 0;
    for (auto &bytes : strange) {
        CAPTURE(bytes.substr(0, 40));
        int peer = connect_bare(url);
        REQUIRE(send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
        bool closed = eventually([&] {
            ipc_message m;
            while (r.receive(m, 1'000'000) == IPC_MESSAGE) r.release(m);
            char answer[4096];
            return recv(peer, answer, sizeof answer, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EINTR);
        });
        CHECK(closed);
        close(peer);
        CHECK(r.stats().refused == ++refused);
        REQUIRE(s.send(++tag) == 0);
        ipc_message m;
        int got;
        while ((got = r.receive(m)) == IPC_DIED || got == IPC_END) {
        }
        REQUIRE(got == IPC_MESSAGE);
        CHECK(m.tag == tag);
        r.release(m);
    }
    CHECK(r.stats().links == 1);
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

TEST_CASE_TEMPLATE("frames are taken in pieces of every size", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    for (std::size_t piece : {1, 7, 31, 32, 33, 100}) {
        int peer = connect_bare(url);
        std::string all = hello(200 + piece);
        for (std::uint64_t i = 1; i <= 5; ++i)
            all += frame(1, 50 * i, i, i) + std::string(50 * i, static_cast<char>(i));
        all += frame(2, 0, 0, 5);
        std::thread writes([&] {
            for (std::size_t at = 0; at < all.size(); at += piece)
                (void)!send(peer, all.data() + at, std::min(piece, all.size() - at), MSG_NOSIGNAL);
        });
        for (std::uint64_t i = 1; i <= 5; ++i) {
            ipc_message m;
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            CHECK(m.size == 50 * i);
            CHECK(static_cast<const char *>(m.data)[50 * i - 1] == static_cast<char>(i));
            r.release(m);
        }
        ipc_message m;
        CHECK(r.receive(m) == IPC_END);
        writes.join();
        close(peer);
    }
}

TEST_CASE_TEMPLATE("a peer that announces much and sends little holds no memory and nobody up", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    auto resident = [] {
        std::ifstream statm("/proc/self/statm");
        long size, pages;
        statm >> size >> pages;
        return pages * 4096;
    };
    long before = resident();
    std::vector<int> peers;
    for (std::uint64_t i = 0; i < 50; ++i) {
        peers.push_back(connect_bare(url));
        std::string bytes = hello(100 + i, std::uint64_t{1} << 40) + frame(1, 400 << 20, 0, 1) + "few";
        REQUIRE(send(peers.back(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0);
    }
    tx s(url);
    REQUIRE(s.send(1) == 0);
    CHECK(r.take() == 1);
    CHECK(eventually([&] { return r.stats().links == 51; }));
    CHECK(resident() - before < 64 << 20);
    for (int peer : peers) close(peer);
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

TEST_CASE_FIXTURE(scratch, "port 0 becomes a free one, and the receiver's URL says which") {
    for (std::string host : {"127.0.0.1", "[::1]", "localhost", ""}) {
        CAPTURE(host);
        refusal could = try_receiver("tcp://" + host + ":0");
        if (host == "[::1]" && could.code != 0) continue;  // a machine without IPv6
        rx r("tcp://" + host + ":0");
        std::string url = ipc_receiver_url(r);
        CHECK(url.starts_with("tcp://" + host + ":"));
        CHECK(!url.ends_with(":0"));
        tx s(url);
        REQUIRE(s.send(5) == 0);
        CHECK(r.take() == 5);
    }
}

TEST_CASE_FIXTURE(scratch,
                  "both ends of a tcp connection send small messages at once, and ask after half a minute of silence") {
    std::string url = over_tcp::url(folder());
    rx r(url);
    tx s(url);
    REQUIRE(s.send(1) == 0);
    CHECK(r.take() == 1);
    int kept = 0;
    for (int fd = 3; fd < 200; ++fd) {
        sockaddr_in peer;
        socklen_t size = sizeof peer;
        if (getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
        auto option = [&](int level, int name) {
            int value = 0;
            socklen_t n = sizeof value;
            REQUIRE(getsockopt(fd, level, name, &value, &n) == 0);
            return value;
        };
        CHECK(option(IPPROTO_TCP, TCP_NODELAY) != 0);
        CHECK(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
        int silence = option(IPPROTO_TCP, TCP_KEEPIDLE);
        CHECK(silence + option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT) <= 30);
        ++kept;
    }
    CHECK(kept == 2);
}

TEST_CASE_TEMPLATE("what any program writes is received raw, and its end is the end", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?framing=raw");
    int peer = connect_bare(url);
    std::string bytes(200'000, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
    std::thread writes([&] {
        for (std::size_t at = 0; at < bytes.size();) {
            ssize_t n = send(peer, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
            if (n <= 0) return;
            at += static_cast<std::size_t>(n);
        }
        close(peer);
    });
    std::string got;
    ipc_message m;
    int result;
    while ((result = r.receive(m)) == IPC_MESSAGE) {
        got.append(static_cast<const char *>(m.data), m.size);
        r.release(m);
    }
    writes.join();
    CHECK(result == IPC_END);
    CHECK(got == bytes);
}

TEST_CASE_TEMPLATE("a raw sender writes bare bytes", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url + "?framing=raw");
    tx s(url + "?framing=raw");
    REQUIRE(ipc_sender_send(s, "hello ", 6, 1, limit_ns) == 0);
    REQUIRE(ipc_sender_send(s, "", 0, 2, limit_ns) == 0);
    REQUIRE(ipc_sender_send(s, "world", 5, 3, limit_ns) == 0);
    s.end();
    std::string got;
    ipc_message m;
    while (r.receive(m) == IPC_MESSAGE) {
        got.append(static_cast<const char *>(m.data), m.size);
        r.release(m);
    }
    CHECK(got == "hello world");
    CHECK(r.stats().ends == 1);
}

TEST_CASE_TEMPLATE("a sender that comes when no descriptor is free is taken in when one is", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    int peer = connect_bare(url);
    std::vector<int> all;
    rlimit limits, few;
    getrlimit(RLIMIT_NOFILE, &limits);
    few = limits;
    few.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = dup(0)) >= 0;) all.push_back(fd);
    ipc_message m;
    CHECK(r.receive(m, limit_ns) == -EMFILE);
    CHECK(r.stats().waiting_for_fds == 1);
    for (int fd : all) close(fd);
    setrlimit(RLIMIT_NOFILE, &limits);
    std::string bytes = hello() + frame(1, 2, 5, 1) + "ok";
    REQUIRE(send(peer, bytes.data(), bytes.size(), 0) > 0);
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    CHECK(m.tag == 5);
    r.release(m);
    close(peer);
}

TEST_CASE_FIXTURE(scratch, "tcp and udp go by IPv4 and by IPv6, to one receiver if it listens on every address") {
    for (std::string scheme : {"tcp://", "udp://"})
        for (std::string host : {"[::1]", "*"}) {
            std::string block = host == "*" ? "?allow=192.0.2.0/24" : "";  // besides this machine
            if (try_receiver(scheme + host + ":0" + block).code != 0) {
                MESSAGE("a machine without IPv6");
                continue;
            }
            rx r(scheme + host + ":0" + block);
            std::string url = ipc_receiver_url(r), port = url.substr(url.rfind(':'));
            std::uint64_t tag = 0;
            for (std::string to : {"[::1]", "127.0.0.1"}) {
                if (to == "127.0.0.1" && host != "*") continue;
                CAPTURE(url);
                CAPTURE(to);
                tx s(scheme + to + port);
                REQUIRE(s.send(++tag) == 0);
                CHECK(r.take() == tag);
                s.close();
                CHECK(r.read(1) == "end");
            }
        }
}

// ---- Peers that mean no good, or know no better
// ----------------------------------------------------------------------

namespace {

// A program that listens where `url` says, and takes one connection.
class listener {
  public:
    explicit listener(const std::string &url) {
        if (url.starts_with("unix://")) {
            socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_un a{};
            a.sun_family = AF_UNIX;
            url.copy(a.sun_path, sizeof a.sun_path - 1, 7);
            REQUIRE(bind(socket_, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0);
            path_ = a.sun_path;
        } else {
            socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in a{};
            a.sin_family = AF_INET;
            a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
            int yes = 1;
            setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
            REQUIRE(bind(socket_, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0);
        }
        REQUIRE(listen(socket_, 10) == 0);
    }
    ~listener() {
        close(socket_);
        if (!path_.empty()) unlink(path_.c_str());
    }
    // The sender connects when it is called.
    int accept(const tx &s) const {
        REQUIRE(eventually([&] {
            s.stats();
            return has_one();
        }));
        return accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    }
    bool has_one() const {
        pollfd p{socket_, POLLIN, 0};
        return poll(&p, 1, 0) == 1;
    }

  private:
    int socket_;
    std::string path_;
};

}  // namespace

TEST_CASE_TEMPLATE("a raw sender goes on to write to a peer that says no more, and learns that it is gone", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    listener there(url);
    tx s(url + "?framing=raw");
    int peer = there.accept(s);
    REQUIRE(ipc_sender_send(s, "one ", 4, 0, limit_ns) == 0);
    CHECK(read_exactly(peer, 4) == "one ");
    shutdown(peer, SHUT_WR);
    CHECK(eventually([&] { return s.stats().links == 1 && ipc_sender_arm(s) == 1; }));
    pollfd quiet{ipc_sender_fd(s), POLLIN, 0};
    CHECK(eventually([&] { return ipc_sender_arm(s) == 1 && poll(&quiet, 1, 0) == 0; }));
    REQUIRE(ipc_sender_send(s, "two ", 4, 0, limit_ns) == 0);
    CHECK(read_exactly(peer, 4) == "two ");
    // More than the system takes at once.
    std::string much(3'000'000, 'x'), got;
    std::thread reader([&] { got = read_exactly(peer, much.size()); });
    for (std::size_t at = 0; at < much.size(); at += 500'000)
        CHECK(ipc_sender_send(s, much.data() + at, 500'000, 0, limit_ns) == 0);
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    reader.join();
    CHECK(got == much);
    CHECK(s.stats().links == 1);
    close(peer);
    // Over TCP the end of a connection looks like the end of what is said, until something is sent.
    if (url.starts_with("tcp:")) REQUIRE(ipc_sender_send(s, "gone", 4, 0, limit_ns) == 0);
    peer = there.accept(s);
    CHECK(eventually([&] {
        s.stats();
        char c;
        return ipc_sender_send(s, "x", 1, 0, limit_ns) == 0 && recv(peer, &c, 1, MSG_DONTWAIT) == 1;
    }));
    close(peer);
}

TEST_CASE_TEMPLATE("a peer that never stops talking doesn't keep a raw sender", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    listener there(url);
    tx s(url + "?framing=raw");
    int peer = there.accept(s);
    std::atomic<bool> stop{false};
    std::vector<std::thread> talkers;
    for (int i = 0; i < 2; ++i)
        talkers.emplace_back([&] {
            std::string much(1 << 16, 'y');
            while (!stop) send(peer, much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        });
    for (int i = 0; i < 200; ++i) CHECK(s.stats().links == 1);
    CHECK(ipc_sender_send(s, "heard", 5, 0, limit_ns) == 0);
    CHECK(read_exactly(peer, 5) == "heard");
    CHECK(s.close() == 0);
    stop = true;
    for (auto &t : talkers) t.join();
    close(peer);
}

TEST_CASE_TEMPLATE("any number of peers that say nothing take a bounded number of descriptors", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    std::vector<int> silent;
    for (int i = 0; i < 200; ++i) {
        silent.push_back(connect_bare(url));
        if (i % 10 == 0) r.stats();
    }
    r.stats();
    auto hung_up = [&] {
        std::size_t n = 0;
        for (int s : silent) {
            pollfd p{s, POLLIN, 0};
            n += poll(&p, 1, 0) == 1;
        }
        return n;
    };
    CHECK(eventually([&] {
        r.stats();
        return hung_up() >= 150;
    }));
    tx s(url);
    CHECK(s.send(1) == 0);
    CHECK(r.take() == 1);
    for (int i : silent) close(i);
}

TEST_CASE_TEMPLATE("peers that say nothing and hold all descriptors make room for a sender", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    tx s(url);
    CHECK(s.send(1) == 0);
    CHECK(r.take() == 1);
    std::vector<int> silent;
    for (int i = 0; i < 20; ++i) silent.push_back(connect_bare(url));
    tx late(url);
    CHECK(late.send(2) == 0);
    few_fds few(6);
    ipc_message m;
    CHECK(r.receive(m) == -EMFILE);
    CHECK(r.take() == 2);
    for (int i : silent) close(i);
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

// ---- What is on its way when one side goes
// -----------------------------------------------------------------------------

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

TEST_CASE_TEMPLATE("a message that its receiver can't take is passed over and counted, and those around it come", T,
                   CONNECTIONS) {
    for (std::size_t large : {300'000, 3'000'000}) {  // fits into the system at once, or does not
        CAPTURE(large);
        scratch test;
        std::string url = T::url(test.folder());
        tx s(url + "?capacity=16MiB");
        s.send_all(1, 3);
        REQUIRE(s.send(4, large) == 0);
        s.send_all(5, 7);
        REQUIRE(s.send(8, large) == 0);
        REQUIRE(s.send(9) == 0);
        rx r(url + "?capacity=512KiB");
        std::string got;
        CHECK(eventually([&] {
            s.stats();
            ipc_message m;
            while (r.receive(m, briefly) == IPC_MESSAGE) {
                CHECK(proven(m));
                got += std::to_string(m.tag);
                r.release(m);
            }
            return got.ends_with('9');
        }));
        CHECK(got == "1235679");
        CHECK(r.stats().lost == 2);
        CHECK(s.stats().lost == 2);
        CHECK(s.send(10, large) == -EMSGSIZE);
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

TEST_CASE_FIXTURE(scratch, "a raw connection that is cut is a death, and no end") {
    rx r("tcp://127.0.0.1:0?framing=raw");
    int peer = connect_bare(ipc_receiver_url(r));
    REQUIRE(send(peer, "some", 4, MSG_NOSIGNAL) == 4);
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    r.release(m);
    linger at_once{1, 0};  // closes by a reset
    REQUIRE(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(peer);
    CHECK(r.receive(m) == IPC_DIED);
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

TEST_CASE_TEMPLATE("a raw sender that has ended connects to nobody else", T, CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    listener there(url);
    tx s(url + "?framing=raw");
    int peer = there.accept(s);
    REQUIRE(ipc_sender_send(s, "all", 3, 0, limit_ns) == 0);
    s.end();
    CHECK(read_exactly(peer, 4) == "all");
    close(peer);
    CHECK(eventually([&] { return s.stats().links == 0; }));
    for (int i = 0; i < 50; ++i) {
        s.stats();
        doze();
        CHECK(!there.has_one());
    }
}

// In a network of its own that lends out two ports, of which one is asked for.
ROLE(dials_a_port_that_the_system_lends_it) {
    if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) != 0) return me.say("skipped");
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq up{};
    std::strcpy(up.ifr_name, "lo");
    up.ifr_flags = IFF_UP | IFF_RUNNING;
    MUST(ioctl(s, SIOCSIFFLAGS, &up) == 0);
    close(s);
    std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << "40000 40001" << std::flush;
    std::string range;
    std::getline(std::ifstream("/proc/sys/net/ipv4/ip_local_port_range"), range);
    if (range != "40000\t40001") return me.say("skipped");
    tx raw("tcp://127.0.0.1:40000?framing=raw");
    for (int i = 0; i < 100; ++i) {
        MUST(raw.stats().links == 0);
        doze();
    }
    me.say("alone");
}

TEST_CASE_FIXTURE(scratch, "a tcp sender is not connected with itself") {
    child sender = start("dials_a_port_that_the_system_lends_it");
    std::string said = sender.hear();
    if (said == "skipped")
        MESSAGE("skipped: no network of its own can be had");
    else
        CHECK(said == "alone");
    sender.done();
}

TEST_CASE_TEMPLATE("who has just connected is not let go for those behind it when descriptors are short", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    std::vector<int> peers;
    for (int i = 0; i < 4; ++i) peers.push_back(connect_bare(url));
    few_fds few(2);
    ipc_message m;
    CHECK(r.receive(m) == -EMFILE);
    std::string bytes = hello() + frame(1, 2, 5, 1) + "ok";
    CHECK(send(peers[0], bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    CHECK(m.tag == 5);
    r.release(m);
    for (int peer : peers) close(peer);
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
