// What lies where in shared memory. A test that fails here because layout.hpp was changed on purpose wants a new
// layout::version with the change.
#include "memory/layout.hpp"

#include <doctest/doctest.h>

using namespace libipc::layout;

TEST_CASE("a frame word gives back the kind, payload offset and size it was made of") {
    for (kind k : {kind::message, kind::end, kind::continued})
        for (std::size_t offset : {16, 32, 48, 64})
            for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{256},
                                       most_capacity / 2, (std::uint64_t{1} << 48) - 1}) {
                std::uint64_t word = frame_word(k, offset, size);
                CHECK(kind_of(word) == k);
                CHECK(payload_offset_of(word) == offset);
                CHECK(size_of(word) == size);
                CHECK(reserved_bits_clear(word));
                CHECK(word != 0);  // 0 says: nothing here yet
            }
}

TEST_CASE("each of the reserved bits of a frame word is seen") {
    for (int bit = 8; bit < 16; ++bit)
        CHECK_FALSE(reserved_bits_clear(frame_word(kind::message, 16, 5) | std::uint64_t{1} << bit));
}

TEST_CASE("a frame is as long as header, padding and payload, in whole units of 16 bytes") {
    CHECK(frame_length(frame_word(kind::message, 16, 0)) == 16);
    CHECK(frame_length(frame_word(kind::message, 16, 1)) == 32);
    CHECK(frame_length(frame_word(kind::message, 16, 16)) == 32);
    CHECK(frame_length(frame_word(kind::message, 16, 17)) == 48);
    CHECK(frame_length(frame_word(kind::message, 64, 256)) == 320);
    CHECK(frame_length(frame_word(kind::message, 64, most_capacity / 2)) == 64 + most_capacity / 2);
    CHECK(frame_length(frame_word(kind::end, 16, 0)) == 16);
}

TEST_CASE("a payload starts at a multiple of 16 bytes, of 64 from 256 bytes on, right after its header if it can") {
    for (std::uint64_t offset = 0; offset < 256; offset += 16) {
        for (std::uint64_t size : {0, 1, 255}) CHECK(payload_offset_for(offset, size) == 16);
        for (std::uint64_t size : {256, 257, 1 << 20}) {
            std::size_t start = payload_offset_for(offset, size);
            CHECK((offset + start) % 64 == 0);
            CHECK(start >= 16);
            CHECK(start <= 64);
        }
    }
}

TEST_CASE("what a ring keeps back holds its last frame and the zeroed word after it") {
    for (kind last : {kind::end, kind::continued})
        CHECK(kept_back == frame_length(frame_word(last, 16, 0)) + sizeof(frame_header));
}

TEST_CASE("a link has one bit for each place where a frame can start, and a page of words") {
    for (std::uint64_t capacity : {least_capacity, least_capacity + 4096, default_capacity, most_capacity}) {
        CHECK(bitmap_words(capacity) * 64 * frame_align == capacity);
        CHECK(bits_bytes(capacity) % 4096 == 0);
        CHECK(bits_bytes(capacity) >= bitmap_words(capacity) * 8);
        CHECK(bits_bytes(capacity) < bitmap_words(capacity) * 8 + 4096);
    }
    CHECK(sizeof(link_words) <= link_words_bytes);
}

TEST_CASE("the words of a link that different sides write, or at different rates, share no cache line") {
    CHECK(offsetof(link_words, asleep) / 64 != offsetof(link_words, delivered) / 64);
    CHECK(offsetof(link_words, unfenced) / 64 == offsetof(link_words, asleep) / 64);
    CHECK(offsetof(link_words, released) / 64 == offsetof(link_words, delivered) / 64);
    CHECK(offsetof(link_words, wants) / 64 != offsetof(link_words, delivered) / 64);
    CHECK(offsetof(link_words, sender_unfenced) / 64 == offsetof(link_words, wants) / 64);
}

#define AT(type, member, offset, bytes)            \
    do {                                           \
        CHECK(offsetof(type, member) == (offset)); \
        CHECK(sizeof(type{}.member) == (bytes));   \
    } while (0)

TEST_CASE("everything in shared memory lies where layout 3 has it") {
    CHECK(version == 3);

    AT(frame_header, word, 0, 8);
    AT(frame_header, tag, 8, 8);
    CHECK(sizeof(frame_header) == 16);

    AT(link_words, asleep, 0, 4);
    AT(link_words, unfenced, 4, 4);
    AT(link_words, delivered, 64, 8);
    AT(link_words, released, 72, 8);
    AT(link_words, skipped, 80, 8);
    AT(link_words, accepted, 88, 4);
    AT(link_words, wants, 128, 8);
    AT(link_words, sender_unfenced, 136, 4);
    CHECK(sizeof(link_words) == 192);
    CHECK(link_words_bytes == 4096);

    AT(preamble, magic, 0, 8);
    AT(preamble, version, 8, 4);
    AT(preamble, size, 12, 4);
    CHECK(sizeof(preamble) == 16);

    AT(hello, head, 0, 16);
    AT(hello, sender, 16, 8);
    AT(hello, start, 24, 8);
    AT(hello, start_sequence, 32, 8);
    AT(hello, oldest, 40, 8);
    AT(hello, oldest_sequence, 48, 8);
    AT(hello, redelivered_until, 56, 8);
    AT(hello, committed, 64, 8);
    AT(hello, membarrier, 72, 4);
    AT(hello, pid, 76, 4);
    AT(hello, with_pid, 80, 4);
    AT(hello, reserved, 84, 4);
    AT(hello, rings, 88, 8);
    AT(hello, ring, 96, 256);
    CHECK(sizeof(hello) == 352);
    AT(ring_place, base, 0, 8);
    AT(ring_place, capacity, 8, 8);
    CHECK(sizeof(ring_place) == 16);
    CHECK(most_rings == 16);
    CHECK(link_fd == 0);
    CHECK(space_bell_fd == 1);
    CHECK(first_ring_fd == 2);
    CHECK(ring_fds == 2);
    CHECK(hello_fds(3, false) == 5);
    CHECK(hello_fds(3, true) == 6);
    constexpr ring_place two[] = {{0, least_capacity}, {4096, 1 << 20}};
    CHECK(link_bytes(two, 0) == 4096);
    CHECK(link_bytes(two, 1) == 4096 + 4096);
    CHECK(link_bytes(two, 2) == 4096 + 4096 + 8192);

    AT(waiting, head, 0, 16);
    AT(waiting, sender, 16, 8);
    AT(waiting, lack, 24, 4);
    AT(waiting, reserved, 28, 4);
    CHECK(sizeof(waiting) == 32);

    AT(ring_notice, head, 0, 16);
    AT(ring_notice, after, 16, 8);
    AT(ring_notice, place, 24, 16);
    CHECK(sizeof(ring_notice) == 40);

    AT(answer, head, 0, 16);
    AT(answer, receiver, 16, 8);
    AT(answer, refused, 24, 4);
    AT(answer, membarrier, 28, 4);
    AT(answer, words, 32, 256);
    CHECK(sizeof(answer) == 288);

    AT(notice, head, 0, 16);
    AT(notice, what, 16, 4);
    AT(notice, reserved, 20, 4);
    CHECK(sizeof(notice) == 24);
    CHECK(static_cast<unsigned>(notice_kind::moved) == 1);
    CHECK(static_cast<unsigned>(notice_kind::leaving) == 2);
    CHECK(static_cast<unsigned>(notice_kind::wake) == 3);

    AT(status_page, magic, 0, 8);
    AT(status_page, version, 8, 4);
    AT(status_page, size, 12, 4);
    AT(status_page, turn, 16, 8);
    AT(status_page, id, 24, 8);
    AT(status_page, pid, 32, 4);
    AT(status_page, role, 36, 4);
    AT(status_page, messages, 40, 8);
    AT(status_page, bytes, 48, 8);
    AT(status_page, backlog, 56, 8);
    AT(status_page, capacity, 64, 8);
    AT(status_page, skipped, 72, 8);
    AT(status_page, lost, 80, 8);
    AT(status_page, updated_ns, 88, 8);
    AT(status_page, links, 96, 4);
    AT(status_page, shown, 100, 4);
    AT(status_page, url, 104, 256);
    AT(status_page, folder, 360, 256);
    AT(status_page, link, 616, 3360);
    CHECK(sizeof(status_page) == 3976);
    AT(status_link, peer, 0, 8);
    AT(status_link, pid, 8, 4);
    AT(status_link, state, 12, 2);
    AT(status_link, lack, 14, 2);
    AT(status_link, committed, 16, 8);
    AT(status_link, delivered, 24, 8);
    AT(status_link, released, 32, 8);
    AT(status_link, skipped, 40, 8);
    AT(status_link, lost, 48, 8);
    CHECK(sizeof(status_link) == 56);
}

TEST_CASE("the magic words read as what they are in a dump of memory, and differ") {
    auto text = [](std::uint64_t magic) { return std::string(reinterpret_cast<const char *>(&magic), sizeof magic); };
    CHECK(text(hello_magic) == "ipchello");
    CHECK(text(waiting_magic) == "ipcwaits");
    CHECK(text(answer_magic) == "ipcsanwr");
    CHECK(text(notice_magic) == "ipcnoice");
    CHECK(text(ring_magic) == "ipcwring");
    CHECK(text(status_magic) == "ipstatus");
}
