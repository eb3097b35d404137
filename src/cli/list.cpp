// ipc list: every handle of the user, also of processes that are stopped or busy.
#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <ipc/ipc.hpp>
#include <set>
#include <vector>

#include "command.hpp"
#include "progress.hpp"

namespace cli {

namespace {

std::vector<ipc_channel> all_handles() {
    std::vector<ipc_channel> found;
    for (;;) {
        if (!found.empty()) found[0].struct_size = sizeof(ipc_channel);
        std::int32_t count = ipc_channel_list(found.empty() ? nullptr : found.data(), found.size());
        if (count < 0) throw std::system_error(ipc::detail::code_of(count), "cannot list the channels");
        bool all = static_cast<std::size_t>(count) <= found.size();
        found.resize(static_cast<std::size_t>(count));
        if (all) return found;
    }
}

ipc_channel_view view() {
    ipc_channel_view v{};
    v.struct_size = sizeof v;
    if (std::int32_t r = ipc_channel_look(&v); r < 0)
        throw std::system_error(ipc::detail::code_of(r), "cannot look for channels");
    return v;
}

// Of processes into which we can't look.
void tell_hidden(std::uint64_t count) {
    if (count != 0)
        fmt::print(stderr, "{} more {} of this user can't be looked at, and what {} not listed\n", count,
                   count == 1 ? "process" : "processes", count == 1 ? "it has open is" : "they have open is");
}

std::string program(std::int32_t pid) {
    std::string name;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
    for (char &c : name)  // a process may call itself anything
        if (c < ' ' || c > '~' || c == '"' || c == '\\') c = '?';
    return name;
}

std::string age(std::int64_t ns) {
    std::int64_t s = ns / 1'000'000'000;
    return s < 1        ? fmt::format("{} ms", ns / 1'000'000)
           : s < 600    ? fmt::format("{} s", s)
           : s < 36'000 ? fmt::format("{} min", s / 60)
                        : fmt::format("{} h", s / 3600);
}

std::string size(std::uint64_t bytes) { return bytes == IPC_UNKNOWN ? "?" : bytes_text(static_cast<double>(bytes)); }

const char *role(const ipc_channel &c) { return c.role == IPC_SENDER ? "sender" : "receiver"; }

const char *state(const ipc_channel_link &l) {
    const char *words[] = {"connecting", "up", "ended", "left", "unlinked"};
    return words[l.state];
}

std::string json_of(const ipc_channel_link &l) {
    return fmt::format(R"({{"peer":"{:016x}","pid":{},"state":"{}","lack":{},"behind":{},"held":{},"skipped":{},)"
                       R"("lost":{}}})",
                       l.peer, l.pid, state(l), l.lack, l.behind == IPC_UNKNOWN ? "null" : fmt::to_string(l.behind),
                       l.held, l.skipped, l.lost);
}

void print_json(const ipc_channel &c) {
    std::vector<std::string> links;
    for (std::size_t i = 0; i < c.shown; ++i) links.push_back(json_of(c.link[i]));
    fmt::print(R"({{"url":"{}","folder":"{}","role":"{}","id":"{:016x}","pid":{},"program":"{}","links":{},)"
               R"("messages":{},"bytes":{},"backlog":{},"capacity":{},"skipped":{},"lost":{},"layout":{},"age_ns":{},)"
               R"("link":[{}]}})"
               "\n",
               c.url, c.folder, role(c), c.id, c.pid, program(c.pid), c.links, c.messages, c.bytes, c.backlog,
               c.capacity, c.skipped, c.lost, c.layout, c.age_ns, fmt::join(links, ","));
}

// Messages that did not come to whom they were for.
std::string missing(std::uint64_t skipped, std::uint64_t lost) {
    return (skipped != 0 ? fmt::format(", skipped {}", skipped) : "") +
           (lost != 0 ? fmt::format(", lost {}", lost) : "");
}

// The process on the other side, if it is to be seen: over a network its number means nothing here.
void print(const ipc_channel &c, const ipc_channel_link &l, const std::set<std::uint64_t> &ids) {
    bool here = ids.count(l.peer) != 0;
    fmt::print("   {:<6}{:>7} {:<15} {}behind {}{}{}\n", c.role == IPC_SENDER ? "to" : "from",
               l.pid != 0 ? fmt::to_string(l.pid) : "?", here ? program(l.pid) : "",
               l.state == IPC_LINK_UP ? "" : fmt::format("{}, ", state(l)), size(l.behind),
               l.held != 0 ? ", holds " + size(l.held) : "", missing(l.skipped, l.lost));
}

void print(const ipc_channel &c, const std::set<std::uint64_t> &ids) {
    fmt::print(" {:<8}{:>7} {:<15} {:>10} {:>8} {:>8} {:>8} {:>7}\n", role(c), c.pid, program(c.pid), c.messages,
               size(c.bytes), size(c.backlog), c.capacity != 0 ? size(c.capacity) : "", age(c.age_ns));
    for (std::size_t i = 0; i < c.shown; ++i) print(c, c.link[i], ids);
    for (std::size_t i = 0; i < c.shown; ++i)
        if (c.link[i].state == IPC_LINK_UNLINKED)
            fmt::print("   {} can't be linked yet: {}\n", c.link[i].pid,
                       c.link[i].lack == -EAGAIN ? "as many senders as may be wait for it already, and it makes no call"
                                                 : ipc_strerror(c.link[i].lack));
    if (c.links > c.shown) fmt::print("   and {} more\n", c.links - c.shown);
    if (c.links == 0) fmt::print("   no {} is connected\n", c.role == IPC_SENDER ? "receiver" : "sender");
    if (std::string all = missing(c.skipped, c.lost); !all.empty()) fmt::print("   in all{}\n", all);
}

void print(const std::vector<ipc_channel> &found, const std::string &here) {
    std::set<std::uint64_t> ids;
    for (const ipc_channel &c : found) ids.insert(c.id);
    fmt::print(" {:<8}{:>7} {:<15} {:>10} {:>8} {:>8} {:>8} {:>7}\n", "ROLE", "PID", "PROGRAM", "MESSAGES", "BYTES",
               "BACKLOG", "RING", "AGE");
    std::string channel;
    for (const ipc_channel &c : found) {
        // Who has another runtime folder is on another channel, whatever its name is.
        std::string of_this = *c.folder ? fmt::format("{}  in {}", c.url, c.folder) : c.url;
        if (channel != of_this) fmt::print("{}\n", of_this);
        if (channel != of_this && *c.folder && c.folder != here)
            fmt::print("   not the runtime folder of this program, {}: they can't meet\n", here);
        channel = of_this;
        print(c, ids);
    }
}

}  // namespace

int list(const list_options &o) {
    std::vector<ipc_channel> found = all_handles();
    ipc_channel_view here = view();
    if (o.json)
        for (const ipc_channel &c : found) print_json(c);
    else if (found.empty())
        fmt::print(stderr, "no channel of this user is open, in whichever runtime folder\n");
    else
        print(found, here.folder);
    tell_hidden(here.hidden);
    return success;
}

}  // namespace cli
