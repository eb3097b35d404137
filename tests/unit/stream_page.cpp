// src/stream/PROTOCOL.md says of each field where it is: what the code writes there is read back by the page's tables.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <string>

#include "../chunk_check.hpp"
#include "page.hpp"
#include "stream/chunks.hpp"
#include "stream/framing.hpp"

using namespace libipc::stream;

namespace {

table page_table(const std::string &name) { return table_of(STREAM_PROTOCOL, name); }

std::uint64_t number_at(const std::byte *bytes, const field &f) {
    std::uint64_t n = 0;
    REQUIRE(f.bytes <= sizeof n);
    std::memcpy(&n, bytes + f.offset, f.bytes);
    return n;
}

}  // namespace

TEST_CASE("the page on the protocol has the header of a frame as it is") {
    auto fields = fields_of(page_table("header of a frame"));
    std::byte bytes[header_bytes];
    put(header{kind::answer, 77, 0x1122334455667788, 0x99}, bytes);
    CHECK(fields.at("").offset == header_bytes);
    CHECK(std::memcmp(bytes + fields.at("magic").offset, "ipcf", 4) == 0);
    CHECK(number_at(bytes, fields.at("version")) == framing_version);
    CHECK(fields.at("version").text == "version: " + std::to_string(framing_version));
    CHECK(number_at(bytes, fields.at("kind")) == static_cast<unsigned>(kind::answer));
    CHECK(number_at(bytes, fields.at("zero")) == 0);
    CHECK(number_at(bytes, fields.at("size")) == 77);
    CHECK(number_at(bytes, fields.at("tag")) == 0x1122334455667788);
    CHECK(number_at(bytes, fields.at("sequence")) == 0x99);
}

TEST_CASE("the page on the protocol has the kinds of frames as they are") {
    const table &kinds = page_table("what follows");
    std::map<std::string, kind> all = {{"message", kind::message}, {"end", kind::end},           {"hello", kind::hello},
                                       {"answer", kind::answer},   {"released", kind::released}, {"ask", kind::ask}};
    REQUIRE(kinds.size() == all.size() + 1);
    for (std::size_t row = 1; row < kinds.size(); ++row)
        CHECK(std::stoul(kinds[row][0]) == static_cast<unsigned long>(all.at(kinds[row][1])));
}

TEST_CASE("the page on the protocol has what follows a header as it is") {
    auto of_hello = fields_of(page_table("hello")), of_answer = fields_of(page_table("answer"));
    CHECK(of_hello.at("").offset == sizeof(hello));
    CHECK_FIELD(of_hello, hello, sender);
    CHECK_FIELD(of_hello, hello, capacity);
    CHECK_FIELD(of_hello, hello, settled);
    CHECK_FIELD(of_hello, hello, answered);
    CHECK_FIELD(of_hello, hello, counted);
    CHECK_FIELD(of_hello, hello, receiver);
    CHECK_FIELD(of_hello, hello, pid);
    CHECK_FIELD(of_hello, hello, reserved);
    CHECK(of_answer.at("").offset == sizeof(answer));
    CHECK_FIELD(of_answer, answer, receiver);
    CHECK_FIELD(of_answer, answer, refused);
    CHECK_FIELD(of_answer, answer, pid);
    CHECK_FIELD(of_answer, answer, words);
    CHECK_FIELD(of_answer, answer, delivered);
    CHECK_FIELD(of_answer, answer, lost);
    CHECK_FIELD(of_answer, answer, lost_to);
    CHECK_FIELD(of_answer, answer, lost_after);
    auto of_released = fields_of(page_table("released"));
    CHECK(of_released.at("").offset == sizeof(released));
    CHECK_FIELD(of_released, released, lost_after);
}

TEST_CASE("the page on the protocol has the header of a chunk as it is") {
    auto fields = fields_of(page_table("header of a chunk"));
    std::byte bytes[chunk_header_bytes];
    put(chunk{kind::end, 5, 11, 12, 13, 14, 15, 16, 17}, bytes);
    CHECK(fields.at("").offset == chunk_header_bytes);
    CHECK(std::memcmp(bytes + fields.at("magic").offset, "ipcc", 4) == 0);
    CHECK(fields.at("version").text == "version: " + std::to_string(number_at(bytes, fields.at("version"))));
    CHECK(number_at(bytes, fields.at("kind")) == 2);
    CHECK(number_at(bytes, fields.at("bytes")) == 5);
    CHECK(number_at(bytes, fields.at("sender")) == 11);
    CHECK(number_at(bytes, fields.at("sequence")) == 12);
    CHECK(number_at(bytes, fields.at("tag")) == 13);
    CHECK(number_at(bytes, fields.at("size")) == 14);
    CHECK(number_at(bytes, fields.at("offset")) == 15);
    CHECK(number_at(bytes, fields.at("pid")) == 16);
    CHECK(number_at(bytes, fields.at("pid_namespace")) == 17);
    CHECK(number_at(bytes, fields.at("check")) == chunk_check(bytes));
}
