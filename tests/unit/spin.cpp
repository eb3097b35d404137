// When a wait looks before it sleeps. How long is a matter of speed, and of tests/bench.
#include "waiting/spin.hpp"

#include <doctest/doctest.h>

using namespace libipc;

namespace {

// Looks for as long as the spin wants to, in vain; how often it did.
int looks(spin &s) {
    int times = 0;
    s.until([&] { return ++times, false; });
    return times;
}

// So many messages, one each gap_ns, and a wait after each.
void come(spin &s, std::int64_t gap_ns, int messages = 40) {
    static std::int64_t now = 1'000'000'000;
    static std::uint64_t count = 0;
    for (int i = 0; i < messages; ++i) s.learn(now += gap_ns, ++count);
}

}  // namespace

TEST_CASE("a wait does not look before messages have come quickly") {
    spin s;
    CHECK(looks(s) == 0);
    come(s, 1'000'000);
    CHECK(looks(s) == 0);
    come(s, 2 * spin::hopeless_gap_ns);
    CHECK(looks(s) == 0);
}

TEST_CASE("a wait for messages that come rather slowly looks as long as that succeeds, and else ever more rarely") {
    spin s;
    come(s, 2 * spin::most_ns);
    for (int i = 0; i < 20; ++i) {
        int times = 0;
        s.until([&] { return ++times == 3; });
        CHECK(times == 3);
    }
    for (int rest : {1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023}) {
        CHECK(looks(s) > 0);
        for (int i = 0; i < rest; ++i) REQUIRE(looks(s) == 0);
    }
    come(s, 5'000);  // these are another matter
    CHECK(looks(s) > 0);
}

TEST_CASE("a wait looks when messages have come quickly, until one is there") {
    spin s;
    come(s, 5'000);
    int times = 0;
    s.until([&] { return ++times == 3; });
    CHECK(times == 3);
    CHECK(looks(s) > 0);
}

TEST_CASE("a wait stops looking when messages come slowly again") {
    spin s;
    come(s, 5'000);
    CHECK(looks(s) > 0);
    come(s, 1'000'000);
    CHECK(looks(s) == 0);
}

TEST_CASE("a wait looks for a bounded time, also in a flood") {
    for (std::int64_t gap : {10, 500, 5'000, 20'000}) {
        spin s;
        come(s, gap);
        // Being put aside by other programs makes it longer; that happens now and then, and not ten times in a row.
        std::int64_t shortest = 1'000'000'000;
        for (int i = 0; i < 10; ++i) {
            std::int64_t start = now_ns();
            s.until([&] { return now_ns() - start > 100 * spin::most_ns; });
            shortest = std::min(shortest, now_ns() - start);
        }
        CHECK(shortest < 10 * spin::most_ns);
    }
}

TEST_CASE("looking in vain makes looking rarer: it is left out 1, 3, 7, ... 63 times") {
    spin s;
    come(s, 5'000);
    for (int rest : {1, 3, 7, 15, 31, 63, 63}) {
        CHECK(looks(s) > 0);
        for (int i = 0; i < rest; ++i) REQUIRE(looks(s) == 0);
    }
    CHECK(looks(s) > 0);
    for (int i = 0; i < 63; ++i) looks(s);
    s.until([] { return true; });  // not in vain
    CHECK(looks(s) > 0);
    CHECK(looks(s) == 0);
    CHECK(looks(s) > 0);
}
