// URLs of pipes and sockets that are none, and what may stand in the way of those that are: refused in words that say
// which part is wrong, and nothing is left behind.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "refusal.hpp"
#include "transports.hpp"

namespace {

void refused_sender(const std::string &url, int code, const std::string &part) {
    CAPTURE(url);
    refusal s = try_sender(url);
    CAPTURE(s);
    CHECK(s.code == code);
    CHECK(s.says(part));
}

void refused_receiver(const std::string &url, int code, const std::string &part) {
    CAPTURE(url);
    refusal r = try_receiver(url);
    CAPTURE(r);
    CHECK(r.code == code);
    CHECK(r.says(part));
}

void refused(const std::string &url, int code, const std::string &part) {
    refused_sender(url, code, part);
    refused_receiver(url, code, part);
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a path that is not absolute, or names a folder, is refused") {
    for (std::string scheme : {"unix", "pipe"}) {
        refused(scheme + "://", -EINVAL, "three slashes");
        refused(scheme + "://x/y", -EINVAL, "three slashes");
        refused(scheme + ":///tmp/", -EINVAL, "ends with a slash");
    }
}

TEST_CASE_FIXTURE(scratch, "a path too long for a socket is refused with the length that is allowed") {
    refused("unix:///" + std::string(107, 'x'), -ENAMETOOLONG, "at most 107");
    refused("pipe:///" + std::string(4095, 'x'), -ENAMETOOLONG, "at most 4095");
}

TEST_CASE_FIXTURE(scratch, "a path in a folder that is missing is refused") {
    for (std::string scheme : {"unix", "pipe"}) refused(scheme + "://" + folder() + "/no/such", -ENOENT, folder());
}

TEST_CASE_FIXTURE(scratch, "a path where something else stands is refused, and that stays") {
    std::string file = folder() + "/file";
    std::ofstream(file) << "mine";
    refused("unix://" + file, -EINVAL, "no socket");
    refused("pipe://" + file, -EINVAL, "no FIFO");
    std::string word;
    std::ifstream(file) >> word;
    CHECK(word == "mine");
    unlink(file.c_str());
}

TEST_CASE_FIXTURE(scratch, "a folder without permission is refused") {
    if (geteuid() == 0) return;  // root may do anything
    std::string closed = folder() + "/closed";
    mkdir(closed.c_str(), 0);
    for (std::string scheme : {"unix", "pipe"}) refused(scheme + "://" + closed + "/x", -EACCES, closed);
    rmdir(closed.c_str());
}

TEST_CASE_FIXTURE(scratch, "an address without a port, or with one out of range, is refused") {
    for (std::string scheme : {"tcp", "udp"}) {
        refused(scheme + "://", -EINVAL, "no port");
        refused(scheme + "://localhost", -EINVAL, "no port");
        refused(scheme + "://[::1]", -EINVAL, "no port");
        refused(scheme + "://localhost:", -EINVAL, "is not a port");
        refused(scheme + "://localhost:http", -EINVAL, "`http` is not a port");
        refused(scheme + "://localhost:65536", -EINVAL, "from 1 to 65535");
        refused(scheme + "://localhost:-1", -EINVAL, "`-1`");
        refused_sender(scheme + "://localhost:0", -EINVAL, "only a receiver");
        refused(scheme + "://::1:4000", -EINVAL, "in brackets");
        refused(scheme + "://[::1:4000", -EINVAL, "without its ]");
        refused(scheme + "://[localhost]:4000", -EINVAL, "no IPv6 address");
        refused(scheme + "://user@host:4000", -EINVAL, "`user@host`");
    }
}

TEST_CASE_FIXTURE(scratch, "a name that is not in /etc/hosts is refused, and the words say how to find its address") {
    for (std::string scheme : {"tcp", "udp"}) refused(scheme + "://no.such.host.invalid:4000", -EINVAL, "getent hosts");
}

TEST_CASE_FIXTURE(scratch, "an address of another machine is refused to a receiver") {
    for (std::string scheme : {"tcp", "udp"})
        refused_receiver(scheme + "://192.0.2.1:4000?allow=0.0.0.0/0", -EADDRNOTAVAIL, "no address of this machine");
}

TEST_CASE_FIXTURE(scratch, "who listens beyond loopback must say who may come") {
    for (std::string scheme : {"tcp", "udp"}) {
        refused_receiver(scheme + "://0.0.0.0:0", -EINVAL, "allow=");
        refused_receiver(scheme + "://*:0", -EINVAL, "allow=");
        refused_receiver(scheme + "://0.0.0.0:0?allow=", -EINVAL, "names nobody");
        refused_receiver(scheme + "://0.0.0.0:0?allow=10.0.0.0/33", -EINVAL, "from 0 to 32");
        refused_receiver(scheme + "://0.0.0.0:0?allow=fe80::/129", -EINVAL, "from 0 to 128");
        refused_receiver(scheme + "://0.0.0.0:0?allow=10.0.0.0/x", -EINVAL, "10.0.0.0/x");
        refused_receiver(scheme + "://0.0.0.0:0?allow=everybody", -EINVAL, "`everybody`");
        CHECK(try_receiver(scheme + "://0.0.0.0:0?allow=10.0.0.0/8,fd00::/8,192.168.1.7").code == 0);
        refused_sender(scheme + "://127.0.0.1:4000?allow=10.0.0.0/8", -EINVAL, "is for a receiver");
    }
}

TEST_CASE_FIXTURE(scratch, "a descriptor that is none, not open, of the wrong kind or the wrong end is refused") {
    refused("fd://", -EINVAL, "not the number");
    refused("fd://x", -EINVAL, "`x`");
    refused("fd://-1", -EINVAL, "`-1`");
    refused("fd://3x", -EINVAL, "`3x`");
    refused("fd://99999999999", -EINVAL, "not the number");
    // Also those that the handle would open for itself meanwhile.
    for (int number = 3; number < 60; ++number)
        if (fcntl(number, F_GETFD) < 0) refused("fd://" + std::to_string(number), -EINVAL, "not open");
    refused("fd://900", -EINVAL, "not open");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), ends[2], datagrams[2], lone = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams) == 0);
    refused("fd://" + std::to_string(null), -EINVAL, "neither a pipe nor a socket");
    refused("fd://" + std::to_string(lone), -EINVAL, "no connected stream socket");
    refused("fd://" + std::to_string(datagrams[0]), -EINVAL, "no connected stream socket");
    refused_sender("fd://" + std::to_string(ends[0]), -EINVAL, "for reading only");
    refused_receiver("fd://" + std::to_string(ends[1]), -EINVAL, "for writing only");
    for (int fd : {null, ends[0], ends[1], datagrams[0], datagrams[1], lone}) close(fd);
}

TEST_CASE_FIXTURE(scratch, "an option that a scheme does not have is refused") {
    refused("shm://x?framing=raw", -EINVAL, "framing");
    refused_receiver("shm://x?allow=10.0.0.0/8", -EINVAL, "for tcp and udp");
    refused_receiver("unix:///tmp/x?allow=10.0.0.0/8", -EINVAL, "for tcp and udp");
    refused("unix:///tmp/x?framing=json", -EINVAL, "framing=raw");
    refused("tcp://:4000?speed=high", -EINVAL, "`speed`");
    refused("unix:///tmp/x?capacity=1", -EINVAL, "too small");
    refused_receiver("unix:///tmp/x?from=latest", -EOPNOTSUPP, "shm://");
}
