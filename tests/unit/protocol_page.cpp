// src/stream/PROTOCOL.md says of each field where it is: what the code writes there is read back by the page's tables.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "../chunk_check.hpp"
#include "stream/chunks.hpp"
#include "stream/framing.hpp"

using namespace libipc::stream;

namespace {

using table = std::vector<std::vector<std::string>>;  // rows of cells, the headings first

// The page's table with this last heading.
table table_of(const std::string &name) {
    std::ifstream page(STREAM_PROTOCOL);
    REQUIRE(page.is_open());
    std::map<std::string, table> all;
    std::string heading;
    for (std::string line; std::getline(page, line);) {
        if (line.empty() || line[0] != '|') {
            heading.clear();
            continue;
        }
        if (line.find("--:") != line.npos) continue;
        std::vector<std::string> cells;
        std::istringstream rest(line.substr(1));
        for (std::string cell; std::getline(rest, cell, '|');) {
            std::size_t from = cell.find_first_not_of(' ');
            cells.push_back(from == cell.npos ? "" : cell.substr(from, cell.find_last_not_of(' ') - from + 1));
        }
        if (heading.empty()) heading = cells.back();
        all[heading].push_back(std::move(cells));
    }
    REQUIRE(all.count(name) == 1);
    return all[name];
}

struct field {
    std::size_t offset, bytes;
    std::string text;
};
// By the first word of what is said of them.
std::map<std::string, field> fields_of(const table &t) {
    std::map<std::string, field> all;
    std::size_t end = 0;
    for (std::size_t row = 1; row < t.size(); ++row) {
        field f{std::stoul(t[row][0]), std::stoul(t[row][1]), t[row][2]};
        CHECK(f.offset == end);  // no hole
        end = f.offset + f.bytes;
        all.emplace(f.text.substr(0, f.text.find_first_of(" :,")), f);
    }
    all.emplace("", field{end, 0, ""});
    return all;
}

std::uint64_t number_at(const std::byte *bytes, const field &f) {
    std::uint64_t n = 0;
    REQUIRE(f.bytes <= sizeof n);
    std::memcpy(&n, bytes + f.offset, f.bytes);
    return n;
}

#define CHECK_FIELD(fields, type, name)                         \
    do {                                                        \
        CHECK(fields.at(#name).offset == offsetof(type, name)); \
        CHECK(fields.at(#name).bytes == sizeof(type::name));    \
    } while (0)

}  // namespace

TEST_CASE("the page on the protocol has the header of a frame as it is") {
    auto fields = fields_of(table_of("header of a frame"));
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
    const table &kinds = table_of("what follows");
    std::map<std::string, kind> all = {{"message", kind::message}, {"end", kind::end},           {"hello", kind::hello},
                                       {"answer", kind::answer},   {"released", kind::released}, {"ask", kind::ask}};
    REQUIRE(kinds.size() == all.size() + 1);
    for (std::size_t row = 1; row < kinds.size(); ++row)
        CHECK(std::stoul(kinds[row][0]) == static_cast<unsigned long>(all.at(kinds[row][1])));
}

TEST_CASE("the page on the protocol has what follows a header as it is") {
    auto of_hello = fields_of(table_of("hello")), of_answer = fields_of(table_of("answer"));
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
    auto of_released = fields_of(table_of("released"));
    CHECK(of_released.at("").offset == sizeof(released));
    CHECK_FIELD(of_released, released, lost_after);
}

TEST_CASE("the page on the protocol has the header of a chunk as it is") {
    auto fields = fields_of(table_of("header of a chunk"));
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
