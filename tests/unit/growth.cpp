#include "shm/growth.hpp"

#include <doctest/doctest.h>

using libipc::growth;

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr bool small = false;

// A ring that was full at 1 ms, with its tail at 0, and has grown at 11 ms.
growth grown_once() {
    growth g;
    CHECK(g.until(1 * ms, 0, small) == 10 * ms);
    CHECK(g.until(11 * ms, 0, small) == 0);
    g.grown(11 * ms);
    return g;
}

}  // namespace

TEST_CASE("a ring grows again after as long as at first, if nothing was released between") {
    growth g = grown_once();
    CHECK(g.until(20 * ms, 0, small) == 10 * ms);
    CHECK(g.until(30 * ms, 0, small) == 0);
}

TEST_CASE("what a receiver takes for a message is counted over a growth, and a stall waits for four times that") {
    growth g = grown_once();
    g.until(20 * ms, 0, small);
    SUBCASE("where room was waited for") {
        g.end_stall(101 * ms);
        CHECK(g.until(110 * ms, 16, small) == 400 * ms);
    }
    SUBCASE("where what was released is too little") { CHECK(g.until(101 * ms, 16, small) == 400 * ms); }
}

TEST_CASE("of a release after a growth that nobody looked for is known that it came no earlier") {
    growth g = grown_once();
    CHECK(g.until(1'000 * ms, 16, small) == 40 * ms);
}
