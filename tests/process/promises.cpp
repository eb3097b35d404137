// The table of transports in README.md: each row is a test of behaviour over all transports, which goes by what `says`
// says of each; and the last test compares the table with the same.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <sstream>

#include "bare.hpp"
#include "refusal.hpp"
#include "transports.hpp"

namespace {

enum class survives { all, unsent, unsent_and_counted, nothing };
enum class who { user, holder, allowed };
constexpr std::uint64_t half_the_ring = ~std::uint64_t{0}, half_the_largest_ring = half_the_ring - 1;

// What the table says of a transport.
struct promised {
    bool many_receivers, many_senders, lossless, ordered, between_machines;
    survives waiting;
    bool zero_copy;
    std::uint64_t most;  // bytes of a message, if half the ring is not less
    bool flush_waits_for_release;
    who may_connect;
};

struct by_shm : over_shm {
    static constexpr promised says{true, true,     true, true, false, survives::all, true, half_the_largest_ring,
                                   true, who::user};
};
struct by_pipe : over_pipe {
    static constexpr promised says{false, true, true, true, false, survives::unsent, false, 32 << 20, false, who::user};
};
struct by_inherited_pipe : over_inherited_pipe {
    static constexpr promised says{false, false,    true,  true,       false, survives::nothing,
                                   false, 32 << 20, false, who::holder};
};
struct by_inherited_socket : over_inherited_socket {
    static constexpr promised says{false, false,         true, true,       false, survives::nothing,
                                   false, half_the_ring, true, who::holder};
};
struct by_unix : over_unix {
    static constexpr promised says{false, true,          true, true,     false, survives::unsent_and_counted,
                                   false, half_the_ring, true, who::user};
};
struct by_tcp : over_tcp {
    static constexpr promised says{false, true,          true, true,        true, survives::unsent_and_counted,
                                   false, half_the_ring, true, who::allowed};
};
struct by_udp : over_udp {
    static constexpr promised says{false, true,   false, false,       true, survives::nothing,
                                   false, 65'443, false, who::allowed};
};
#define EACH by_shm, by_pipe, by_inherited_pipe, by_inherited_socket, by_unix, by_tcp, by_udp

bool is_inherited(const std::string &url) { return url.starts_with("fd:"); }

// What is on the way needs the sender's calls to go on.
int next(rx &r, tx &s, ipc_message &m) {
    int got = -EAGAIN;
    eventually([&] {
        ipc_sender_flush(s, 0);
        got = r.receive(m, briefly);
        return got >= 0;
    });
    return got;
}

// An address of this machine by which others reach it; empty if it has none.
std::string outer_address() {
    ifaddrs *all;
    REQUIRE(getifaddrs(&all) == 0);
    std::string found;
    for (ifaddrs *a = all; a && found.empty(); a = a->ifa_next) {
        if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || a->ifa_flags & IFF_LOOPBACK) continue;
        char text[INET_ADDRSTRLEN];
        found = inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in *>(a->ifa_addr)->sin_addr, text, sizeof text);
    }
    freeifaddrs(all);
    return found;
}

}  // namespace

TEST_CASE_TEMPLATE("promised: receivers per channel", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx first(e.receiver);
    CHECK((try_receiver(e.receiver).code == 0) == T::says.many_receivers);
    tx s(e.sender);
    REQUIRE(s.send(1) == 0);
    ipc_message m;
    REQUIRE(next(first, s, m) == IPC_MESSAGE);
    first.release(m);
}

TEST_CASE_TEMPLATE("promised: senders per channel", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx r(e.receiver);
    tx first(e.sender);
    CHECK((try_sender(e.sender).code == 0) == T::says.many_senders);
    REQUIRE(first.send(1) == 0);
    ipc_message m;
    int got;
    do got = next(r, first, m);
    while (got == IPC_END || got == IPC_DIED);  // the second's
    REQUIRE(got == IPC_MESSAGE);
    CHECK(m.tag == 1);
    r.release(m);
}

// The rows "lossless" and "a slow receiver".
TEST_CASE_TEMPLATE("promised: what a slow receiver does to its sender, and whether anything is lost", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx r(e.receiver);
    tx s(e.sender);
    std::uint64_t sent = 0, got = 0;
    int result = 0;
    while (sent < 4000 && (result = s.send(sent, 10'000, 50'000'000)) == 0) ++sent;
    CHECK((result == -ETIMEDOUT) == T::says.lossless);
    ipc_message m;
    while (r.receive(m, 50'000'000) == IPC_MESSAGE || (T::says.lossless && got < sent)) {
        REQUIRE(m.tag >= got);
        CHECK((m.tag == got || !T::says.lossless));
        ++got;
        r.release(m);
        ipc_sender_flush(s, 0);
    }
    CHECK((got == sent) == T::says.lossless);
    // What is missing comes to light with the next that comes.
    REQUIRE(s.send(sent) == 0);
    REQUIRE(next(r, s, m) == IPC_MESSAGE);
    CHECK(m.tag == sent);
    CHECK(r.stats().lost == sent - got);
    r.release(m);
}

// Where datagrams may overtake each other, they are made to.
TEST_CASE_TEMPLATE("promised: ordered", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx r(e.receiver);
    ipc_message m;
    if (T::says.ordered) {
        tx s(e.sender);
        for (std::uint64_t i = 0; i < 500; ++i) REQUIRE(s.send(i, i) == 0);
        for (std::uint64_t i = 0; i < 500; ++i) {
            REQUIRE(next(r, s, m) == IPC_MESSAGE);
            CHECK(m.tag == i);
            CHECK(m.flags == 0);
            r.release(m);
        }
        return;
    }
    std::string before = over_udp::url("");
    int between = listen_bare(before, SOCK_DGRAM);
    sockaddr_in there = internet_address(e.receiver);
    tx s(before);
    std::vector<std::string> datagrams;
    for (std::uint64_t i = 1; i <= 3; ++i) {
        REQUIRE(s.send(i) == 0);
        pollfd p{between, POLLIN, 0};
        REQUIRE(poll(&p, 1, 20'000) == 1);
        std::string d(2000, '\0');
        ssize_t n = recv(between, d.data(), d.size(), 0);
        REQUIRE(n > 0);
        datagrams.push_back(d.substr(0, static_cast<std::size_t>(n)));
    }
    for (std::size_t i : {0, 2, 1})
        REQUIRE(sendto(between, datagrams[i].data(), datagrams[i].size(), 0, reinterpret_cast<sockaddr *>(&there),
                       sizeof there) > 0);
    for (std::uint64_t tag : {1, 3, 2}) {
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        CHECK(m.flags == (tag == 2 ? IPC_LATE : 0));
        r.release(m);
    }
    CHECK(r.stats().reordered == 1);
    close(between);
}

// The rows "between machines" and "who may connect", as far as one machine and one user can tell: what two users do to
// each other is in root_other_user.cpp.
TEST_CASE_TEMPLATE("promised: who may connect, and from where", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    std::string path = e.receiver.substr(e.receiver.find("://") + 3);
    CHECK((T::says.may_connect == who::allowed) == T::says.between_machines);
    if (T::says.may_connect == who::allowed) {
        std::string scheme = e.receiver.substr(0, 6), outer = outer_address();
        refusal open = try_receiver(scheme + "0.0.0.0:0");
        CAPTURE(open);
        CHECK(open.code == -EINVAL);
        CHECK(open.says("nothing says who may talk to it"));
        if (outer.empty()) return;
        for (bool let_in : {false, true}) {
            rx r(scheme + outer + ":0?allow=" + (let_in ? outer : "2001:db8::/32"));
            tx s(ipc_receiver_url(r));
            ipc_message m;
            int got = 0;
            CHECK(eventually([&] {
                s.send(7, 10, 0);
                got = r.receive(m, briefly);
                return got == IPC_MESSAGE || r.stats().refused + r.stats().foreign != 0;
            }));
            CHECK((got == IPC_MESSAGE) == let_in);
            if (got == IPC_MESSAGE) r.release(m);
        }
        return;
    }
    rx r(e.receiver);
    if (T::says.may_connect == who::holder) {
        close(std::stoi(e.sender.substr(5)));
        CHECK(try_sender(e.sender).code == -EINVAL);
        return;
    }
    struct stat s;
    REQUIRE(stat((T::says.many_receivers ? test.folder() : path).c_str(), &s) == 0);
    CHECK(s.st_uid == geteuid());
    CHECK((s.st_mode & 077) == 0);
}

TEST_CASE_TEMPLATE("promised: what waits survives the receiver's restart", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    ipc_message m;
    std::uint64_t sent = 0;
    tx s = [&] {
        rx first(e.receiver);
        tx opened(e.sender);
        REQUIRE(opened.send(sent++, 1000) == 0);
        REQUIRE(next(first, opened, m) == IPC_MESSAGE);
        first.release(m);
        // More than lies between the two; udp takes any number.
        while (sent < 20'000 && opened.send(sent, 1000, 20'000'000) == 0) ++sent;
        return opened;
    }();
    if (is_inherited(e.receiver)) {
        CHECK(T::says.waiting == survives::nothing);
        CHECK(eventually([&] { return s.send(0, 10, 0) == -EPIPE; }));
        return;
    }
    rx second(e.receiver);
    if (T::says.waiting == survives::nothing) {
        CHECK(second.receive(m, 50'000'000) == -ETIMEDOUT);
        return;
    }
    REQUIRE(next(second, s, m) == IPC_MESSAGE);
    std::uint64_t from = m.tag, got = 1;
    second.release(m);
    for (; from + got < sent; ++got) {
        REQUIRE(next(second, s, m) == IPC_MESSAGE);
        REQUIRE(m.tag == from + got);
        second.release(m);
    }
    CHECK(second.receive(m, briefly) == -ETIMEDOUT);
    // One was released.
    CHECK((got == sent - 1) == (T::says.waiting == survives::all));
    CHECK((second.stats().lost == sent - 1 - got) == (T::says.waiting != survives::unsent));
    CHECK((s.stats().lost == sent - 1 - got) == (T::says.waiting != survives::unsent));
}

TEST_CASE_TEMPLATE("promised: zero-copy", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx r(e.receiver);
    tx s(e.sender);
    void *room;
    REQUIRE(ipc_sender_reserve(s, 100, &room, limit_ns) == 0);
    auto *written = static_cast<volatile unsigned char *>(room);
    written[0] = 1;
    REQUIRE(ipc_sender_commit(s, 100, 0) == 0);
    ipc_message m;
    REQUIRE(next(r, s, m) == IPC_MESSAGE);
    auto *read = static_cast<const volatile unsigned char *>(m.data);
    CHECK(read[0] == 1);
    written[0] = 2;  // nobody should; here it shows whether the two are the same memory
    CHECK(read[0] == (T::says.zero_copy ? 2 : 1));
    r.release(m);
}

TEST_CASE_TEMPLATE("promised: a message is at most", T, EACH) {
    for (std::uint64_t capacity : {1 << 20, 128 << 20}) {
        CAPTURE(capacity);
        scratch test;
        ends e = ends_of<T>(test.folder());
        rx r(e.receiver + (T::says.many_receivers ? "" : "?capacity=128MiB"));  // of shm:// it is the sender's alone
        tx s(e.sender + "?capacity=" + std::to_string(capacity));
        std::uint64_t most = std::min(T::says.most, capacity / 2);
        void *room;
        CHECK(ipc_sender_reserve(s, most + 1, &room, 0) == -EMSGSIZE);
        CHECK(ipc_sender_reserve(s, most, &room, 0) == 0);
    }
}

TEST_CASE_TEMPLATE("promised: flush waits for", T, EACH) {
    scratch test;
    ends e = ends_of<T>(test.folder());
    rx r(e.receiver);
    tx s(e.sender);
    REQUIRE(s.send(1) == 0);
    ipc_message m;
    REQUIRE(next(r, s, m) == IPC_MESSAGE);
    CHECK(ipc_sender_flush(s, 20'000'000) == (T::says.flush_waits_for_release ? 1 : 0));
    r.release(m);
}

// ---- The table -----------------------------------------------------------------------------------------------------

namespace {

using cells = std::map<std::string, std::string>;

cells words_for(const promised &p) {
    const char *kept[] = {"all unreleased", "what is not in the pipe yet",
                          "what is not on the way; the rest is counted", "no"};
    const char *people[] = {"this user", "who has the descriptor", "loopback, or `allow=`"};
    return {
        {"receivers per channel", p.many_receivers ? "any" : "one"},
        {"senders per channel", p.many_senders ? "any" : "one"},
        {"lossless", p.lossless ? "yes" : "no, counted"},
        {"ordered", p.ordered ? "yes" : "no, marked"},
        {"between machines", p.between_machines ? "yes" : "no"},
        {"what waits survives the receiver's restart", kept[static_cast<int>(p.waiting)]},
        {"zero-copy", p.zero_copy ? "yes" : "no"},
        {"a message is at most", p.most == half_the_ring           ? "half the ring"
                                 : p.most == half_the_largest_ring ? "half the largest ring"
                                 : p.most == 32 << 20              ? "half the ring, 32 MiB"
                                 : p.most == 65'443                ? "65,443 bytes"
                                                                   : "?"},
        {"a slow receiver", p.lossless ? "holds the sender up" : "loses"},
        {"`flush` waits for", p.flush_waits_for_release ? "the release" : "the system"},
        {"who may connect", people[static_cast<int>(p.may_connect)]},
    };
}

std::vector<std::string> split(const std::string &line) {
    std::vector<std::string> found;
    std::istringstream rest(line.substr(1));
    for (std::string cell; std::getline(rest, cell, '|');) {
        std::size_t from = cell.find_first_not_of(' '), to = cell.find_last_not_of(' ');
        found.push_back(from == cell.npos ? "" : cell.substr(from, to - from + 1));
    }
    return found;
}

}  // namespace

TEST_CASE("the table of transports in README.md says what the tests above have shown") {
    std::map<std::string, cells> right{{"`shm://name`", words_for(by_shm::says)},
                                       {"`pipe:///path`", words_for(by_pipe::says)},
                                       {"`fd://N`", {}},
                                       {"`unix:///path`", words_for(by_unix::says)},
                                       {"`tcp://host:port`", words_for(by_tcp::says)},
                                       {"`udp://host:port`", words_for(by_udp::says)}};
    cells inherited_pipe = words_for(by_inherited_pipe::says);
    for (auto &[row, socket] : words_for(by_inherited_socket::says)) {
        const std::string &pipe = inherited_pipe.at(row);
        right.at("`fd://N`")[row] = pipe == socket ? pipe : "pipe: " + pipe + "; socket: " + socket;
    }
    std::ifstream readme(LIBIPC_README);
    std::vector<std::string> columns;
    std::size_t rows = 0;
    for (std::string line; std::getline(readme, line);) {
        if (line.starts_with("| | `shm://name`")) columns = split(line);
        if (columns.empty() || line.starts_with("| | ") || line.starts_with("| --- ")) continue;
        if (!line.starts_with("| ")) break;
        std::vector<std::string> row = split(line);
        CAPTURE(line);
        REQUIRE(row.size() == columns.size());
        for (std::size_t i = 1; i < row.size(); ++i) {
            CAPTURE(columns[i]);
            REQUIRE(right.at(columns[i]).count(row[0]) == 1);
            CHECK(row[i] == right.at(columns[i]).at(row[0]));
        }
        ++rows;
    }
    CHECK(columns.size() == 1 + right.size());
    CHECK(rows == inherited_pipe.size());
}
