// Endpoint URLs: shm://name?option=value&..., and those of the streams: pipe:///path fd://N unix:///path
// tcp://host:port udp://host:port.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace libipc {

enum class transport { shm, pipe, fd, unix_socket, tcp, udp };

struct endpoint {
    std::string url;   // as given, without the options
    std::string name;  // of the channel
    std::optional<std::uint64_t> capacity;
    std::optional<std::uint64_t> max_capacity;
    std::optional<std::int32_t> from;
    std::optional<std::int32_t> overflow;
    template <class Archive>
    void hand_over(Archive &a) {
        a(url, name, capacity, max_capacity, from, overflow);
    }
};

// What a URL says in all. Apart from endpoint, which lies in front of what each call on shared memory touches.
struct any_endpoint : endpoint {
    transport scheme = transport::shm;
    std::string path;                // pipe, unix
    int descriptor = -1;             // fd
    std::string host;                // tcp, udp; empty: loopback
    std::uint16_t port = 0;          // tcp, udp; 0 (receivers only): any free one
    std::vector<std::string> allow;  // tcp, udp: blocks of addresses, as written
    bool raw = false;                // no framing: bytes as they come
    template <class Archive>
    void hand_over(Archive &a) {
        endpoint::hand_over(a);
        a(scheme, path, descriptor, host, port, allow, raw);
    }
};

// Throws failure in words that say which part is wrong and what it may be. Options of the other role are refused.
any_endpoint parse_url(std::string_view url, bool sender);

// A capacity, or a max_capacity, in whole pages. Throws failure where it is beyond the limits.
std::uint64_t whole_capacity(std::uint64_t capacity, std::string_view option = "capacity");

// Of a sender: the ring that it starts with, and goes back to, and the largest.
struct ring_sizes {
    std::uint64_t first = 0, most = 0;
    // A message takes at most half of its ring.
    std::uint64_t largest_in_first() const { return first / 2; }
    std::uint64_t largest() const { return most / 2; }
};
// For what was asked for, if anything. Throws failure.
ring_sizes sizes_for(std::optional<std::uint64_t> capacity, std::optional<std::uint64_t> max_capacity);

}  // namespace libipc
