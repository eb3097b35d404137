// src/shm/PROTOCOL.md says of each field where it is, and what each constant is: it is held against layout.hpp.
#include <doctest/doctest.h>

#include <cstddef>
#include <map>
#include <string>

#include "memory/layout.hpp"
#include "page.hpp"
#include "shm/folder.hpp"
#include "shm/packets.hpp"

using namespace libipc;

namespace {

table page_table(const std::string &name) { return table_of(SHM_PROTOCOL, name); }

std::string version_text(const std::string &before) { return before + std::to_string(layout::version); }

std::string hex(std::uint64_t n) {
    std::ostringstream text;
    text << "0x" << std::hex << n;
    return text.str();
}

// As bytes in memory, which is how a peer sees it.
std::string text_of(std::uint64_t magic) { return {reinterpret_cast<const char *>(&magic), sizeof magic}; }

}  // namespace

TEST_CASE("the page on shared memory has the header of a frame as it is") {
    auto fields = fields_of(page_table("header of a frame"));
    CHECK(fields.at("").offset == sizeof(layout::frame_header));
    CHECK_FIELD(fields, layout::frame_header, word);
    CHECK_FIELD(fields, layout::frame_header, tag);
}

TEST_CASE("the page on shared memory has the bits of a header's word as they are") {
    // Of each part the lowest bit and the highest, as the page says.
    std::map<std::string, std::uint64_t> mask;
    const table bits = page_table("header's word");
    for (std::size_t row = 1; row < bits.size(); ++row) {
        unsigned from = 0, to = 0;
        REQUIRE(std::sscanf(bits[row][0].c_str(), "%u-%u", &from, &to) == 2);
        mask[bits[row][1].substr(0, bits[row][1].find_first_of(" ,:"))] =
            (to == 63 ? 0 : std::uint64_t{1} << (to + 1)) - (std::uint64_t{1} << from);
    }
    CHECK(layout::frame_word(static_cast<layout::kind>(15), 0, 0) == mask.at("kind"));
    CHECK(layout::frame_word({}, 15 * layout::frame_align, 0) == mask.at("where"));
    CHECK(layout::frame_word({}, 0, (std::uint64_t{1} << 48) - 1) == mask.at("bytes"));
    CHECK(layout::reserved_bits_clear(~mask.at("zero")));
    CHECK_FALSE(layout::reserved_bits_clear(mask.at("zero") & -mask.at("zero")));
    std::string kinds = bits[1][1];
    CHECK(kinds == "kind: " + std::to_string(static_cast<int>(layout::kind::message)) + " message, " +
                       std::to_string(static_cast<int>(layout::kind::end)) + " end, " +
                       std::to_string(static_cast<int>(layout::kind::continued)) + " continued");
}

TEST_CASE("the page on shared memory has the words of a link as they are") {
    auto fields = fields_of(page_table("words of a link"), holes::yes);
    CHECK_FIELD(fields, layout::link_words, asleep);
    CHECK_FIELD(fields, layout::link_words, unfenced);
    CHECK_FIELD(fields, layout::link_words, delivered);
    CHECK_FIELD(fields, layout::link_words, released);
    CHECK_FIELD(fields, layout::link_words, skipped);
    CHECK_FIELD(fields, layout::link_words, accepted);
    CHECK_FIELD(fields, layout::link_words, wants);
    CHECK_FIELD(fields, layout::link_words, sender_unfenced);
    CHECK(fields.at("").offset <= sizeof(layout::link_words));
}

TEST_CASE("the page on shared memory has the packets of a link's socket as they are") {
    auto preamble = fields_of(page_table("preamble"));
    CHECK(preamble.at("").offset == sizeof(layout::preamble));
    CHECK(preamble.at("version").text == version_text("version: "));
    CHECK_FIELD(preamble, layout::preamble, magic);
    CHECK_FIELD(preamble, layout::preamble, version);
    CHECK_FIELD(preamble, layout::preamble, size);

    auto hello = fields_of(page_table("hello"));
    CHECK(hello.at("").offset == sizeof(layout::hello));
    CHECK_FIELD(hello, layout::hello, head);
    CHECK_FIELD(hello, layout::hello, sender);
    CHECK_FIELD(hello, layout::hello, start);
    CHECK_FIELD(hello, layout::hello, start_sequence);
    CHECK_FIELD(hello, layout::hello, oldest);
    CHECK_FIELD(hello, layout::hello, oldest_sequence);
    CHECK_FIELD(hello, layout::hello, redelivered_until);
    CHECK_FIELD(hello, layout::hello, committed);
    CHECK_FIELD(hello, layout::hello, membarrier);
    CHECK_FIELD(hello, layout::hello, pid);
    CHECK_FIELD(hello, layout::hello, with_pid);
    CHECK_FIELD(hello, layout::hello, reserved);
    CHECK_FIELD(hello, layout::hello, rings);
    CHECK_FIELD(hello, layout::hello, ring);

    auto waiting = fields_of(page_table("waiting"));
    CHECK(waiting.at("").offset == sizeof(layout::waiting));
    CHECK_FIELD(waiting, layout::waiting, head);
    CHECK_FIELD(waiting, layout::waiting, sender);
    CHECK_FIELD(waiting, layout::waiting, lack);
    CHECK_FIELD(waiting, layout::waiting, reserved);

    auto ring = fields_of(page_table("ring"));
    CHECK(ring.at("").offset == sizeof(layout::ring_notice));
    CHECK_FIELD(ring, layout::ring_notice, head);
    CHECK_FIELD(ring, layout::ring_notice, after);
    CHECK_FIELD(ring, layout::ring_notice, place);

    auto answer = fields_of(page_table("answer"));
    CHECK(answer.at("").offset == sizeof(layout::answer));
    CHECK_FIELD(answer, layout::answer, head);
    CHECK_FIELD(answer, layout::answer, receiver);
    CHECK_FIELD(answer, layout::answer, refused);
    CHECK_FIELD(answer, layout::answer, membarrier);
    CHECK_FIELD(answer, layout::answer, words);

    auto notice = fields_of(page_table("notice"));
    CHECK(notice.at("").offset == sizeof(layout::notice));
    CHECK_FIELD(notice, layout::notice, head);
    CHECK_FIELD(notice, layout::notice, what);
    CHECK_FIELD(notice, layout::notice, reserved);
}

TEST_CASE("the page on shared memory has the magic of each packet as it is") {
    std::map<std::string, std::uint64_t> magics = {{"hello", layout::hello_magic},
                                                   {"waiting", layout::waiting_magic},
                                                   {"ring", layout::ring_magic},
                                                   {"answer", layout::answer_magic},
                                                   {"notice", layout::notice_magic}};
    const table packets = page_table("descriptors with it");
    REQUIRE(packets.size() == magics.size() + 1);
    for (std::size_t row = 1; row < packets.size(); ++row) {
        std::uint64_t magic = magics.at(packets[row][2]);
        CHECK(packets[row][0] == hex(magic));
        CHECK(packets[row][1] == text_of(magic));
    }
}

TEST_CASE("the page on shared memory has the kinds of notices as they are") {
    std::map<std::string, layout::notice_kind> kinds = {{"moved", layout::notice_kind::moved},
                                                        {"leaving", layout::notice_kind::leaving},
                                                        {"wake", layout::notice_kind::wake}};
    const table rows = page_table("meaning");
    REQUIRE(rows.size() == kinds.size() + 1);
    for (std::size_t row = 1; row < rows.size(); ++row)
        CHECK(std::stoul(rows[row][0]) == static_cast<unsigned long>(kinds.at(rows[row][1])));
}

TEST_CASE("the page on shared memory has the status page as it is") {
    auto page = fields_of(page_table("status page"));
    CHECK(page.at("").offset == sizeof(layout::status_page));
    CHECK(page.at("magic").text == "magic: " + hex(layout::status_magic));
    CHECK(page.at("version").text == version_text("version: "));
    CHECK(page.at("size").text == "size: " + std::to_string(sizeof(layout::status_page)));
    CHECK_FIELD(page, layout::status_page, turn);
    CHECK_FIELD(page, layout::status_page, id);
    CHECK_FIELD(page, layout::status_page, pid);
    CHECK_FIELD(page, layout::status_page, role);
    CHECK_FIELD(page, layout::status_page, messages);
    CHECK_FIELD(page, layout::status_page, bytes);
    CHECK_FIELD(page, layout::status_page, backlog);
    CHECK_FIELD(page, layout::status_page, capacity);
    CHECK_FIELD(page, layout::status_page, skipped);
    CHECK_FIELD(page, layout::status_page, lost);
    CHECK_FIELD(page, layout::status_page, updated_ns);
    CHECK_FIELD(page, layout::status_page, links);
    CHECK_FIELD(page, layout::status_page, shown);
    CHECK_FIELD(page, layout::status_page, url);
    CHECK_FIELD(page, layout::status_page, folder);
    CHECK_FIELD(page, layout::status_page, link);

    auto link = fields_of(page_table("link of a status page"));
    CHECK(link.at("").offset == sizeof(layout::status_link));
    CHECK_FIELD(link, layout::status_link, peer);
    CHECK_FIELD(link, layout::status_link, pid);
    CHECK_FIELD(link, layout::status_link, state);
    CHECK_FIELD(link, layout::status_link, lack);
    CHECK_FIELD(link, layout::status_link, committed);
    CHECK_FIELD(link, layout::status_link, delivered);
    CHECK_FIELD(link, layout::status_link, released);
    CHECK_FIELD(link, layout::status_link, skipped);
    CHECK_FIELD(link, layout::status_link, lost);
}

TEST_CASE("the page on shared memory has the names in a channel's folder as they are") {
    const table names = page_table("whose");
    auto name = [&](std::size_t row) { return names.at(row)[0].substr(1, names[row][0].find_last_of('`') - 1); };
    CHECK(name(1) == version_text("r") + "-<identity>.<n>");
    CHECK(name(2) == version_text("s") + "-<identity>.<n>");
    CHECK(receiver_name_text({layout::version, 0xfeed, 2}) == version_text("r") + "-000000000000feed.2");
}
