#include "status.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <ipc/ipc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "failure.hpp"
#include "fence.hpp"
#include "os.hpp"
#include "url.hpp"

namespace libipc {

namespace {

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
    // Any process of the user may write such a page; what it brings is printed by others.
    if (page.role != IPC_SENDER && page.role != IPC_RECEIVER) return false;
    if (page.updated_ns < 0) return false;
    page.url[sizeof page.url - 1] = 0;
    for (char &c : page.url)
        if (c != 0 && (c <= ' ' || c > '~' || c == '"' || c == '\\')) c = '?';
    return true;
}

}  // namespace

status_page::status_page(const endpoint &e, std::uint64_t id, int role)
    : memory_(make_status_memory("ipc:" + e.name, 4096)) {
    auto *page = new (memory_.map.get()) layout::status_page{};
    page->version = layout::version;
    page->size = sizeof *page;
    page->id = id;
    page->pid = getpid();
    page->role = role;
    page->updated_ns = now_ns();
    e.url.copy(page->url, sizeof page->url - 1);
    page->magic = layout::status_magic;
}

void status_page::rename(std::string_view url) {
    auto *page = reinterpret_cast<layout::status_page *>(memory_.map.get());
    std::memset(page->url, 0, sizeof page->url);
    url.copy(page->url, sizeof page->url - 1);
}

void status_page::show(const status_figures &figures) {
    auto *page = reinterpret_cast<layout::status_page *>(memory_.map.get());
    std::uint64_t turn = page->turn.load(std::memory_order_relaxed);  // nobody else writes it
    page->turn.store(turn + 1, std::memory_order_relaxed);
    full_fence();  // the odd turn is seen before any of what follows
    page->messages = figures.messages;
    page->bytes = figures.bytes;
    page->backlog = figures.backlog;
    page->capacity = figures.capacity;
    page->links = figures.links;
    page->updated_ns = coarse_now_ns();
    page->turn.store(turn + 2, std::memory_order_release);  // ... and the even one after all of it
}

void each_status(const std::function<void(const layout::status_page &)> &f) {
    folder processes = open_folder("/proc");
    if (!processes) return;
    while (dirent *process = readdir(processes.get())) {
        if (!is_number(process->d_name)) continue;
        std::string fds = std::string("/proc/") + process->d_name + "/fd/";
        folder files = open_folder(fds);
        if (!files) continue;
        while (dirent *file = readdir(files.get())) {
            if (!is_number(file->d_name)) continue;
            char target[128];
            std::string path = fds + file->d_name;
            ssize_t n = readlink(path.c_str(), target, sizeof target);
            if (n <= 0 || !std::string_view(target, static_cast<std::size_t>(n)).starts_with("/memfd:ipc:")) continue;
            layout::status_page page;
            // A forked child holds its parent's pages too: each is shown once, for the process that wrote it.
            if (copy_page(path, page) && page.pid == std::atoi(process->d_name)) f(page);
        }
    }
}

}  // namespace libipc
