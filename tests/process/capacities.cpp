// Rings of a size that none can have, in the URL and in the options: refused in words that say what may be.
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "refusal.hpp"

static void refused_both_ways(std::uint64_t capacity, const std::string &part) {
    CAPTURE(capacity);
    ipc_sender_options options{sizeof options, capacity, 0};
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
    ipc_sender_options options{sizeof options, 0, 0};
    CHECK(tx("shm://t", &options).stats().capacity == 1 << 20);
    CHECK(tx("shm://t").stats().capacity == 1 << 20);
}

TEST_CASE_FIXTURE(scratch, "a capacity below the least is refused, and the least is taken") {
    for (std::uint64_t capacity : {1, 4096, 65535, 61440}) refused_both_ways(capacity, "the least is 64 KiB");
    CHECK(tx("shm://t?capacity=64KiB").stats().capacity == 65536);
}

TEST_CASE_FIXTURE(scratch, "a capacity is rounded up to whole pages, and the sender says so") {
    ipc_sender_options options{sizeof options, 1'000'000, 0}, largest{sizeof largest, 0, 1'100'000};
    for (const tx &s : {tx("shm://t?capacity=1000000"), tx("shm://t", &options)}) {
        CHECK(s.stats().capacity == 1'003'520);
        CHECK(s.stats().largest == 501'760);
    }
    CHECK(tx("shm://t?max_capacity=1100000").stats().largest == 1'101'824 / 2);
    CHECK(tx("shm://t", &largest).stats().largest == 1'101'824 / 2);
    CHECK(tx("unix://" + folder() + "/s?capacity=1000000").stats().capacity >= 1'003'520);
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

TEST_CASE_FIXTURE(scratch, "sizes that contradict each other, or are of no use, are refused in words") {
    refusal s = try_sender("shm://t?capacity=1MiB&max_capacity=64KiB");
    CAPTURE(s);
    CHECK(s.code == -EINVAL);
    CHECK(s.says("capacity of 1048576 bytes is more than the max_capacity, which is 65536 bytes"));
    ipc_sender_options options{sizeof options, 1 << 20, 1 << 16};
    CHECK(try_sender("shm://t", &options).code == -EINVAL);
    for (std::string value : {"0", "65535", "1TiB", "x"}) {
        s = try_sender("shm://t?max_capacity=" + value);
        CAPTURE(s);
        CHECK(s.code == -EINVAL);
        CHECK(s.says("max_capacity"));
    }
    s = try_sender("tcp://127.0.0.1:4000?max_capacity=1MiB");
    CHECK(s.code == -EINVAL);
    CHECK(s.says("`max_capacity` is for shm"));
    options.capacity = 0;
    s = try_sender("tcp://127.0.0.1:4000", &options);
    CHECK(s.code == -EINVAL);
    CHECK(s.says("max_capacity is for shm"));
    s = try_receiver("shm://t?max_capacity=1MiB");
    CHECK(s.code == -EINVAL);
    CHECK(s.says("is for a sender"));
}

TEST_CASE_FIXTURE(scratch,
                  "a ring starts with 1 MiB, or with the most if that is less, and keeps a size that is given alone") {
    auto takes = [](const tx &s, std::uint64_t most) {
        void *room;
        return ipc_sender_reserve(s, most / 2, &room, 0) == 0 && ipc_sender_abort(s) == 0 &&
               ipc_sender_reserve(s, most / 2 + 1, &room, 0) == -EMSGSIZE;
    };
    ipc_sender_options options{sizeof options, 64 << 10, 128 << 10};
    tx both("shm://t", &options), small("shm://t?max_capacity=64KiB"), large("shm://t?max_capacity=4MiB"),
        fixed("shm://t?capacity=2MiB"), by_url("shm://t?capacity=128KiB", &options);
    CHECK(both.stats().capacity == 64 << 10);
    CHECK(takes(both, 128 << 10));
    CHECK(small.stats().capacity == 64 << 10);
    CHECK(takes(small, 64 << 10));
    CHECK(large.stats().capacity == 1 << 20);
    CHECK(takes(large, 4 << 20));
    CHECK(fixed.stats().capacity == 2 << 20);
    CHECK(takes(fixed, 2 << 20));
    CHECK(by_url.stats().capacity == 128 << 10);
    CHECK(takes(by_url, 128 << 10));
}
