// What is special to udp://: nothing is sure, and what goes wrong is counted.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <ipc/ipc.hpp>
#include <set>

#include "../chunk_check.hpp"
#include "bare.hpp"
#include "transports.hpp"

namespace {

// Stands between a sender and a receiver, and passes on each datagram as a test says.
class relay {
  public:
    explicit relay(const std::string &to) : to_(internet_address(to)) {}
    ~relay() { close(in_); }
    const std::string &url() const { return url_; }
    std::string next() {
        pollfd p{in_, POLLIN, 0};
        REQUIRE(poll(&p, 1, 20'000) == 1);
        std::string datagram(70'000, '\0');
        ssize_t n = recv(in_, datagram.data(), datagram.size(), 0);
        REQUIRE(n >= 0);
        datagram.resize(static_cast<std::size_t>(n));
        return datagram;
    }
    void pass(const std::string &datagram) {
        REQUIRE(sendto(in_, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr *>(&to_), sizeof to_) ==
                static_cast<ssize_t>(datagram.size()));
    }

  private:
    sockaddr_in to_;
    std::string url_ = over_udp::url("");
    int in_ = listen_bare(url_, SOCK_DGRAM);
};

struct seen {
    std::uint64_t tag;
    std::uint32_t flags;
    bool operator==(const seen &) const = default;
};

seen take(rx &r) {
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    CHECK(proven(m));
    r.release(m);
    return {m.tag, m.flags};
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "datagrams that are lost are counted, and the others come") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    for (std::uint64_t i = 1; i <= 20; ++i) {
        REQUIRE(s.send(i) == 0);
        std::string datagram = between.next();
        if (i % 5 == 0 && i != 20) continue;
        between.pass(datagram);
        CHECK(take(r) == seen{i, 0});
    }
    CHECK(r.stats().lost == 3);
    CHECK(r.links().at(0).lost == 3);
    CHECK(r.stats().messages == 17);
}

TEST_CASE_FIXTURE(scratch, "what is lost before the end is counted when the end comes") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    REQUIRE(s.send(1) == 0);
    between.pass(between.next());
    CHECK(take(r) == seen{1, 0});
    REQUIRE(s.send(2) == 0);
    REQUIRE(s.send(3) == 0);
    between.next();
    between.next();
    s.end();
    between.pass(between.next());
    ipc_message m;
    CHECK(r.receive(m) == IPC_END);
    CHECK(r.stats().lost == 2);
    // It was sent more than once, as it may be lost too; it is told once.
    between.pass(between.next());
    CHECK(r.receive(m, 20'000'000) == -ETIMEDOUT);
    CHECK(r.stats().ends == 1);
    CHECK(r.stats().foreign == 0);
}

TEST_CASE_FIXTURE(scratch, "a datagram that comes twice is marked and counted") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    for (std::uint64_t i = 1; i <= 3; ++i) {
        REQUIRE(s.send(i) == 0);
        std::string datagram = between.next();
        between.pass(datagram);
        between.pass(datagram);
        CHECK(take(r) == seen{i, 0});
        CHECK(take(r) == seen{i, IPC_DUPLICATE});
    }
    CHECK(r.stats().duplicated == 3);
    CHECK(r.stats().lost == 0);
}

TEST_CASE_FIXTURE(scratch, "the C++ header tells a duplicate from what comes late") {
    ipc::receiver r("udp://127.0.0.1:0");
    relay between(r.url());
    tx s(between.url());
    std::vector<std::string> datagrams;
    for (std::uint64_t i = 1; i <= 3; ++i) {
        REQUIRE(s.send(i) == 0);
        datagrams.push_back(between.next());
    }
    for (std::size_t i : {0, 2, 1, 2}) between.pass(datagrams[i]);
    std::string words;
    for (int i = 0; i < 4; ++i) {
        auto e = r.receive(limit);
        REQUIRE(e);
        words +=
            std::to_string(e->message.tag()) + (e->message.duplicate() ? "d" : "") + (e->message.late() ? "l" : "");
    }
    CHECK(words == "132l3d");
}

TEST_CASE_FIXTURE(scratch, "a datagram that comes late is marked, and is lost no more") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    REQUIRE(s.send(1) == 0);
    between.pass(between.next());
    CHECK(take(r) == seen{1, 0});
    for (std::uint64_t i = 2; i <= 4; ++i) REQUIRE(s.send(i) == 0);
    std::string two = between.next(), three = between.next(), four = between.next();
    between.pass(four);
    CHECK(take(r) == seen{4, 0});
    CHECK(r.stats().lost == 2);
    between.pass(two);
    CHECK(take(r) == seen{2, IPC_LATE});
    CHECK(r.stats().lost == 1);
    between.pass(three);
    CHECK(take(r) == seen{3, IPC_LATE});
    CHECK(r.stats().lost == 0);
    CHECK(r.stats().reordered == 2);
    between.pass(three);
    CHECK(take(r) == seen{3, IPC_DUPLICATE});
}

TEST_CASE_FIXTURE(scratch, "foreign datagrams are dropped and counted") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    REQUIRE(s.send(1) == 0);
    std::string good = between.next();
    between.pass("");
    between.pass("hello");
    between.pass(std::string(60'000, 'x'));
    between.pass(good + "x");
    between.pass(good.substr(0, good.size() - 1));
    for (std::size_t at = 0; at < 64; ++at) {
        std::string turned = good;
        turned[at] ^= 1;
        between.pass(turned);
    }
    between.pass(good);
    CHECK(take(r) == seen{1, 0});
    CHECK(r.stats().foreign == 5 + 64);
    CHECK(r.stats().messages == 1);
    // The same sender from another place: somebody else uses its id.
    relay other(ipc_receiver_url(r));
    other.pass(good);
    ipc_message m;
    CHECK(r.receive(m, 20'000'000) == -ETIMEDOUT);
    CHECK(r.stats().foreign == 5 + 64 + 1);
}

TEST_CASE_FIXTURE(scratch, "the largest message fits in a datagram, and a larger one is refused") {
    std::string url = over_udp::url(folder());
    rx r(url);
    tx s(url);
    CHECK(s.send(1, 65'507 - 64) == 0);
    CHECK(take(r) == seen{1, 0});
    CHECK(s.send(2, 65'507 - 63) == -EMSGSIZE);
    CHECK(std::strstr(ipc_strerror(-EMSGSIZE), "65,443"));
}

TEST_CASE_FIXTURE(scratch, "a sender to a port where nobody is goes on, and counts what it was told is lost") {
    tx s(over_udp::url(""));
    for (std::uint64_t i = 0; i < 100; ++i) CHECK(s.send(i) == 0);
    CHECK(ipc_sender_flush(s, limit_ns) == 0);
    s.end();
    CHECK(s.stats().lost > 0);  // each refusal tells of one or more before it
    CHECK(s.stats().lost <= 100);
}

TEST_CASE_FIXTURE(scratch, "a datagram that comes twice, and finds no room the second time, is not lost") {
    rx r("udp://127.0.0.1:0?capacity=64KiB");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    std::string datagram;
    for (std::uint64_t i = 1; i <= 2; ++i) {
        REQUIRE(s.send(i, 30'000) == 0);
        between.pass(datagram = between.next());
        CHECK(r.hold(1) == std::to_string(i));
    }
    between.pass(datagram);
    REQUIRE(eventually([&] { return r.stats().duplicated == 1; }));
    CHECK(r.stats().lost == 0);
    for (std::uint64_t i = 1; i <= 2; ++i) CHECK(r.release_held(i) == 0);
}

TEST_CASE_FIXTURE(scratch, "datagrams of any program are received raw") {
    rx r("udp://127.0.0.1:0?framing=raw");
    relay program(ipc_receiver_url(r));
    program.pass("one");
    program.pass("");
    program.pass("three");
    for (std::string text : {"one", "", "three"}) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(std::string(static_cast<const char *>(m.data), m.size) == text);
        r.release(m);
    }
    CHECK(r.stats().foreign == 0);
}

TEST_CASE_FIXTURE(scratch, "a datagram with a sequence that no sender reaches is foreign") {
    rx r("udp://127.0.0.1:0");
    relay between(ipc_receiver_url(r));
    tx s(between.url());
    REQUIRE(s.send(1) == 0);
    std::string honest = between.next();
    for (std::uint64_t sequence :
         {std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0} - 1, std::uint64_t{1} << 63}) {
        std::string forged = honest;
        forged[8] ^= 1;  // another sender
        std::memcpy(&forged[16], &sequence, 8);
        std::uint32_t sum = chunk_check(forged.data());
        std::memcpy(&forged[56], &sum, 4);
        between.pass(forged);
    }
    between.pass(honest);
    CHECK(r.take() == 1);
    CHECK(r.stats().foreign == 4);
    CHECK(r.stats().lost == 0);
    CHECK(r.stats().links == 1);
}
