#include "memory/ring.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "memory/mapping.hpp"

using namespace libipc;
using layout::kind;

namespace {

constexpr std::uint64_t capacity = 64 << 10;
using contents = std::vector<std::uint64_t>;

struct ring {
    shared_memory memory = make_ring(capacity);
    std::byte *bytes = memory.map.get();
    ring_writer writer{bytes, capacity};

    contents copy() const {
        contents all(capacity / 8);
        std::memcpy(all.data(), bytes, capacity);
        return all;
    }
    std::uint64_t &word(std::uint64_t offset) { return reinterpret_cast<std::uint64_t *>(bytes)[offset / 8]; }
    void send(std::uint64_t size, std::uint64_t tag = 0) {
        writer.payload_for(size);
        writer.commit(kind::message, size, tag);
    }
    // Commits frames until the next one starts at `position`, and takes all of them back.
    void go_to(std::uint64_t position) {
        while (std::uint64_t left = position - writer.head().position) {
            send(left >= 1024 ? std::min(left, capacity / 2) - 512 : std::min<std::uint64_t>(left, 224) - 16);
            writer.reclaim(writer.head().position);
        }
    }
    frame_state read(std::uint64_t position, frame &out) {
        return read_frame(bytes, capacity, {position, position % capacity}, out);
    }
};

}  // namespace

TEST_CASE("a cursor wraps its offset and not its position") {
    cursor at;
    at.advance(capacity - 16, capacity);
    CHECK(at.position == capacity - 16);
    CHECK(at.offset == capacity - 16);
    at.advance(16, capacity);
    CHECK(at.position == capacity);
    CHECK(at.offset == 0);
    at.advance(capacity, capacity);
    CHECK(at.position == 2 * capacity);
    CHECK(at.offset == 0);
}

TEST_CASE("a cursor tells where an earlier position lies, up to a whole ring back") {
    cursor at{3 * capacity + 160, 160};
    CHECK(at.offset_of(3 * capacity + 160, capacity) == 160);
    CHECK(at.offset_of(3 * capacity, capacity) == 0);
    CHECK(at.offset_of(3 * capacity - 16, capacity) == capacity - 16);
    CHECK(at.offset_of(2 * capacity + 160, capacity) == 160);
}

TEST_CASE_FIXTURE(ring, "a fresh ring has nothing to read and room for its largest message") {
    frame f;
    CHECK(read(0, f) == frame_state::nothing);
    CHECK(writer.head().position == 0);
    CHECK(writer.tail() == 0);
    CHECK(writer.most() == capacity / 2);
    CHECK(writer.fits(writer.most()));
    CHECK(writer.room_needs(writer.most()) == 0);
}

TEST_CASE_FIXTURE(ring, "a commit writes its header, zeroes the next header word, and changes nothing else") {
    for (std::uint64_t offset = 0; offset < capacity; offset += 8) word(offset) = 0x0101010101010101;
    contents before = copy();
    std::byte *payload = writer.payload_for(40);
    CHECK(payload == bytes + 16);
    CHECK(copy() == before);
    writer.commit(kind::message, 40, 77);
    contents after = before;
    after[0] = layout::frame_word(kind::message, 16, 40);
    after[1] = 77;
    after[64 / 8] = 0;
    CHECK(copy() == after);
    CHECK(writer.head().position == 64);
    CHECK(writer.head().offset == 64);
    frame f;
    REQUIRE(read(0, f) == frame_state::good);
    CHECK(f.kind == kind::message);
    CHECK(f.payload == bytes + 16);
    CHECK(f.size == 40);
    CHECK(f.tag == 77);
    CHECK(f.length == 64);
    CHECK(read(64, f) == frame_state::nothing);
}

TEST_CASE_FIXTURE(ring, "a commit of less than was reserved keeps the payload where it is, and only its own length") {
    std::byte *payload = writer.payload_for(1000);
    CHECK(payload == bytes + 64);
    writer.commit(kind::message, 0, 5);
    frame f;
    REQUIRE(read(0, f) == frame_state::good);
    CHECK(f.payload == payload);
    CHECK(f.size == 0);
    CHECK(f.length == 64);
    CHECK(writer.head().position == 64);
}

TEST_CASE_FIXTURE(ring, "a frame that ends exactly at the end of the ring is followed by one at its start") {
    go_to(capacity - 64);
    word(0) = 0xdead;
    send(48, 1);
    CHECK(writer.head().position == capacity);
    CHECK(writer.head().offset == 0);
    CHECK(word(0) == 0);
    word(16) = 0xdead;
    send(0, 2);
    frame f;
    REQUIRE(read(capacity - 64, f) == frame_state::good);
    CHECK(f.tag == 1);
    REQUIRE(read(capacity, f) == frame_state::good);
    CHECK(f.tag == 2);
    CHECK(word(16) == 0);
}

TEST_CASE_FIXTURE(ring, "a header in the last 16 bytes has its payload at the start of the ring") {
    go_to(capacity - 16);
    std::byte *payload = writer.payload_for(100);
    CHECK(payload == bytes + capacity);
    std::memset(payload, 7, 100);
    writer.commit(kind::message, 100, 3);
    CHECK(static_cast<int>(bytes[0]) == 7);
    CHECK(static_cast<int>(bytes[99]) == 7);
    CHECK(writer.head().offset == 112);
    CHECK(word(112) == 0);
}

TEST_CASE_FIXTURE(ring, "a payload that goes over the end of the ring is in one piece, and in place from its start") {
    go_to(capacity - 512);
    std::byte *payload = writer.payload_for(1000);
    CHECK(payload == bytes + capacity - 448);
    for (int i = 0; i < 1000; ++i) payload[i] = static_cast<std::byte>(i);
    writer.commit(kind::message, 1000, 3);
    CHECK(bytes[0] == static_cast<std::byte>(448));
    CHECK(bytes[551] == static_cast<std::byte>(999));
    frame f;
    REQUIRE(read(capacity - 512, f) == frame_state::good);
    CHECK(f.payload == payload);
    CHECK(writer.head().offset == 560);
}

TEST_CASE_FIXTURE(ring, "the largest message fits wherever the head is, once all before it is released") {
    for (std::uint64_t position : {std::uint64_t{16}, std::uint64_t{48}, capacity / 2, capacity - 16}) {
        ring other;
        other.go_to(position);
        CHECK(other.writer.fits(capacity / 2));
        other.send(capacity / 2);
        frame f;
        REQUIRE(other.read(position, f) == frame_state::good);
        CHECK(f.size == capacity / 2);
        CHECK(f.payload + f.size <= other.bytes + 2 * capacity);
    }
}

TEST_CASE_FIXTURE(ring, "a message fits if 32 bytes stay free behind it, and no byte less") {
    send(capacity / 2 - 64);
    CHECK(writer.head().position == capacity / 2);
    std::uint64_t most = capacity / 2 - 64 - 32;  // its payload starts 64 bytes after its header
    CHECK(writer.fits(most));
    CHECK_FALSE(writer.fits(most + 1));
    send(most);
    CHECK(writer.head().position == capacity - 32);
    CHECK_FALSE(writer.fits(0));
}

TEST_CASE_FIXTURE(ring, "room_needs names the position whose release makes a message fit") {
    go_to(capacity + 160);
    writer.reclaim(capacity / 2);
    for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{1000}, capacity / 2}) {
        std::uint64_t needs = writer.room_needs(size);
        writer.reclaim(needs - 16);
        CHECK_FALSE(writer.fits(size));
        writer.reclaim(needs);
        CHECK(writer.fits(size));
        CHECK(writer.tail() == needs);
    }
}

TEST_CASE_FIXTURE(ring, "the end goes into a full ring, and touches nothing that is not released") {
    send(capacity / 2 - 64, 1);
    send(capacity / 2 - 96, 2);
    CHECK_FALSE(writer.fits(0));
    word(capacity - 16) = 0xdead;  // as old payload would be
    contents before = copy();
    writer.commit_last(kind::end);
    contents after = before;
    after[(capacity - 32) / 8] = layout::frame_word(kind::end, 16, 0);
    after[(capacity - 32) / 8 + 1] = 0;
    after[(capacity - 16) / 8] = 0;
    CHECK(copy() == after);
    CHECK(writer.head().position == capacity - 16);
    CHECK(writer.head().position < writer.tail() + capacity);
    frame f;
    REQUIRE(read(capacity - 32, f) == frame_state::good);
    CHECK(f.kind == kind::end);
    CHECK(f.size == 0);
    CHECK(f.length == 16);
    CHECK(read(capacity - 16, f) == frame_state::nothing);
}

TEST_CASE_FIXTURE(ring, "the end goes into a ring that is full across its end") {
    go_to(capacity - 16);
    send(capacity / 2);
    while (writer.fits(0)) send(0);
    std::uint64_t end = writer.head().position;
    CHECK(end + layout::kept_back == writer.tail() + capacity);
    writer.commit_last(kind::end);
    frame f;
    REQUIRE(read(writer.tail(), f) == frame_state::good);  // the oldest message
    CHECK(f.size == capacity / 2);
    REQUIRE(read(end, f) == frame_state::good);
    CHECK(f.kind == kind::end);
    CHECK(read(end + 16, f) == frame_state::nothing);
}

TEST_CASE_FIXTURE(ring, "a header word that no writer makes is broken") {
    frame f;
    auto state = [&](std::uint64_t w) {
        word(0) = w;
        return read(0, f);
    };
    std::uint64_t good = layout::frame_word(kind::message, 16, 5);
    CHECK(state(good) == frame_state::good);
    // A reserved bit.
    for (int bit = 8; bit < 16; ++bit) CHECK(state(good | std::uint64_t{1} << bit) == frame_state::broken);
    // A payload in its own header, or further away than alignment ever moves it.
    CHECK(state(layout::frame_word(kind::message, 0, 5)) == frame_state::broken);
    CHECK(state(layout::frame_word(kind::message, 64, 5)) == frame_state::good);
    CHECK(state(layout::frame_word(kind::message, 80, 5)) == frame_state::broken);
    // More than half the ring.
    CHECK(state(layout::frame_word(kind::message, 64, capacity / 2)) == frame_state::good);
    CHECK(state(layout::frame_word(kind::message, 64, capacity / 2 + 1)) == frame_state::broken);
    CHECK(state(layout::frame_word(kind::message, 16, (std::uint64_t{1} << 48) - 1)) == frame_state::broken);
    // A kind that is not known.
    for (unsigned k = 0; k < 16; ++k) {
        bool known = k >= 1 && k <= 3;
        CHECK(state(layout::frame_word(static_cast<kind>(k), 16, 5)) ==
              (known ? frame_state::good : frame_state::broken));
    }
}

TEST_CASE_FIXTURE(ring, "each_frame calls for each frame from a position to the head, in order") {
    go_to(capacity - 48);
    std::vector<std::uint64_t> starts;
    for (std::uint64_t size : {0, 100, 300, 1}) {
        starts.push_back(writer.head().position);
        send(size);
    }
    starts.push_back(writer.head().position);
    writer.commit_last(kind::end);
    for (std::size_t from = 0; from < starts.size(); ++from) {
        std::vector<std::uint64_t> seen;
        writer.each_frame(starts[from], [&](std::uint64_t position, kind k) {
            seen.push_back(position);
            CHECK(k == (position == starts.back() ? kind::end : kind::message));
        });
        CHECK(seen == std::vector<std::uint64_t>(starts.begin() + static_cast<long>(from), starts.end()));
    }
    writer.each_frame(writer.head().position, [&](std::uint64_t, kind) { FAIL("after the head"); });
}

TEST_CASE_FIXTURE(ring, "each_frame from what is no frame's start ends, and stays before the head") {
    // A receiver may claim to have released up to the middle of a message: its payload is then read as headers.
    send(1008);
    for (std::uint64_t foreign : {std::uint64_t{0}, layout::frame_word(kind::message, 16, 1 << 20),
                                  layout::frame_word(kind::message, 0, 0), ~std::uint64_t{0}, ~std::uint64_t{15}}) {
        word(512) = foreign;
        int calls = 0;
        writer.each_frame(512, [&](std::uint64_t position, kind) {
            CHECK(position < writer.head().position);
            REQUIRE(++calls <= 64);
        });
    }
}
