// ipc list, for people.
#include "list_text.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <set>

#include "progress.hpp"

namespace cli {

namespace {

std::string age(std::int64_t ns) {
    std::int64_t s = ns / 1'000'000'000;
    return s < 1        ? fmt::format("{} ms", ns / 1'000'000)
           : s < 600    ? fmt::format("{} s", s)
           : s < 36'000 ? fmt::format("{} min", s / 60)
                        : fmt::format("{} h", s / 3600);
}

std::string size(std::uint64_t bytes) { return bytes == IPC_UNKNOWN ? "?" : bytes_text(static_cast<double>(bytes)); }

template <class... Values>
void add(std::string &to, fmt::format_string<Values...> format, Values &&...values) {
    fmt::format_to(std::back_inserter(to), format, std::forward<Values>(values)...);
}

// Messages that did not come to whom they were for.
std::string missing(std::uint64_t skipped, std::uint64_t lost) {
    return (skipped != 0 ? fmt::format(", skipped {}", skipped) : "") +
           (lost != 0 ? fmt::format(", lost {}", lost) : "");
}

// The process on the other side, if it is to be seen: over a network its number means nothing here.
void print(std::string &out, const ipc_channel &c, const ipc_channel_link &l, const std::set<std::uint64_t> &ids) {
    bool here = ids.count(l.peer) != 0;
    add(out, "   {:<6}{:>7} {:<15} {}behind {}{}{}\n", c.role == IPC_SENDER ? "to" : "from",
        l.pid != 0 ? fmt::to_string(l.pid) : "?", here ? program(l.pid) : "",
        l.state == IPC_LINK_UP ? "" : fmt::format("{}, ", state(l)), size(l.behind),
        l.held != 0 ? ", holds " + size(l.held) : "", missing(l.skipped, l.lost));
}

void print(std::string &out, const ipc_channel &c, const std::set<std::uint64_t> &ids) {
    add(out, " {:<8}{:>7} {:<15} {:>10} {:>8} {:>8} {:>8} {:>7}\n", role(c), c.pid, program(c.pid), c.messages,
        size(c.bytes), size(c.backlog), c.capacity != 0 ? size(c.capacity) : "", age(c.age_ns));
    for (std::size_t i = 0; i < c.shown; ++i) print(out, c, c.link[i], ids);
    for (std::size_t i = 0; i < c.shown; ++i)
        if (c.link[i].state == IPC_LINK_UNLINKED)
            add(out, "   {} can't be linked yet: {}\n", c.link[i].pid,
                c.link[i].lack == -EAGAIN ? "as many senders as may be wait for it already, and it makes no call"
                                          : ipc_strerror(c.link[i].lack));
    if (c.links > c.shown) add(out, "   and {} more\n", c.links - c.shown);
    if (c.links == 0) add(out, "   no {} is connected\n", c.role == IPC_SENDER ? "receiver" : "sender");
    if (std::string all = missing(c.skipped, c.lost); !all.empty()) add(out, "   in all{}\n", all);
}

}  // namespace

std::string program(std::int32_t pid) {
    std::string name;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
    for (char &c : name)  // a process may call itself anything
        if (c < ' ' || c > '~' || c == '"' || c == '\\') c = '?';
    return name;
}

std::string as_table(const std::vector<ipc_channel> &found, const std::set<std::uint64_t> &ids,
                     const std::string &here) {
    std::string out;
    add(out, " {:<8}{:>7} {:<15} {:>10} {:>8} {:>8} {:>8} {:>7}\n", "ROLE", "PID", "PROGRAM", "MESSAGES", "BYTES",
        "BACKLOG", "RING", "AGE");
    std::string channel;
    for (const ipc_channel &c : found) {
        // Who has another runtime folder is on another channel, whatever its name is.
        std::string of_this = *c.folder ? fmt::format("{}  in {}", c.url, c.folder) : c.url;
        if (channel != of_this) add(out, "{}\n", of_this);
        if (channel != of_this && *c.folder && c.folder != here)
            add(out, "   not the runtime folder of this program, {}: they can't meet\n", here);
        channel = of_this;
        print(out, c, ids);
    }
    return out;
}

const char *role(const ipc_channel &c) { return c.role == IPC_SENDER ? "sender" : "receiver"; }

const char *state(const ipc_channel_link &l) {
    const char *words[] = {"connecting", "up", "ended", "left", "unlinked"};
    return words[l.state];
}

}  // namespace cli
