#include "message_text.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>

namespace cli {

namespace {

using json = nlohmann::ordered_json;

void append_hex(std::string &to, std::span<const std::byte> bytes, const char *between) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        fmt::format_to(std::back_inserter(to), "{}{:02x}", i != 0 ? between : "", static_cast<unsigned>(bytes[i]));
}

// When it was received, as RFC 3339 has it: a message says nothing of when it was sent.
std::string time_now() {
    auto since = std::chrono::system_clock::now().time_since_epoch();
    auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    auto rest = std::chrono::duration_cast<std::chrono::microseconds>(since - seconds);
    return fmt::format("{:%FT%T}.{:06}Z", fmt::gmtime(std::time_t(seconds.count())), rest.count());
}

}  // namespace

std::string as_hex(const ipc::message &m) {
    std::span<const std::byte> bytes = m.bytes();
    std::string text = fmt::format("message {} of {:016x}, tag {}, {} bytes{}{}{}\n", m.sequence(), m.sender(), m.tag(),
                                   bytes.size(), m.redelivered() ? ", redelivered" : "",
                                   m.duplicate() ? ", duplicate" : "", m.late() ? ", late" : "");
    for (std::size_t at = 0; at < bytes.size(); at += 16) {
        auto row = bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at));
        std::string hex, letters;
        append_hex(hex, row, " ");
        for (std::byte b : row) {
            char c = static_cast<char>(b);
            letters += c >= ' ' && c <= '~' ? c : '.';
        }
        fmt::format_to(std::back_inserter(text), "{:08x}  {:<47}  |{}|\n", at, hex, letters);
    }
    return text;
}

// What takes 64 bits is a string: many readers of JSON have doubles for numbers, which hold 53.
std::string as_json(const ipc::message &m) {
    std::string hex;
    append_hex(hex, m.bytes(), "");
    json o{{"sender", fmt::format("{:016x}", m.sender())},
           {"sequence", m.sequence()},
           {"tag", fmt::to_string(m.tag())},
           {"time", time_now()},
           {"redelivered", m.redelivered()},
           {"duplicate", m.duplicate()},
           {"late", m.late()},
           {"size", m.bytes().size()},
           {"hex", std::move(hex)},
           {"text", m.text()}};
    try {
        return o.dump() + '\n';
    } catch (const json::type_error &) {
        o["text"] = nullptr;  // it is no UTF-8
        return o.dump() + '\n';
    }
}

}  // namespace cli
