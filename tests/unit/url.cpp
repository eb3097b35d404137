// What a URL is taken apart into. How a wrong one is refused, and in which words, is seen from outside:
// tests/process/bad_urls.cpp.
#include "handle/url.hpp"

#include <doctest/doctest.h>
#include <ipc/ipc.h>

#include <cerrno>

#include "memory/layout.hpp"
#include "memory/limits.hpp"
#include "system/failure.hpp"

using namespace libipc;

namespace {

std::int32_t code_of(std::string_view url, bool sender) {
    try {
        parse_url(url, sender);
        return 0;
    } catch (const failure &f) {
        CHECK_FALSE(f.words.empty());
        return f.code;
    }
}

}  // namespace

TEST_CASE("a URL without options has a name and nothing else") {
    for (bool sender : {false, true})
        for (const char *url : {"shm://camera", "shm://camera?"}) {
            endpoint e = parse_url(url, sender);
            CHECK(e.url == "shm://camera");
            CHECK(e.name == "camera");
            CHECK_FALSE(e.capacity);
            CHECK_FALSE(e.from);
            CHECK_FALSE(e.overflow);
        }
}

TEST_CASE("options are read, the last of several counts, and the URL is kept without them") {
    endpoint s = parse_url("shm://a.b_c-9?capacity=2MiB", true);
    CHECK(s.url == "shm://a.b_c-9");
    CHECK(s.name == "a.b_c-9");
    CHECK(s.capacity == 2 << 20);
    CHECK_FALSE(s.from);
    CHECK(parse_url("shm://c?capacity=2MiB&capacity=1MiB", true).capacity == 1 << 20);
    endpoint r = parse_url("shm://c?overflow=block&from=latest", false);
    CHECK(r.overflow == IPC_OVERFLOW_BLOCK);
    CHECK(r.from == IPC_FROM_LATEST);
    CHECK_FALSE(r.capacity);
    CHECK(parse_url("shm://c?from=oldest", false).from == IPC_FROM_OLDEST);
}

TEST_CASE("a size is a number of bytes, or of a unit that is a power of 1,024") {
    auto size = [](const std::string &text) { return *parse_url("shm://c?capacity=" + text, true).capacity; };
    CHECK(size("65536") == 65536);
    CHECK(size("65536B") == 65536);
    CHECK(size("64KiB") == 65536);
    CHECK(size("3MiB") == 3 << 20);
    if (most_ring_capacity() >= 1 << 30) CHECK(size("1GiB") == 1 << 30);
    for (const char *wrong : {"", "B", "MiB", "-65536", "+65536", " 65536", "65536 ", "1e6", "0x10000", "64kiB", "64KB",
                              "64K", "1.5MiB", "64KiBs", "18446744073709551616", "17179869184GiB", "16777216TiB"})
        CHECK_MESSAGE(code_of(std::string("shm://c?capacity=") + wrong, true) == -EINVAL, wrong);
}

TEST_CASE("the code of a refusal tells what this version lacks from what no version has") {
    for (bool sender : {false, true}) {
        CHECK(code_of("", sender) == -EINVAL);
        CHECK(code_of("camera", sender) == -EINVAL);
        CHECK(code_of("shm:camera", sender) == -EINVAL);
        CHECK(code_of("://camera", sender) == -EPROTONOSUPPORT);
        CHECK(code_of("SHM://camera", sender) == -EPROTONOSUPPORT);
        CHECK(code_of("http://camera", sender) == -EPROTONOSUPPORT);
        for (const char *stream : {"pipe:///x", "fd://3", "unix:///x", "tcp://h:1", "udp://h:1"})
            CHECK(code_of(stream, sender) == 0);
        CHECK(code_of("nats://h", sender) == -EOPNOTSUPP);
        CHECK(code_of("shm://", sender) == -EINVAL);
        CHECK(code_of("shm://?", sender) == -EINVAL);
        CHECK(code_of("shm://a/b", sender) == -EINVAL);
        CHECK(code_of(std::string_view("shm://a\0b", 9), sender) == -EINVAL);
        CHECK(code_of("shm://" + std::string(64, 'x'), sender) == 0);
        CHECK(code_of("shm://" + std::string(65, 'x'), sender) == -EINVAL);
        CHECK(code_of("shm://c?color=red", sender) == -EINVAL);
        CHECK(code_of("shm://c?&", sender) == -EINVAL);
    }
    CHECK(code_of("shm://c?overflow=drop-oldest", false) == -EOPNOTSUPP);
    CHECK(code_of("shm://c?overflow=drop-newest", false) == -EOPNOTSUPP);
    CHECK(code_of("shm://c?overflow=drop", false) == -EINVAL);
    CHECK(code_of("shm://c?from=newest", false) == -EINVAL);
    CHECK(code_of("shm://c?from", false) == -EINVAL);
    CHECK(code_of("shm://c?from=latest", true) == -EINVAL);
    CHECK(code_of("shm://c?capacity=1MiB", false) == -EINVAL);
}

TEST_CASE("a capacity within the limits becomes one of whole pages, as the limits are themselves") {
    auto code = [](std::uint64_t capacity) {
        try {
            std::uint64_t whole = whole_capacity(capacity);
            CHECK(whole - capacity < 4096);
            return 0;
        } catch (const failure &f) {
            return f.code;
        }
    };
    CHECK(code(0) == -EINVAL);
    CHECK(code(layout::least_capacity - 4096) == -EINVAL);
    CHECK(code(layout::least_capacity) == 0);
    CHECK(code(layout::least_capacity + 1) == 0);
    CHECK(whole_capacity(layout::least_capacity + 1) == layout::least_capacity + 4096);
    CHECK(whole_capacity(most_ring_capacity() - 1) == most_ring_capacity());
    CHECK(code(layout::least_capacity + 4096) == 0);
    CHECK(code(layout::default_capacity) == 0);
    CHECK(code(most_ring_capacity()) == 0);
    CHECK(code(most_ring_capacity() + 4096) == -EINVAL);
    CHECK(code(~std::uint64_t{0}) == -EINVAL);
    CHECK(most_ring_capacity() <= layout::most_capacity);
}
