#include <doctest/doctest.h>

#include <initializer_list>

#include "schedule.hpp"

using bench::schedule;

TEST_CASE("schedule: gaps that are no whole number do not add up to an error") {
    schedule s{1000, 10.0 / 3};
    CHECK(s.due(0) == 1000);
    CHECK(s.due(3) == 1010);
    CHECK(s.due(3'000'000) == 1000 + 10'000'000);
}

TEST_CASE("schedule: a message that its sender waited for counts from when the timer rang") {
    schedule s{0, 100};
    CHECK(s.sent(5, 420, 503) == 503);
}

TEST_CASE("schedule: after a hold-up each message counts from when it was due") {
    schedule s{0, 100};
    // The one due at 500 took until 850: those due at 600, 700 and 800 have waited for it.
    for (std::uint64_t n : {6u, 7u, 8u}) CHECK(s.sent(n, 850 + n, 850 + n) == n * 100);
    CHECK(s.sent(9, 860, 900) == 900);
}
