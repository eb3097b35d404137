// Rings of a size that none can have, in the URL and in the options: refused in words that say what may be.
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "refusal.hpp"

static void refused_both_ways(std::uint64_t capacity, const std::string &part) {
    CAPTURE(capacity);
    ipc_sender_options options{sizeof options, capacity};
    refusal by_url = try_sender("shm://t?capacity=" + std::to_string(capacity)),
            by_options = try_sender("shm://t", &options);
    for (const refusal &s : {by_url, by_options}) {
        CAPTURE(s);
        CHECK(s.code == -EINVAL);
        CHECK(s.says(part));
        CHECK(s.says("capacity of " + std::to_string(capacity)));
    }
}

TEST_CASE_FIXTURE(scratch, "a capacity of 0 is refused in a URL, and means the default in the options") {
    refusal s = try_sender("shm://t?capacity=0");
    CAPTURE(s);
    CHECK(s.code == -EINVAL);
    CHECK(s.says("64 KiB"));
    ipc_sender_options options{sizeof options, 0};
    CHECK(tx("shm://t", &options).stats().capacity == 1 << 20);
    CHECK(tx("shm://t").stats().capacity == 1 << 20);
}

TEST_CASE_FIXTURE(scratch, "a capacity below the least is refused, and the least is taken") {
    for (std::uint64_t capacity : {1, 4096, 65535, 61440}) refused_both_ways(capacity, "the least is 64 KiB");
    CHECK(tx("shm://t?capacity=64KiB").stats().capacity == 65536);
}

TEST_CASE_FIXTURE(scratch, "a capacity that is no multiple of the page is refused, and the next one is named") {
    refused_both_ways(65537, "69632 is");
    refused_both_ways((1 << 20) - 1, "1048576 is");
    refused_both_ways((1 << 20) + 2048, "1052672 is");
}

TEST_CASE_FIXTURE(scratch, "a capacity that no machine has, or more than a quarter of this one's memory, is refused") {
    auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    std::uint64_t quarter = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * page / 4 / page * page;
    std::uint64_t most = std::min(quarter, std::uint64_t{64} << 30);
    for (std::uint64_t capacity : {most + page, std::uint64_t{1} << 40, std::uint64_t{1} << 63, ~std::uint64_t{0}})
        refused_both_ways(capacity, "the most on this machine is " + std::to_string(most >> 20) + " MiB");
    refusal s = try_sender("shm://t?capacity=1TiB");
    CHECK(s.code == -EINVAL);
    CHECK(s.says("1099511627776"));
}

TEST_CASE_FIXTURE(scratch, "a capacity that is no number, or has a unit that is none, is refused") {
    for (std::string value :
         {"", "x", "MiB", "-1", "+1048576", "1e6", "0x100000", " 1048576", "1048576 ", "1.5MiB", "1MB", "1M", "1mib",
          "1PiB", "99999999999999999999", "18446744073709551615KiB", "16777216TiB"}) {
        refusal s = try_sender("shm://t?capacity=" + value);
        CAPTURE(s);
        CHECK(s.code == -EINVAL);
        CHECK(s.says("`capacity=" + value + "`"));
        CHECK(s.says("capacity=64MiB"));
    }
}
