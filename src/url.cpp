#include "url.hpp"

#include <ipc/ipc.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "failure.hpp"
#include "layout.hpp"
#include "memory.hpp"

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

std::uint64_t parse_size(std::string_view text) {
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
        fail(-EINVAL, "{} is not a size; write bytes, or a number with KiB, MiB or GiB, as in capacity=64MiB",
             quoted(fmt::format("capacity={}", text)));
    return n << shift;
}

}  // namespace

void check_capacity(std::uint64_t capacity) {
    auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    if (capacity < layout::least_capacity)
        fail(-EINVAL, "a capacity of {} bytes is too small; the least is {} KiB", capacity,
             layout::least_capacity >> 10);
    if (capacity > most_ring_capacity())
        fail(-EINVAL,
             "a capacity of {} bytes is too large; the most on this machine is {} MiB (a quarter of its memory, and "
             "never "
             "more than 64 GiB)",
             capacity, most_ring_capacity() >> 20);
    if (capacity % page != 0)
        fail(-EINVAL, "a capacity of {} bytes is not a multiple of the page, which has {} bytes; {} is", capacity, page,
             layout::round_up(capacity, page));
}

endpoint parse_url(std::string_view url, bool sender) {
    std::size_t colon = url.find("://");
    if (colon == url.npos) fail(-EINVAL, "not a URL: it has no `://`; write shm://camera");
    std::string_view scheme = url.substr(0, colon), rest = url.substr(colon + 3);
    if (scheme != "shm") {
        for (std::string_view later : {"pipe", "fd", "unix", "tcp", "udp", "nats"})
            if (scheme == later) fail(-EOPNOTSUPP, "this version of libipc has no {}:// yet; it has shm://", scheme);
        fail(-EPROTONOSUPPORT, "the scheme {} is unknown; write shm://camera", quoted(scheme));
    }
    std::size_t question = rest.find('?');
    std::string_view name = rest.substr(0, question);
    check_name(name);
    endpoint e{std::string(url.substr(0, colon + 3 + name.size())), std::string(name), {}, {}, {}};

    std::string_view options = question == rest.npos ? std::string_view() : rest.substr(question + 1);
    while (!options.empty()) {
        std::size_t end = options.find('&');
        std::string_view option = options.substr(0, end);
        options = end == options.npos ? std::string_view() : options.substr(end + 1);
        std::size_t equals = option.find('=');
        std::string_view key = option.substr(0, equals);
        std::string_view value = equals == option.npos ? std::string_view() : option.substr(equals + 1);
        if (key == "capacity" && sender) {
            e.capacity = parse_size(value);
            check_capacity(*e.capacity);
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
        } else if (key == "capacity" || key == "from" || key == "overflow") {
            fail(-EINVAL, "the option `{}` is for a {}; leave it out here", key, sender ? "receiver" : "sender");
        } else if (option.empty()) {
            fail(-EINVAL, "an option is empty; options look like ?from=oldest&overflow=block");
        } else {
            fail(-EINVAL, "the option {} is unknown; a sender has capacity, a receiver has from and overflow",
                 quoted(key));
        }
    }
    return e;
}

}  // namespace libipc
