#include "shm/rings.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace libipc;
using layout::kind;

namespace {

constexpr std::uint64_t capacity = 64 << 10;

struct three_rings {
    rings all{ring_sizes{capacity, 64 * capacity}};
    std::vector<std::uint64_t> messages, continued;
    three_rings() {
        for (std::uint64_t next : {2 * capacity, 4 * capacity, std::uint64_t{0}}) {
            for (int i = 0; i < 3; ++i) send(1000);
            if (next == 0) break;
            continued.push_back(all.head());
            CHECK(all.next_base() == all.head() + 16);
            all.go_on_in(make_ring(next), next);
            CHECK(all.now().base() == continued.back() + 16);
            CHECK(all.now().capacity() == next);
        }
    }
    void send(std::uint64_t size) {
        messages.push_back(all.head());
        all.now().payload_for(size);
        all.now().commit(kind::message, size, 0);
    }
    std::size_t count() const {
        std::size_t n = 0;
        all.each([&](const layout::ring_place &, int) { ++n; });
        return n;
    }
};

}  // namespace

TEST_CASE_FIXTURE(three_rings, "frames are walked from ring to ring, from each that there is") {
    for (std::size_t from = 0; from < messages.size(); ++from) {
        std::vector<std::uint64_t> seen;
        CHECK(all.each_frame(messages[from], [&](std::uint64_t position, kind k) {
            if (k == kind::message) seen.push_back(position);
        }));
        CHECK(seen == std::vector<std::uint64_t>(messages.begin() + static_cast<long>(from), messages.end()));
        CHECK(all.starts_frame(messages[from]));
        CHECK_FALSE(all.starts_frame(messages[from] + 32));
    }
    for (std::uint64_t position : continued) {
        CHECK(all.starts_frame(position));
        CHECK(all.starts_frame(position + 16));
    }
}

TEST_CASE_FIXTURE(three_rings, "a ring goes when the tail comes to its continuation, and not before") {
    CHECK(count() == 3);
    CHECK(all.oldest_base() == 0);
    CHECK(all.oldest_continued() == continued[0]);
    CHECK_FALSE(all.reclaim(messages[2]));
    CHECK(all.tail() == messages[2]);
    CHECK(all.reclaim(continued[0]));
    CHECK(count() == 2);
    CHECK(all.tail() == messages[3]);  // over the `continued`, which nobody needs
    CHECK(all.oldest_base() == messages[3]);
    CHECK(all.reclaim(messages[7]));
    CHECK(count() == 1);
    CHECK(all.tail() == messages[7]);
    CHECK(all.oldest_continued() == 0);
    CHECK(all.now().tail() == messages[7]);
}

TEST_CASE_FIXTURE(three_rings, "a new ring is empty, however much of those before it is not released") {
    CHECK(all.tail() == 0);
    CHECK(all.now().fits(2 * capacity - 4096));
    all.reclaim(messages[4]);
    CHECK(all.now().fits(2 * capacity - 4096));
}

TEST_CASE_FIXTURE(three_rings, "who has all messages may be before any number of `continued` frames") {
    CHECK(all.before_continued(all.head()) == all.head());
    std::uint64_t end = all.head();
    all.go_on_in(make_ring(capacity), capacity);
    CHECK(all.before_continued(all.head()) == end);
    all.go_on_in(make_ring(capacity), capacity);
    CHECK(all.before_continued(all.head()) == end);
    all.reclaim(end);
    CHECK(count() == 1);
    CHECK(all.tail() == all.head());
    rings empty(ring_sizes{capacity, capacity});
    CHECK(empty.before_continued(0) == 0);
}

TEST_CASE("a sender has so many rings and no more") {
    rings all(ring_sizes{capacity, 64 * capacity});
    for (std::size_t i = 1; i < layout::most_rings; ++i) {
        CHECK_FALSE(all.full());
        all.go_on_in(make_ring(capacity), capacity);
    }
    CHECK(all.full());
}
