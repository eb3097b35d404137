// What is known of senders: so many at most, found at once, forgotten in order.
#include "stream/roster.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

using libipc::stream::roster;

TEST_CASE("a roster finds what was added, and forgets in the order in which it was heard of") {
    constexpr std::size_t most = 100;
    roster<std::uint64_t> known(most);
    std::vector<std::uint64_t> expected;  // the oldest first
    std::mt19937_64 random(3);
    for (int i = 0; i < 20'000; ++i) {
        std::uint64_t id = random() % 200 + 1;
        auto at = std::find(expected.begin(), expected.end(), id);
        std::uint64_t *found = known.find(id);
        REQUIRE((found != nullptr) == (at != expected.end()));
        if (found) {
            REQUIRE(*found == id * 3);
            expected.erase(at);
            if (random() % 3 == 0) {
                known.erase(id);
                continue;
            }
            known.touch(id);
        } else {
            if (known.full()) {
                REQUIRE(expected.size() == most);
                REQUIRE(known.oldest() == expected.front());
                REQUIRE(known.at_oldest() == expected.front() * 3);
                known.erase(known.oldest());
                expected.erase(expected.begin());
            }
            known.add(id) = id * 3;
        }
        expected.push_back(id);
    }
    std::vector<std::uint64_t> all;
    known.each([&](std::uint64_t what) { all.push_back(what / 3); });
    CHECK(all == expected);
    known.clear();
    CHECK(known.empty());
}
