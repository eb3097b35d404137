// ipc list: every handle of the user, also of processes that are stopped or busy.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <ipc/ipc.hpp>
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

std::string program(std::int32_t pid) {
    std::string name;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
    return name;
}

std::string age(std::int64_t ns) {
    return ns < 1'000'000'000 ? fmt::format("{} ms", ns / 1'000'000) : fmt::format("{} s", ns / 1'000'000'000);
}

const char *role(const ipc_channel &c) { return c.role == IPC_SENDER ? "sender" : "receiver"; }

}  // namespace

int list(const list_options &o) {
    std::vector<ipc_channel> found = all_handles();
    if (o.json) {
        for (const ipc_channel &c : found)
            fmt::print(R"({{"url":"{}","role":"{}","id":"{:016x}","pid":{},"links":{},"messages":{},"bytes":{},)"
                       R"("backlog":{},"capacity":{},"layout":{},"age_ns":{}}})"
                       "\n",
                       c.url, role(c), c.id, c.pid, c.links, c.messages, c.bytes, c.backlog, c.capacity, c.layout,
                       c.age_ns);
        return success;
    }
    if (found.empty()) {
        fmt::print(stderr, "no channel of this user is open\n");
        return success;
    }
    std::size_t width = 7;
    for (const ipc_channel &c : found) width = std::max(width, std::string_view(c.url).size());
    fmt::print("{:<{}}  {:<8} {:>8}  {:<15} {:>5} {:>12} {:>10} {:>10} {:>10} {:>8}\n", "CHANNEL", width, "ROLE", "PID",
               "PROGRAM", "LINKS", "MESSAGES", "BYTES", "BACKLOG", "RING", "SEEN");
    for (const ipc_channel &c : found)
        fmt::print("{:<{}}  {:<8} {:>8}  {:<15} {:>5} {:>12} {:>10} {:>10} {:>10} {:>8}\n", c.url, width, role(c),
                   c.pid, program(c.pid), c.links, c.messages, bytes_text(static_cast<double>(c.bytes)),
                   bytes_text(static_cast<double>(c.backlog)),
                   c.capacity != 0 ? bytes_text(static_cast<double>(c.capacity)) : "", age(c.age_ns));
    return success;
}

}  // namespace cli
