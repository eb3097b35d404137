// Whoever comes from outside, in whatever number, neither exhausts a receiver of a pipe or socket, nor makes it slower
// afterwards. LIBIPC_ALL=1 in the environment brings more of them.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "bare.hpp"
#include "lowered_limit.hpp"
#include "refusal.hpp"
#include "transports.hpp"

namespace {

std::uint64_t many(std::uint64_t sample, std::uint64_t whole) { return std::getenv("LIBIPC_ALL") ? whole : sample; }

// Of a receive that finds nothing: CPU time, at the best of many times, as other programs run on this machine.
std::int64_t empty_receive_ns(rx &r) {
    constexpr int batch = 100;
    auto now = [] {
        timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return t.tv_sec * 1'000'000'000 + t.tv_nsec;
    };
    std::int64_t best = limit_ns;
    for (int i = 0; i < 50; ++i) {
        ipc_message m;
        std::int64_t start = now();
        for (int k = 0; k < batch; ++k) r.receive(m, 0);
        best = std::min<std::int64_t>(best, (now() - start) / batch);
    }
    return best;
}

void check_quick(rx &r) {
    if (SLOWER == 1) CHECK(empty_receive_ns(r) < 2'000);
}

// Takes all that is there; how many messages.
std::uint64_t drain(rx &r) {
    std::uint64_t n = 0;
    ipc_message m;
    for (int got; (got = r.receive(m, 0)) != -EAGAIN;)
        if (got == IPC_MESSAGE) {
            ++n;
            r.release(m);
        }
    return n;
}

}  // namespace

TEST_CASE_FIXTURE(scratch,
                  "datagrams of any number of made-up senders leave a receiver bounded, and as quick as before") {
    rx r("udp://127.0.0.1:0");
    std::string url = ipc_receiver_url(r);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in a = internet_address(url);
    REQUIRE(connect(s, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0);
    for (std::uint64_t i = 1; i <= many(10'000, 100'000); ++i) {
        std::string bytes = bare_chunk(i * 0x9e3779b97f4a7c15, 1, "x");
        send(s, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (i % 100 == 0) CHECK(r.stats().links <= 4096);
    }
    CHECK(drain(r) > 1000);
    CHECK(r.stats().links <= 1024);
    check_quick(r);
    tx known(url);
    REQUIRE(known.send(7) == 0);
    CHECK(r.read(2) == "died 7");
    close(s);
}

TEST_CASE_TEMPLATE("any number of short connections leaves a receiver bounded, and as quick as before", T,
                   CONNECTIONS) {
    scratch test;
    rx r(T::url(test.folder()));
    for (std::uint64_t i = 1; i <= many(6'000, 20'000); ++i) {
        int peer = connect_bare(ipc_receiver_url(r));
        std::string all = hello(i) + frame(2, 0, 0, 0);
        send(peer, all.data(), all.size(), MSG_NOSIGNAL);
        linger at_once{1, 0};  // a port of this machine's is free again at once
        r.stats();
        r.stats();
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer);
    }
    CHECK(r.stats().links <= 4096);
    CHECK(drain(r) == 0);
    CHECK(r.stats().links == 0);
    CHECK(r.stats().ends + r.stats().deaths == many(6'000, 20'000));
    check_quick(r);
}

TEST_CASE_TEMPLATE("what came over a cut connection is not given out again, however many others came between", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    auto say = [&](const std::string &bytes) {
        int peer = connect_bare(url);
        REQUIRE(send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
        return peer;
    };
    std::string payload(3, 0);
    fill(payload.data(), payload.size(), 1);
    std::string message = frame(1, payload.size(), 1, 1) + payload;
    int first = say(hello(77) + message);
    CHECK(r.take() == 1);
    close(first);
    CHECK(r.read(1) == "died");
    std::uint64_t others = many(300, 17'000);
    for (std::uint64_t i = 1; i <= others; ++i) {
        int other = say(hello(1000 + i) + frame(2, 0, 0, 0));
        CHECK(r.read(1) == "end");
        close(other);
    }
    std::string again = hello(77);
    again[16] = 1;  // message 1 was sent before, and not answered
    int second = say(again + message + frame(2, 0, 0, 1));
    CHECK(r.read(1) == "end");
    // One that was forgotten is counted as lost: nobody knows.
    CHECK(r.stats().lost == (others > 16'384 ? 1 : 0));
    close(second);
}

TEST_CASE_TEMPLATE("peers that have said who they are, and no more, make room when all descriptors are taken", T,
                   CONNECTIONS) {
    scratch test;
    std::string url = T::url(test.folder());
    rx r(url);
    std::vector<int> idle;
    for (std::uint64_t i = 0; i < 20; ++i) {
        idle.push_back(connect_bare(url));
        std::string bytes = hello(100 + i);
        REQUIRE(send(idle.back(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    }
    CHECK(eventually([&] { return r.stats().links == 20; }));
    tx late(url);
    REQUIRE(late.send(2) == 0);
    few_fds few(0);
    CHECK(eventually([&] {
        ipc_message m;
        late.stats();
        return r.receive(m, briefly) == IPC_MESSAGE && m.tag == 2 && r.release(m) == 0;
    }));
    for (int i : idle) close(i);
}

TEST_CASE_FIXTURE(scratch, "more writers than a FIFO's receiver can watch die unseen, and it takes the next one") {
    std::string path = folder() + "/fifo", url = "pipe://" + path;
    rx r(url);
    int way = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    constexpr std::uint64_t writers = 1'100;
    for (std::uint64_t i = 1; i <= writers; ++i) {
        std::string bytes = bare_chunk(i, 1, "x");
        REQUIRE(write(way, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        CHECK(r.read(1) != "nothing");
    }
    drain(r);
    tx s(url);
    REQUIRE(s.send(1) == 0);
    CHECK(r.read(2) == "died 1");
    CHECK(r.stats().lost == 0);
    CHECK(r.stats().deaths >= writers - 1'024);
    close(way);
}

TEST_CASE_FIXTURE(scratch, "a writer that was forgotten among many comes again behind what it wrote before") {
    std::string path = folder() + "/fifo", url = "pipe://" + path;
    rx r(url);
    int way = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    auto write_one = [&](std::uint64_t sender, std::uint64_t sequence) {
        std::string bytes = bare_chunk(sender, sequence, "x");
        REQUIRE(write(way, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        int left = 0;
        REQUIRE(eventually([&] { return r.stats().id != 0 && ioctl(way, FIONREAD, &left) == 0 && left == 0; }));
    };
    constexpr std::uint64_t many = 40, known = 1'024;  // more than a turn; of so many
    for (std::uint64_t n = 1; n <= many; ++n) write_one(5'000, n);
    for (std::uint64_t other = 1; other <= known; ++other) write_one(other, 1);
    write_one(5'000, many + 1);
    ipc_message m;
    std::uint64_t last = 0;
    bool died = false;
    for (int got; (got = r.receive(m, 0)) > 0;) {
        if (got == IPC_MESSAGE) r.release(m);
        if (m.sender != 5'000) continue;
        if (got == IPC_DIED) CHECK(last == many);
        died |= got == IPC_DIED;
        if (got == IPC_MESSAGE) CHECK(m.sequence == ++last);
    }
    CHECK(died);
    CHECK(last == many + 1);
    close(way);
}

TEST_CASE_FIXTURE(scratch, "a chunk that was cut short takes none of the next writer's bytes") {
    std::string path = folder() + "/fifo";
    rx r("pipe://" + path);
    int way = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    std::uint64_t id = 1;
    for (std::size_t cut : {0, 1, 100, 836, 837, 899})
        for (int others : {1, 2, 30}) {
            CAPTURE(cut);
            CAPTURE(others);
            std::string bytes = bare_chunk(++id, 1, std::string(900, 'a')).substr(0, 64 + cut);
            for (int i = 0; i < others; ++i) bytes += bare_chunk(++id, 1, "whole");
            REQUIRE(write(way, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
            for (int i = 0; i < others; ++i) {
                ipc_message m;
                REQUIRE(r.receive(m) == IPC_MESSAGE);
                CHECK(std::string(static_cast<const char *>(m.data), m.size) == "whole");
                r.release(m);
            }
        }
    close(way);
}

TEST_CASE_FIXTURE(scratch, "a folder that a stranger has locked holds no receiver up") {
    int locked = open(folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(flock(locked, LOCK_EX) == 0);
    CHECK(try_receiver("unix://" + folder() + "/socket").code == 0);
    close(locked);
}

TEST_CASE_FIXTURE(scratch, "the address of a multicast group is refused, in words") {
    for (std::string url : {"udp://239.1.2.3:4000", "udp://[ff02::1]:4000"}) {
        refusal r = try_receiver(url + "?allow=::/0"), s = try_sender(url);
        CHECK(r.code == -EOPNOTSUPP);
        CHECK(r.says("multicast"));
        CHECK(s.code == -EOPNOTSUPP);
        CHECK(s.says("multicast"));
    }
}
