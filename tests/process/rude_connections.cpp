// Who connects and speaks wrongly, or not at all, costs the others nothing: also when descriptors are short.
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "bare.hpp"
#include "lowered_limit.hpp"
#include "transports.hpp"

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
