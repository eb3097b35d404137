#include "url.hpp"

#include <ipc/ipc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "memory/layout.hpp"
#include "memory/limits.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr std::string_view name_characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

void check_name(std::string_view name) {
    if (name.empty()) fail(-EINVAL, "the channel has no name; a URL looks like shm://camera");
    if (name.size() > 64) fail(-EINVAL, "the channel's name has {} characters; at most 64 are allowed", name.size());
    if (name.front() == '.') fail(-EINVAL, "the channel's name starts with a dot, which it may not");
    if (std::size_t bad = name.find_first_not_of(name_characters); bad != name.npos) {
        auto byte = static_cast<unsigned char>(name[bad]);
        fail(-EINVAL, "the channel's name has {} at place {}; allowed are A-Z a-z 0-9 . _ -",
             byte >= ' ' && byte < 0x7f ? quoted(name.substr(bad, 1)) : fmt::format("the byte 0x{:02x}", byte),
             bad + 1);
    }
}

std::uint64_t parse_size(std::string_view option, std::string_view text) {
    std::uint64_t n = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    int shift = unit.empty() || unit == "B" ? 0
                : unit == "KiB"             ? 10
                : unit == "MiB"             ? 20
                : unit == "GiB"             ? 30
                : unit == "TiB"             ? 40
                                            : -1;
    if (error != std::errc() || shift < 0 || n > (~std::uint64_t{0} >> shift))
        fail(-EINVAL, "{} is not a size; write bytes, or a number with KiB, MiB or GiB, as in {}=64MiB", quoted(option),
             option.substr(0, option.find('=')));
    return n << shift;
}

void check_path(std::string_view scheme, std::string_view path, std::size_t most) {
    if (path.empty() || path.front() != '/')
        fail(-EINVAL, "{} is not an absolute path; write {}:///path/to/it, with three slashes", quoted(path), scheme);
    if (path.size() > most) fail(-ENAMETOOLONG, "the path has {} bytes; at most {} are allowed", path.size(), most);
    if (path.back() == '/') fail(-EINVAL, "the path {} ends with a slash, and so names a directory", quoted(path));
    if (path.find('\0') != path.npos) fail(-EINVAL, "the path has a NUL character in it");
}

int parse_descriptor(std::string_view text) {
    int n = -1;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || n < 0)
        fail(-EINVAL, "{} is not the number of a descriptor; write fd://3", quoted(text));
    return n;
}

// host:port, [v6]:port, *:port or :port.
void parse_address(any_endpoint &e, std::string_view scheme, std::string_view text, bool sender) {
    std::size_t colon = text.rfind(':');
    if (colon == text.npos || text.substr(colon).find(']') != text.npos)
        fail(-EINVAL, "{} has no port; write {}://127.0.0.1:4000", quoted(text), scheme);
    std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
    if (host.starts_with('[')) {
        if (!host.ends_with(']'))
            fail(-EINVAL, "{} has a [ without its ]; write {}://[::1]:4000", quoted(text), scheme);
        host = host.substr(1, host.size() - 2);
        if (host.find(':') == host.npos)
            fail(-EINVAL, "{} is no IPv6 address, and only these stand in brackets", quoted(host));
    } else if (host.find(':') != host.npos) {
        fail(-EINVAL, "an IPv6 address stands in brackets: write {}://[::1]:4000", scheme);
    }
    unsigned n = 0;
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), n);
    if (port.empty() || error != std::errc() || end != port.data() + port.size() || n > 65535)
        fail(-EINVAL, "{} is not a port; ports are numbers from 1 to 65535{}", quoted(port),
             sender ? "" : ", or 0 for any that is free");
    if (n == 0 && sender)
        fail(-EINVAL, "port 0 means any free one, which only a receiver can take; name the port that it has got");
    if (host.find_first_of("/@ ") != host.npos || host.find('\0') != host.npos)
        fail(-EINVAL, "{} is not the name or address of a machine", quoted(host));
    e.host = host;
    e.port = static_cast<std::uint16_t>(n);
}

struct scheme_name {
    std::string_view name;
    transport scheme;
};
constexpr scheme_name schemes[] = {{"shm", transport::shm}, {"pipe", transport::pipe},        {"fd", transport::fd},
                                   {"tcp", transport::tcp}, {"unix", transport::unix_socket}, {"udp", transport::udp}};

constexpr std::size_t most_socket_path = 107;  // sun_path has 108 bytes, the last of them 0
constexpr std::size_t most_path = 4095;        // PATH_MAX, with its 0

void parse_option(any_endpoint &e, std::string_view option, bool sender) {
    std::size_t equals = option.find('=');
    std::string_view key = option.substr(0, equals);
    std::string_view value = equals == option.npos ? std::string_view() : option.substr(equals + 1);
    bool shm = e.scheme == transport::shm, net = e.scheme == transport::tcp || e.scheme == transport::udp;
    if (key == "capacity" && (sender || !shm)) {
        e.capacity = whole_capacity(parse_size(option, value));
    } else if (key == "max_capacity" && sender && shm) {
        e.max_capacity = whole_capacity(parse_size(option, value), key);
    } else if (key == "from" && !sender) {
        if (value == "oldest")
            e.from = IPC_FROM_OLDEST;
        else if (value == "latest")
            e.from = IPC_FROM_LATEST;
        else
            fail(-EINVAL, "{} is unknown; it is from=oldest or from=latest", quoted(option));
    } else if (key == "overflow" && !sender) {
        if (value == "block")
            e.overflow = IPC_OVERFLOW_BLOCK;
        else if (value == "drop-oldest" || value == "drop-newest")
            fail(-EOPNOTSUPP,
                 "overflow={} is not in this version of libipc yet; it has overflow=block, which loses "
                 "nothing",
                 value);
        else
            fail(-EINVAL, "{} is unknown; it is overflow=block", quoted(option));
    } else if (key == "framing" && !shm) {
        if (value != "raw" && value != "ipc")
            fail(-EINVAL, "{} is unknown; it is framing=ipc (the default) or framing=raw", quoted(option));
        e.raw = value == "raw";
    } else if (key == "allow" && net && !sender) {
        while (!value.empty()) {
            std::size_t comma = value.find(',');
            e.allow.emplace_back(value.substr(0, comma));
            value = comma == value.npos ? std::string_view() : value.substr(comma + 1);
        }
        if (e.allow.empty()) fail(-EINVAL, "allow= names nobody; write allow=10.1.0.0/16, or more of them with commas");
    } else if (key == "framing") {
        fail(-EINVAL, "the option `framing` is for pipe, fd, unix, tcp and udp; shared memory always has frames");
    } else if (key == "max_capacity" && sender) {
        fail(-EINVAL, "the option `max_capacity` is for shm: what grows is a ring in shared memory; write capacity={}",
             value);
    } else if (key == "allow" && !net) {
        fail(-EINVAL, "the option `allow` is for tcp and udp");
    } else if (key == "capacity" || key == "max_capacity" || key == "from" || key == "overflow" || key == "allow") {
        fail(-EINVAL, "the option `{}` is for a {}; leave it out here", key, sender ? "receiver" : "sender");
    } else if (option.empty()) {
        fail(-EINVAL, "an option is empty; options look like ?from=oldest&overflow=block");
    } else if (shm) {
        fail(-EINVAL,
             "the option {} is unknown; a sender has capacity and max_capacity, a receiver has from and overflow",
             quoted(key));
    } else {
        fail(-EINVAL, "the option {} is unknown; there are capacity, framing{}", quoted(key),
             net && !sender ? " and allow" : "");
    }
}

}  // namespace

std::uint64_t whole_capacity(std::uint64_t capacity, std::string_view option) {
    if (capacity < layout::least_capacity)
        fail(-EINVAL, "a {} of {} bytes is too small; the least is {} KiB", option, capacity,
             layout::least_capacity >> 10);
    if (capacity > most_ring_capacity())
        fail(-EINVAL,
             "a {} of {} bytes is too large; the most on this machine is {} MiB (a quarter of its memory, and never "
             "more than 64 GiB)",
             option, capacity, most_ring_capacity() >> 20);
    return layout::round_up(capacity, static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
}

ring_sizes sizes_for(std::optional<std::uint64_t> capacity, std::optional<std::uint64_t> max_capacity) {
    if (capacity && max_capacity && *capacity > *max_capacity)
        fail(-EINVAL,
             "a capacity of {} bytes is more than the max_capacity, which is {} bytes; leave one of them out, or let "
             "the "
             "ring grow from the smaller to the larger",
             *capacity, *max_capacity);
    std::uint64_t most = max_capacity ? *max_capacity : capacity ? *capacity : most_ring_capacity();
    return {capacity ? *capacity : std::min(layout::default_capacity, most), most};
}

any_endpoint parse_url(std::string_view url, bool sender) {
    std::size_t colon = url.find("://");
    if (colon == url.npos) fail(-EINVAL, "not a URL: it has no `://`; write shm://camera");
    std::string_view scheme = url.substr(0, colon), rest = url.substr(colon + 3);
    auto known = std::find_if(std::begin(schemes), std::end(schemes), [&](auto &s) { return s.name == scheme; });
    if (known == std::end(schemes)) {
        if (scheme == "nats")
            fail(-EOPNOTSUPP, "this version of libipc has no nats:// yet; it has shm, pipe, fd, unix, tcp and udp");
        fail(-EPROTONOSUPPORT, "the scheme {} is unknown; write shm://camera, or one of pipe, fd, unix, tcp, udp",
             quoted(scheme));
    }
    std::size_t question = rest.find('?');
    std::string_view name = rest.substr(0, question);
    any_endpoint e;
    e.scheme = known->scheme;
    e.url = url.substr(0, colon + 3 + name.size());
    e.name = name;
    switch (e.scheme) {
        case transport::shm:
            check_name(name);
            break;
        case transport::pipe:
        case transport::unix_socket:
            check_path(scheme, name, e.scheme == transport::pipe ? most_path : most_socket_path);
            e.path = name;
            break;
        case transport::fd:
            e.descriptor = parse_descriptor(name);
            break;
        case transport::tcp:
        case transport::udp:
            parse_address(e, scheme, name, sender);
            break;
    }

    std::string_view options = question == rest.npos ? std::string_view() : rest.substr(question + 1);
    while (!options.empty()) {
        std::size_t end = options.find('&');
        std::string_view option = options.substr(0, end);
        options = end == options.npos ? std::string_view() : options.substr(end + 1);
        parse_option(e, option, sender);
    }
    return e;
}

}  // namespace libipc
