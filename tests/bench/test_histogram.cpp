#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <vector>

#include "histogram.hpp"
#include "stats.hpp"

using bench::histogram;

namespace {
std::unique_ptr<histogram> empty() { return std::make_unique<histogram>(histogram{}); }
}  // namespace

TEST_CASE("histogram: each bucket starts where the one before it ends") {
    for (std::size_t i = 0; i + 1 < histogram::buckets; ++i) {
        CHECK(histogram::bucket_of(histogram::lowest_of(i)) == i);
        CHECK(histogram::bucket_of(histogram::lowest_of(i + 1) - 1) == i);
    }
    CHECK(histogram::bucket_of(histogram::largest) == histogram::buckets - 1);
}

TEST_CASE("histogram: a value is told to 0.4 percent, and a small one exactly") {
    for (std::uint64_t value = 1; value < histogram::largest; value += 1 + value / 1000) {
        double told = histogram::middle_of(histogram::bucket_of(value)),
               off = std::abs(told - static_cast<double>(value));
        CHECK(off <= 0.004 * static_cast<double>(value));
        if (value < 256) CHECK(off == 0);
    }
}

TEST_CASE("histogram: its quantiles are those of the sorted values") {
    std::mt19937_64 random(1);
    std::lognormal_distribution<double> around(8, 2);
    std::vector<double> values;
    auto h = empty();
    for (int i = 0; i < 10'000; ++i) {
        values.push_back(std::floor(around(random)));
        h->add(static_cast<std::uint64_t>(values.back()));
    }
    std::sort(values.begin(), values.end());
    for (double q : {0.001, 0.5, 0.99, 0.999})
        CHECK(h->quantile(q) ==
              doctest::Approx(values[static_cast<std::size_t>(std::ceil(q * 10'000)) - 1]).epsilon(0.005));
    CHECK(h->quantile(1) == doctest::Approx(values.back()).epsilon(0.005));
    CHECK(h->max() == static_cast<std::uint64_t>(values.back()));
    CHECK(h->total() == 10'000);
}

TEST_CASE("histogram: a rare large value moves the tail and not the middle") {
    auto h = empty();
    for (int i = 0; i < 999; ++i) h->add(100);
    h->add(1'000'000);
    CHECK(h->quantile(0.5) == 100);
    CHECK(h->quantile(0.999) == 100);
    CHECK(h->quantile(0.9995) == doctest::Approx(1'000'000).epsilon(0.005));
}

TEST_CASE("histogram: two together are as if all had gone into one") {
    auto a = empty(), b = empty(), both = empty();
    for (std::uint64_t i = 0; i < 1000; ++i) {
        (i % 3 ? a : b)->add(i * i);
        both->add(i * i);
    }
    *a += *b;
    for (std::size_t i = 0; i < histogram::buckets; ++i) REQUIRE(a->count(i) == both->count(i));
    CHECK(a->total() == 1000);
    CHECK(a->max() == 999 * 999);
}

TEST_CASE("histogram: what is beyond its range lies in the last bucket") {
    auto h = empty();
    h->add(~std::uint64_t{0});
    CHECK(h->count(histogram::buckets - 1) == 1);
    CHECK(empty()->quantile(0.5) == 0);
}
