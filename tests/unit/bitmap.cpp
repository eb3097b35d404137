#include "memory/bitmap.hpp"

#include <doctest/doctest.h>

#include <vector>

using libipc::bitmap;

namespace {

// The smallest ring whose bits do not fill a power of two: 68 words.
constexpr std::uint64_t capacity = (64 << 10) + 4096;

struct bits {
    std::vector<std::uint64_t> words = std::vector<std::uint64_t>(libipc::layout::bitmap_words(capacity));
    bitmap map{reinterpret_cast<bitmap::word *>(words.data()), capacity};
};

}  // namespace

TEST_CASE_FIXTURE(bits, "set, test and clear touch the bit of their offset and no other") {
    for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{16}, std::uint64_t{63 * 16}, std::uint64_t{64 * 16},
                                 std::uint64_t{1000 * 16}, capacity - 16}) {
        std::vector<std::uint64_t> all(words.size());
        all[offset / 1024] = std::uint64_t{1} << (offset / 16 % 64);
        CHECK_FALSE(map.test(offset));
        map.set(offset);
        CHECK(map.test(offset));
        CHECK(words == all);
        map.set(offset);  // twice is once
        CHECK(words == all);
        map.clear(offset);
        CHECK_FALSE(map.test(offset));
        CHECK(words == std::vector<std::uint64_t>(words.size()));
    }
    for (auto &w : words) w = ~std::uint64_t{0};
    map.clear(5 * 16);
    CHECK(words[0] == ~(std::uint64_t{1} << 5));
    for (std::size_t i = 1; i < words.size(); ++i) CHECK(words[i] == ~std::uint64_t{0});
}

TEST_CASE_FIXTURE(bits, "the distance to a set bit counts bytes from the offset forward") {
    map.set(640);
    CHECK(map.distance_to_set(640, capacity) == 0);
    CHECK(map.distance_to_set(624, capacity) == 16);
    CHECK(map.distance_to_set(0, capacity) == 640);
    map.set(5 * 1024 + 16);  // empty words lie between
    CHECK(map.distance_to_set(656, capacity) == 5 * 1024 + 16 - 656);
}

TEST_CASE_FIXTURE(bits, "the distance goes around the end, and back to where it began") {
    map.set(32);
    CHECK(map.distance_to_set(capacity - 16, capacity) == 48);
    CHECK(map.distance_to_set(48, capacity) == capacity - 16);
    CHECK(map.distance_to_set(33 * 1024, capacity) == capacity - 33 * 1024 + 32);
}

TEST_CASE_FIXTURE(bits, "the distance is the limit where no bit is set before it") {
    CHECK(map.distance_to_set(0, capacity) == capacity);
    CHECK(map.distance_to_set(capacity - 16, 4096) == 4096);
    CHECK(map.distance_to_set(0, 0) == 0);
    map.set(160);
    CHECK(map.distance_to_set(0, 160) == 160);  // at the limit is beyond it
    CHECK(map.distance_to_set(0, 144) == 144);
    CHECK(map.distance_to_set(0, 176) == 160);
}
