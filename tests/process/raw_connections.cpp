// ?framing=raw over connections: bytes of programs that know nothing of the library.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "bare.hpp"
#include "transports.hpp"

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

namespace {

// A program that listens where `url` says, and takes one connection.
class listener {
  public:
    explicit listener(const std::string &url) : socket_(listen_bare(url)) {
        if (url.starts_with("unix://")) path_ = url.substr(7);
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
