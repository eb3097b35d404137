#include "listing.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "memory/layout.hpp"
#include "runtime_folder.hpp"
#include "system/failure.hpp"
#include "system/os.hpp"

namespace libipc {

namespace {

static_assert(IPC_SHOWN_LINKS == layout::status_links);

using folder = std::unique_ptr<DIR, decltype([](DIR *d) { closedir(d); })>;

bool is_number(const char *text) { return *text && std::strspn(text, "0123456789") == std::strlen(text); }

// Nothing there is one thing, no descriptor to look with another.
void check_descriptors(const std::string &path) {
    if (errno == EMFILE || errno == ENFILE) fail(-errno, "cannot look into {}: {}", path, errno_words(errno));
}

folder open_folder(const std::string &path) {
    folder f(opendir(path.c_str()));
    if (!f) check_descriptors(path);
    return f;
}

// Of what others print.
template <std::size_t N>
void make_harmless(char (&text)[N]) {
    text[N - 1] = 0;
    for (char &c : text)
        if (c != 0 && (c < ' ' || c > '~' || c == '"' || c == '\\')) c = '?';
}

// What /proc says of a process.
struct process {
    pid_t number = 0;         // as we see it
    std::vector<pid_t> pids;  // the same in each pid namespace from ours down to its own
    uid_t user = 0;
    bool alive = false;
};

process process_at(const std::string &path, pid_t number) {
    process p{number, {}, 0, false};
    std::string status = read_file(path + "/status");
    // The text behind a name at the start of a line.
    auto value = [&](const char *name) {
        std::size_t at = status.find(name);
        return at == status.npos ? "" : status.c_str() + at + std::strlen(name);
    };
    std::sscanf(value("\nUid:"), "%*u %u", &p.user);  // the effective one
    char state = 'X';
    std::sscanf(value("\nState:"), " %c", &state);
    p.alive = state != 'Z' && state != 'X';
    int pid, length;
    for (const char *at = value("\nNSpid:"); std::sscanf(at, "%*[ \t]%d%n", &pid, &length) == 1; at += length)
        p.pids.push_back(pid);
    return p;
}

// A copy of the page behind `path` that no write has torn; the writer takes a few hundred nanoseconds, but may be
// stopped in the middle of them for ever: then the last copy has to do.
bool copy_page(const std::string &path, layout::status_page &page) {
    fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // what calls itself a memfd may be a pipe
    if (!file) check_descriptors(path);
    struct stat s;
    if (!file || fstat(file.get(), &s) != 0 || s.st_uid != geteuid() || !S_ISREG(s.st_mode))
        return false;  // root may look into everybody's
    for (int tries = 0; tries < 100; ++tries) {
        std::uint64_t before, after;  // the three reads are system calls, and in this order
        if (pread(file.get(), &before, sizeof before, offsetof(layout::status_page, turn)) != sizeof before)
            return false;
        if (pread(file.get(), static_cast<void *>(&page), sizeof page, 0) != sizeof page) return false;
        if (pread(file.get(), &after, sizeof after, offsetof(layout::status_page, turn)) != sizeof after) return false;
        if (page.magic != layout::status_magic || page.size < sizeof page) return false;
        if (before == after && before % 2 == 0) break;
    }
    // Any process of the user may write such a page.
    if (page.role != IPC_SENDER && page.role != IPC_RECEIVER) return false;
    if (page.updated_ns < 0 || page.shown > layout::status_links) return false;
    for (std::size_t i = 0; i < page.shown; ++i)
        if (page.link[i].state < IPC_LINK_CONNECTING || page.link[i].state > IPC_LINK_UNLINKED) return false;
    page.links = std::max(page.links, page.shown);  // a torn one may say less
    page.folder[sizeof page.folder - 1] = 0;
    make_harmless(page.url);
    return true;
}

bool shares_memory(const layout::status_page &page) { return std::string_view(page.url).starts_with("shm://"); }

// A folder, whatever its path is.
using identity = std::pair<dev_t, ino_t>;

std::optional<identity> identity_of(const std::string &path) {
    struct stat s;
    if (path.empty() || stat(path.c_str(), &s) != 0) return {};
    return identity(s.st_dev, s.st_ino);
}

struct shown_page {
    std::unique_ptr<layout::status_page> page;
    process owner;
    std::optional<identity> folder;  // as its owner sees it
};
using pages = std::vector<shown_page>;

// Calls f(path, number) for each process.
template <class F>
void each_process(F f) {
    folder processes = open_folder("/proc");
    while (dirent *entry = processes ? readdir(processes.get()) : nullptr)
        if (is_number(entry->d_name)) f(std::string("/proc/") + entry->d_name, std::atoi(entry->d_name));
}

pages all_pages() {
    pages found;
    auto page = std::make_unique<layout::status_page>();
    each_process([&](const std::string &at, pid_t number) {
        process owner;
        std::string fds = at + "/fd/";
        folder files = open_folder(fds);
        while (dirent *file = files ? readdir(files.get()) : nullptr) {
            if (!is_number(file->d_name)) continue;
            char target[128];
            std::string path = fds + file->d_name;
            ssize_t n = readlink(path.c_str(), target, sizeof target);
            if (n <= 0 || !std::string_view(target, static_cast<std::size_t>(n)).starts_with("/memfd:ipc:")) continue;
            if (!copy_page(path, *page)) continue;
            if (owner.pids.empty()) owner = process_at(at, number);
            // A forked child holds its parent's pages too: each is taken once, for the process that wrote it.
            if (owner.pids.empty() || page->pid != owner.pids.back()) continue;
            page->pid = number;
            auto its_folder = shares_memory(*page) ? identity_of(at + "/root" + page->folder) : std::nullopt;
            found.push_back({std::exchange(page, std::make_unique<layout::status_page>()), owner, its_folder});
        }
    });
    return found;
}

// Each link's process, which its page tells in the pid namespace of its owner, in ours: 0 where it is not to be seen.
void renumber(pages &all) {
    std::multimap<std::uint64_t, const process *> owners;
    for (const auto &p : all) owners.emplace(p.page->id, &p.owner);
    for (auto &p : all) {
        std::size_t depth = p.owner.pids.size() - 1;
        for (std::size_t i = 0; shares_memory(*p.page) && i < p.page->shown; ++i) {
            layout::status_link &link = p.page->link[i];
            std::int32_t told = std::exchange(link.pid, depth == 0 ? link.pid : 0);
            auto [from, to] = owners.equal_range(link.peer);
            for (auto at = from; at != to; ++at) {
                const auto &pids = at->second->pids;
                // It could not see that process, or it is the one that it saw.
                if (told == 0 ? std::next(from) == to : depth < pids.size() && pids[depth] == told)
                    link.pid = at->second->number;
            }
        }
    }
}

// Where a handle of this process would look for others.
std::string own_folder() {
    try {
        return runtime_folder();
    } catch (const failure &) {
        return {};  // IPC_DIR names none
    }
}

// Handles meet if their folders are the same one, whatever the paths are, and only then. So each folder gets one name:
// its path, where we see the same folder there; or the one by which we can reach it.
void name_folders(pages &all) {
    std::map<identity, std::string> names;
    std::string own = own_folder();
    if (auto id = identity_of(own)) names.emplace(*id, own);
    for (auto &p : all) {
        if (!p.folder) continue;
        std::string path = p.page->folder;
        if (identity_of(path) != p.folder) path = fmt::format("/proc/{}/root{}", p.page->pid, path);
        path = names.emplace(*p.folder, path).first->second;
        std::memset(p.page->folder, 0, sizeof p.page->folder);
        path.copy(p.page->folder, sizeof p.page->folder - 1);
    }
    for (auto &p : all) make_harmless(p.page->folder);
}

// Each side of a link through shared memory knows another half of it best, and one may have been stopped, or at work,
// since long: positions only grow, so the larger is the later.
void take_later(layout::status_link &to, const layout::status_link &from) {
    to.delivered = std::max(to.delivered, from.delivered);
    to.committed = std::max({to.committed, from.committed, to.delivered});
    to.released = std::max(to.released, from.released);
    to.skipped = std::max(to.skipped, from.skipped);
}

void join_sides(pages &all) {
    using end = std::pair<std::int32_t, std::uint64_t>;  // the process too: another could show the same id
    std::map<std::pair<end, end>, layout::status_link *> links;
    auto each = [&](auto f) {
        for (auto &[page, owner, folder] : all)
            for (std::size_t i = 0; shares_memory(*page) && i < page->shown; ++i) {
                layout::status_link &link = page->link[i];
                f(end{page->pid, page->id}, end{link.pid, link.peer}, link, page->role);
            }
    };
    each([&](const end &own, const end &other, layout::status_link &link, int) { links[{own, other}] = &link; });
    each([&](const end &own, const end &other, layout::status_link &link, int role) {
        if (auto at = links.find({other, own}); at != links.end())
            take_later(link, *at->second);
        else if (role == IPC_RECEIVER && link.committed == 0)
            link.committed = IPC_UNKNOWN;
    });
}

ipc_channel told(const layout::status_page &page, std::int64_t now) {
    ipc_channel c{};
    c.struct_size = sizeof c;
    std::memcpy(c.url, page.url, sizeof c.url);
    std::memcpy(c.folder, page.folder, sizeof c.folder);
    c.id = page.id;
    c.pid = page.pid;
    c.role = page.role;
    c.layout = page.version;
    c.links = page.links;
    c.messages = page.messages;
    c.bytes = page.bytes;
    c.backlog = page.backlog;
    c.capacity = page.capacity;
    c.skipped = page.skipped;
    c.lost = page.lost;
    c.age_ns = std::max<std::int64_t>(now - page.updated_ns, 0);
    c.shown = page.shown;
    std::uint64_t most = 0, held = 0;
    bool all_known = c.shown == c.links;
    for (std::size_t i = 0; i < page.shown; ++i) {
        const layout::status_link &l = page.link[i];
        bool known = l.committed != IPC_UNKNOWN && l.committed >= l.delivered;
        all_known &= known;
        ipc_channel_link &to = c.link[i];
        to.peer = l.peer;
        to.pid = l.pid;
        to.state = l.state;
        to.lack = l.lack;
        to.behind = IPC_UNKNOWN;
        to.held = l.delivered - std::min(l.delivered, l.released);
        to.skipped = l.skipped;
        to.lost = l.lost;
        if (known) to.behind = l.committed - l.delivered;
        if (known) most = std::max(most, to.behind + to.held);
        held += to.held;
    }
    // A sender looks at what it has got back only when it needs room, and a receiver may be at work since it looked.
    if (c.role == IPC_RECEIVER && c.shown == c.links)
        c.backlog = std::max(c.backlog, held);
    else if (c.role == IPC_SENDER && c.shown != 0 && all_known)
        c.backlog = std::min(c.backlog, most);
    return c;
}

}  // namespace

std::vector<ipc_channel> list_channels() {
    pages all = all_pages();
    std::int64_t now = now_ns();
    std::ranges::sort(all, {}, [](const auto &p) { return p.page->pid; });
    name_folders(all);
    renumber(all);
    join_sides(all);
    std::ranges::sort(all, {}, [](const auto &p) {
        return std::tuple(std::string_view(p.page->url), std::string_view(p.page->folder), p.page->role, p.page->pid);
    });
    std::vector<ipc_channel> list;
    for (const auto &p : all) list.push_back(told(*p.page, now));
    return list;
}

ipc_channel_view view_of_channels() {
    ipc_channel_view view{};
    view.struct_size = sizeof view;
    own_folder().copy(view.folder, sizeof view.folder - 1);
    make_harmless(view.folder);
    each_process([&](const std::string &at, pid_t number) {
        if (open_folder(at + "/fd/") || (errno != EACCES && errno != EPERM)) return;
        process p = process_at(at, number);
        view.hidden += p.alive && p.user == geteuid();
    });
    return view;
}

}  // namespace libipc
