// A page on a protocol, read: its tables, by their last heading, and what they say of each field.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using table = std::vector<std::vector<std::string>>;  // rows of cells, the headings first

inline table table_of(const std::string &file, const std::string &name) {
    std::ifstream page(file);
    REQUIRE(page.is_open());
    std::map<std::string, table> all;
    std::string heading;
    for (std::string line; std::getline(page, line);) {
        if (line.empty() || line[0] != '|') {
            heading.clear();
            continue;
        }
        if (line.find("---") != line.npos) continue;
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
// Whether there may be bytes that no field has.
enum class holes { no, yes };

// By the first word of what is said of them.
inline std::map<std::string, field> fields_of(const table &t, holes may_be = holes::no) {
    std::map<std::string, field> all;
    std::size_t end = 0;
    for (std::size_t row = 1; row < t.size(); ++row) {
        field f{std::stoul(t[row][0]), std::stoul(t[row][1]), t[row][2]};
        CHECK((may_be == holes::yes ? f.offset >= end : f.offset == end));
        end = f.offset + f.bytes;
        all.emplace(f.text.substr(0, f.text.find_first_of(" :,")), f);
    }
    all.emplace("", field{end, 0, ""});
    return all;
}

#define CHECK_FIELD(fields, type, name)                         \
    do {                                                        \
        CHECK(fields.at(#name).offset == offsetof(type, name)); \
        CHECK(fields.at(#name).bytes == sizeof(type::name));    \
    } while (0)
