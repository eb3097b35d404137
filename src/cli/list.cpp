// ipc list: every handle of the user, also of processes that are stopped or busy.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ipc/ipc.hpp>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "../system/printable.hpp"
#include "command.hpp"
#include "list_text.hpp"
#include "say.hpp"

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
std::string hidden(std::uint64_t count) {
    return count == 0
               ? ""
               : fmt::format("{} more {} of this user can't be looked at, and what {} not listed\n", count,
                             count == 1 ? "process" : "processes", count == 1 ? "it has open is" : "they have open is");
}

struct picture {
    std::string text, notes;  // of standard output, and of standard error
};

picture look(const list_options &o) {
    std::vector<ipc_channel> found = all_handles();
    std::set<std::uint64_t> ids;
    for (const ipc_channel &c : found) ids.insert(c.id);
    if (!o.url.empty()) {
        std::string url = o.url.substr(0, o.url.find('?'));  // handles are known by it without options
        std::erase_if(found, [&](const ipc_channel &c) { return url != c.url; });
    }
    ipc_channel_view here = view();
    picture p;
    p.notes = hidden(here.hidden);
    if (o.json)
        p.text = as_json(found);
    else if (!found.empty())
        p.text = as_table(found, ids, here.folder);
    else
        p.notes = fmt::format("no {} of this user is open, in whichever runtime folder\n",
                              o.url.empty() ? "channel" : "handle on " + libipc::printable(o.url)) +
                  p.notes;
    return p;
}

// As much as fits on the terminal, in place of what was there.
void redraw(const std::string &text) {
    winsize size{};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    std::size_t end = 0;
    for (int row = 1; end < text.size() && (row < size.ws_row || size.ws_row == 0); ++row)
        end = text.find('\n', end) + 1;
    fmt::print("\033[H\033[J{}{}", text.substr(0, end), end < text.size() ? "..." : "");
}

void print(const picture &p, bool in_place) {
    if (in_place) {
        redraw(p.text + p.notes);
    } else {
        fmt::print("{}", p.text);
        say_text(p.notes);
    }
    if (std::fflush(stdout) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot write to standard output");
}

}  // namespace

int list(const list_options &o) {
    print(look(o), o.watch && isatty(STDOUT_FILENO));
    while (o.watch) {  // until a signal ends us
        std::this_thread::sleep_for(std::chrono::seconds(1));
        print(look(o), isatty(STDOUT_FILENO));
    }
    return success;
}

}  // namespace cli
