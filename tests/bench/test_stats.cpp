#include <doctest/doctest.h>

#include "stats.hpp"

using namespace bench;

TEST_CASE("stats: quantiles lie between the values") {
    CHECK(quantile({}, 0.5) == 0);
    CHECK(quantile({3}, 0.25) == 3);
    CHECK(median({4, 1, 3, 2}) == doctest::Approx(2.5));
    CHECK(quantile({5, 1, 2, 4, 3}, 0.25) == doctest::Approx(2));
    CHECK(quantile({1, 2}, 1) == 2);
}

TEST_CASE("stats: ratios are of the same round, as far as both were measured") {
    CHECK(ratios({2, 9, 4}, {1, 3}) == std::vector<double>{2, 3});
    CHECK(ratios({2, 9}, {0, 3}) == std::vector<double>{3});
}

TEST_CASE("stats: a median has settled when its confidence interval is narrow, whatever the outliers") {
    CHECK_FALSE(has_settled({100, 100, 100, 100}));  // too few to tell
    CHECK(has_settled({100, 101, 99, 102, 98}));
    CHECK_FALSE(has_settled({100, 101, 99, 102, 120}));  // of five, all count
    CHECK(has_settled({100, 101, 99, 100, 101, 99, 100, 101, 99, 100, 100, 500, 1}));
    CHECK_FALSE(has_settled({100, 80, 120, 90, 110, 85, 115, 95, 105, 70, 130}));
}
