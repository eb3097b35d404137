// What speaks to a receiver or a sender of streams without the library: connections, and frames as framing.hpp has
// them.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "../chunk_check.hpp"
#include "support.hpp"

// Of a URL with an IPv4 address and a port.
inline sockaddr_in internet_address(const std::string &url) {
    std::size_t host = url.find("//") + 2, port = url.rfind(':');
    sockaddr_in a{};
    a.sin_family = AF_INET;
    REQUIRE(inet_pton(AF_INET, url.substr(host, port - host).c_str(), &a.sin_addr) == 1);
    a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(port + 1))));
    return a;
}

// Where a unix, tcp or udp endpoint is.
struct bare_address {
    explicit bare_address(const std::string &url) {
        if (url.starts_with("unix://")) {
            local.sun_family = AF_UNIX;
            url.copy(local.sun_path, sizeof local.sun_path - 1, 7);
        } else {
            size = sizeof internet;
            internet = internet_address(url);
        }
    }
    int family() const { return get()->sa_family; }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&local); }
    union {
        sockaddr_un local{};
        sockaddr_in internet;
    };
    socklen_t size = sizeof local;
};

// A connection to a receiver, as a stranger makes it; -1 if nobody listens.
inline int try_connect_bare(const std::string &url) {
    bare_address a(url);
    int s = socket(a.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s >= 0 && connect(s, a.get(), a.size) != 0) close(std::exchange(s, -1));
    return s;
}
inline int connect_bare(const std::string &url) {
    int s = try_connect_bare(url);
    REQUIRE(s >= 0);
    return s;
}

// A socket that takes in connections there, or datagrams, without waiting.
inline int listen_bare(const std::string &url, int type = SOCK_STREAM) {
    bare_address a(url);
    int s = socket(a.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
    if (type == SOCK_STREAM) setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    REQUIRE(bind(s, a.get(), a.size) == 0);
    if (type == SOCK_STREAM) REQUIRE(listen(s, 10) == 0);
    return s;
}

// What the peer says, as far as it comes in time.
inline std::string read_exactly(int from, std::size_t count) {
    std::string got;
    while (got.size() < count) {
        char bytes[4096];
        pollfd p{from, POLLIN, 0};
        if (poll(&p, 1, static_cast<int>(limit_ns / 1'000'000)) != 1) break;
        ssize_t n = recv(from, bytes, std::min(sizeof bytes, count - got.size()), 0);
        if (n <= 0) break;
        got.append(bytes, static_cast<std::size_t>(n));
    }
    return got;
}

inline std::string frame(unsigned char kind, std::uint64_t size, std::uint64_t tag, std::uint64_t sequence) {
    std::string f(32, '\0');
    std::memcpy(f.data(), "ipcf\2", 5);
    f[5] = static_cast<char>(kind);
    std::memcpy(&f[8], &size, 8);
    std::memcpy(&f[16], &tag, 8);
    std::memcpy(&f[24], &sequence, 8);
    return f;
}

inline constexpr std::size_t hello_bytes = 32 + 56;
inline std::string hello(std::uint64_t id = 77, std::uint64_t capacity = 1 << 20, std::uint64_t next = 1) {
    std::uint64_t words[7] = {id, capacity};
    return frame(3, sizeof words, 0, next) + std::string(reinterpret_cast<char *>(words), sizeof words);
}

// A chunk as chunks.hpp has it, of a process in a pid namespace that nobody knows.
inline std::string bare_chunk(std::uint64_t sender, std::uint64_t sequence, const std::string &payload) {
    struct {
        char magic[4] = {'i', 'p', 'c', 'c'};
        std::uint8_t version = 2, kind = 1;
        std::uint16_t bytes;
        std::uint64_t sender, sequence, tag, size, offset = 0;
        std::uint32_t pid = 1, pid_namespace = 1, check = 0, zero = 0;
    } c;
    static_assert(sizeof c == 64);
    c.bytes = static_cast<std::uint16_t>(payload.size());
    c.sender = sender;
    c.sequence = c.tag = sequence;
    c.size = payload.size();
    c.check = chunk_check(&c);
    return std::string(reinterpret_cast<const char *>(&c), sizeof c) + payload;
}
