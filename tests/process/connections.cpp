// What is special to connections, unix:// and tcp://: their addresses and options, and how bytes become messages.
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "bare.hpp"
#include "refusal.hpp"
#include "transports.hpp"

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
