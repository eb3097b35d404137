#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "list_text.hpp"

namespace cli {

namespace {

using json = nlohmann::ordered_json;

std::string id(std::uint64_t n) { return fmt::format("{:016x}", n); }
json known(std::uint64_t n) { return n == IPC_UNKNOWN ? json(nullptr) : json(n); }

json as_json(const ipc_channel_link &l) {
    return {{"peer", id(l.peer)},        {"pid", l.pid},   {"state", state(l)},    {"lack", l.lack},
            {"behind", known(l.behind)}, {"held", l.held}, {"skipped", l.skipped}, {"lost", l.lost}};
}

json as_json(const ipc_channel &c) {
    json links = json::array();
    for (std::size_t i = 0; i < c.shown; ++i) links.push_back(as_json(c.link[i]));
    return {{"url", c.url},     {"folder", c.folder},        {"role", role(c)},        {"id", id(c.id)},
            {"pid", c.pid},     {"program", program(c.pid)}, {"links", c.links},       {"messages", c.messages},
            {"bytes", c.bytes}, {"backlog", c.backlog},      {"capacity", c.capacity}, {"skipped", c.skipped},
            {"lost", c.lost},   {"layout", c.layout},        {"age_ns", c.age_ns},     {"link", std::move(links)}};
}

}  // namespace

std::string as_json(const std::vector<ipc_channel> &found) {
    std::string text;
    for (const ipc_channel &c : found) text += as_json(c).dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
    return text;
}

}  // namespace cli
