#include "address.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "system/failure.hpp"
#include "system/os.hpp"

namespace libipc::stream {

namespace {

bool parse_numeric(std::string_view text, std::uint16_t port, address &out) {
    out = {};
    std::string host(text);
    auto &v4 = reinterpret_cast<sockaddr_in &>(out.storage);
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        out.size = sizeof v4;
        return true;
    }
    auto &v6 = reinterpret_cast<sockaddr_in6 &>(out.storage);
    std::size_t percent = host.find('%');  // fe80::1%eth0
    if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) return false;
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (percent != host.npos) {
        v6.sin6_scope_id = if_nametoindex(host.c_str() + percent + 1);
        if (v6.sin6_scope_id == 0)
            fail(-EINVAL, "this machine has no network interface `{}`", host.substr(percent + 1));
    }
    out.size = sizeof v6;
    return true;
}

// Takes a word off the front of a line; empty at its end.
std::string_view next_word(std::string_view &line) {
    constexpr const char *blank = " \t\r";
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
    std::string_view word = line.substr(0, line.find_first_of(blank));
    line.remove_prefix(word.size());
    return word;
}

// The first address of that name in /etc/hosts. Without streams of the standard library: with them come objects that
// are made when the library is loaded and taken apart at exit.
bool look_up(std::string_view name, std::uint16_t port, address &out) {
    std::string hosts = read_file("/etc/hosts");
    for (std::string_view rest = hosts; !rest.empty();) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        line = line.substr(0, line.find('#'));
        std::string_view number = next_word(line);
        for (std::string_view alias = next_word(line); !alias.empty(); alias = next_word(line))
            if (alias.size() == name.size() && strncasecmp(alias.data(), name.data(), name.size()) == 0 &&
                parse_numeric(number, port, out))
                return true;
    }
    return false;
}

// IPv4 within IPv6, so that there is one kind of address.
void to_sixteen(const address &a, unsigned char *out) {
    if (a.family() == AF_INET6) {
        std::memcpy(out, &reinterpret_cast<const sockaddr_in6 &>(a.storage).sin6_addr, 16);
        return;
    }
    std::memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    std::memcpy(out + 12, &reinterpret_cast<const sockaddr_in &>(a.storage).sin_addr, 4);
}

bool starts_equal(const unsigned char *a, const unsigned char *b, unsigned bits) {
    if (std::memcmp(a, b, bits / 8) != 0) return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

template <class Get>
address ask_socket(int socket, Get get) {
    address a;
    a.size = sizeof a.storage;
    if (get(socket, a.get(), &a.size) != 0) a = {};
    return a;
}

}  // namespace

bool address::is_loopback() const {
    unsigned char bytes[16];
    to_sixteen(*this, bytes);
    static constexpr unsigned char v4[13] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
    static constexpr unsigned char v6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return std::memcmp(bytes, v4, sizeof v4) == 0 || std::memcmp(bytes, v6, sizeof v6) == 0;
}

bool address::is_multicast() const {
    unsigned char bytes[16];
    to_sixteen(*this, bytes);
    return family() == AF_INET6 ? bytes[0] == 0xff : bytes[12] >> 4 == 0xe;
}

std::uint16_t address::port() const {
    return ntohs(family() == AF_INET6 ? reinterpret_cast<const sockaddr_in6 &>(storage).sin6_port
                                      : reinterpret_cast<const sockaddr_in &>(storage).sin_port);
}

std::string address::words() const {
    char text[INET6_ADDRSTRLEN] = "?";
    if (family() == AF_INET6) {
        inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6 &>(storage).sin6_addr, text, sizeof text);
        return fmt::format("[{}]:{}", text, port());
    }
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in &>(storage).sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, port());
}

bool address::operator==(const address &other) const {
    unsigned char a[16], b[16];
    to_sixteen(*this, a);
    to_sixteen(other, b);
    return port() == other.port() && std::memcmp(a, b, 16) == 0;
}

std::uint64_t address::as_id() const {
    unsigned char bytes[16];
    to_sixteen(*this, bytes);
    std::uint64_t halves[2];
    std::memcpy(halves, bytes, sizeof halves);
    std::uint64_t id = halves[0] * 0x9e3779b97f4a7c15 ^ (halves[1] + port()) * 0xd6e8feb86659fd93;
    return id ? id : 1;
}

address resolve(const any_endpoint &e) {
    address a;
    std::string_view host = e.host;
    if (host.empty() || host == "localhost")
        host = "127.0.0.1";
    else if (host == "*")
        host = "::";  // IPv4 too
    if (parse_numeric(host, e.port, a) || look_up(host, e.port, a)) {
        if (a.is_multicast())
            fail(-EOPNOTSUPP,
                 "{} is the address of a multicast group, and this version of libipc joins none; send to each receiver "
                 "by itself",
                 a.words());
        return a;
    }
    fail(-EINVAL,
         "`{}` is no address, and not in /etc/hosts; write the address in numbers (getent hosts {} tells it), or add "
         "the "
         "name to /etc/hosts",
         host, host);
}

allowed::allowed(const any_endpoint &e, const address &bound) {
    if (e.allow.empty() && !bound.is_loopback())
        fail(-EINVAL,
             "{} can be reached from other machines, and nothing says who may talk to it; add "
             "?allow=10.1.0.0/16 (or 0.0.0.0/0,::/0 for all the world), or listen on 127.0.0.1",
             bound.words());
    for (const std::string &text : e.allow) {
        std::size_t slash = text.find('/');
        address a;
        if (!parse_numeric(text.substr(0, slash), 0, a))
            fail(-EINVAL, "allow: `{}` is no block of addresses; write 10.1.0.0/16 or fd00::/8", text);
        unsigned most = a.family() == AF_INET ? 32 : 128, bits = most;
        if (slash != text.npos) {
            const char *from = text.data() + slash + 1, *to = text.data() + text.size();
            auto [end, error] = std::from_chars(from, to, bits);
            if (error != std::errc() || end != to || bits > most)
                fail(-EINVAL, "allow: `{}` ends with no number of bits from 0 to {}", text, most);
        }
        block b{};
        to_sixteen(a, b.bytes);
        b.bits = bits + (128 - most);
        blocks_.push_back(b);
    }
}

bool allowed::has(const address &peer) const {
    if (peer.is_loopback()) return true;
    unsigned char bytes[16];
    to_sixteen(peer, bytes);
    for (const block &b : blocks_)
        if (starts_equal(bytes, b.bytes, b.bits)) return true;
    return false;
}

address name_of_socket(int socket) { return ask_socket(socket, getsockname); }
address peer_of_socket(int socket) { return ask_socket(socket, getpeername); }

void set_option(int socket, int level, int option, int value) {
    setsockopt(socket, level, option, &value, sizeof value);
}

void fail_to_have(const address &wanted, const char *protocol, const char *attempt, int error) {
    if (error == EADDRINUSE)
        fail(-error,
             "{} is in use, by another receiver or another program (ss -l{}np shows which); end that one, or take "
             "another port",
             wanted.words(), protocol[0]);
    if (error == EADDRNOTAVAIL)
        fail(-error, "{} is no address of this machine (ip addr shows which it has)", wanted.words());
    if (error == EACCES) fail(-error, "port {} is for root alone; take one from 1024 on", wanted.port());
    fail(-error, "cannot {} {}: {}", attempt, wanted.words(), errno_words(error));
}

std::string url_of(const char *protocol, const any_endpoint &e, std::uint16_t port) {
    bool v6 = e.host.find(':') != e.host.npos;
    return fmt::format("{}://{}{}{}:{}", protocol, v6 ? "[" : "", e.host, v6 ? "]" : "", port);
}

}  // namespace libipc::stream
