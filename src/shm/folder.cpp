#include "folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "memory/layout.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

// Throws words for a folder that is not ours alone.
void check_folder(const struct stat &s, const std::string &path, const char *what) {
    if (S_ISLNK(s.st_mode))
        fail(-ELOOP,
             "the {} {} is a symbolic link, which somebody else could turn elsewhere; remove it, or set IPC_DIR to a "
             "folder of yours",
             what, quoted(path));
    if (!S_ISDIR(s.st_mode))
        fail(-ENOTDIR, "the {} {} is not a directory; remove it, or set IPC_DIR to a folder of yours", what,
             quoted(path));
    if (s.st_uid != geteuid())
        fail(-EPERM, "the {} {} belongs to user {}, and this process runs as user {}; set IPC_DIR to a folder of yours",
             what, quoted(path), s.st_uid, geteuid());
    if ((s.st_mode & 0777) != 0700)
        fail(-EACCES,
             "the {} {} has mode {:04o} and must have 0700, so that you and nobody else can get in; set IPC_DIR to a "
             "folder for this alone, which is made if it is missing, or chmod 700 this one if it is just that",
             what, quoted(path), s.st_mode & 07777);
}

// The folder at `path`, made if it is missing: ours alone, or a failure that says whose it is.
fd open_own_folder(const std::string &path, const char *what) {
    fd folder;
    // Whoever leaves a channel last removes its folder, perhaps between the two calls.
    for (int tries = 0; !folder && tries < most_tries; ++tries) {
        if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
            fail(-errno, "cannot make the {} {}: {}; make it, or set IPC_DIR to a folder of yours with mode 0700", what,
                 quoted(path), errno_words(errno));
        folder = fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!folder && errno != ENOENT) break;
    }
    struct stat s;
    if (!folder) {
        int error = errno;
        if (lstat(path.c_str(), &s) == 0) check_folder(s, path, what);  // better words, if they apply
        bool lacks = error == EMFILE || error == ENFILE;
        fail(-error, "cannot open the {} {}: {}{}", what, quoted(path), errno_words(error),
             lacks ? "" : "; set IPC_DIR to a folder of yours with mode 0700");
    }
    if (fstat(folder.get(), &s) != 0)
        fail(-errno, "cannot look at the {} {}: {}; set IPC_DIR to a folder elsewhere", what, quoted(path),
             errno_words(errno));
    check_folder(s, path, what);
    return folder;
}

struct socket_address {
    sockaddr_un address{};
    socklen_t size;
    socket_address(int folder, const std::string &name) {
        address.sun_family = AF_UNIX;
        auto end = fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/{}", folder, name);
        size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + end.size + 1);
    }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&address); }
};

int result(int r) { return r < 0 ? -errno : r; }

std::string name_text(char role, const handle_name &name) {
    return fmt::format("{}{}-{:016x}.{}", role, name.version, name.id, name.times);
}

std::optional<handle_name> parse_name(char role, std::string_view text) {
    handle_name name;
    const char *at = text.data(), *end = text.data() + text.size();
    auto number = [&](char before, auto &value, int base) {
        if (at == end || *at != before) return false;
        auto r = std::from_chars(at + 1, end, value, base);
        at = r.ptr;
        return r.ec == std::errc();
    };
    if (number(role, name.version, 10) && number('-', name.id, 16) && number('.', name.times, 10) && at == end)
        return name;
    return {};
}

bool is_ours(std::string_view name) {
    return parse_name('r', name) || parse_name('s', name) || name.starts_with(".new-");
}

}  // namespace

std::string receiver_name_text(const handle_name &name) { return name_text('r', name); }
std::string sender_name_text(const handle_name &name) { return name_text('s', name); }
std::optional<handle_name> parse_receiver_name(std::string_view text) { return parse_name('r', text); }
std::optional<handle_name> parse_sender_name(std::string_view text) { return parse_name('s', text); }

channel_folder channel_folder::open(const std::string &runtime, const std::string &channel) {
    open_own_folder(runtime, "runtime folder");
    channel_folder c;
    c.path_ = runtime + "/" + channel;
    c.folder_ = open_own_folder(c.path_, "channel's folder");
    return c;
}

channel_folder channel_folder::find(std::string path) {
    channel_folder c;
    fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat s;
    if (!folder || fstat(folder.get(), &s) != 0 || s.st_uid != geteuid() || (s.st_mode & 0777) != 0700) return c;
    c.path_ = std::move(path);
    c.folder_ = std::move(folder);
    return c;
}

void channel_folder::fail(const char *tried, int error) const {
    libipc::fail(error, "cannot {} in {}: {}; {}", tried, quoted(path_), errno_words(-error),
                 error == -ENOENT ? "names are reached through /proc/self/fd: mount /proc"
                                  : "set IPC_DIR to a folder of yours where it can be done");
}

std::vector<std::string> channel_folder::names() const {
    std::vector<std::string> all;
    alignas(dirent64) char entries[8192];
    // Not opendir: that takes a descriptor, and where none is free the folder would seem empty.
    lseek(folder_.get(), 0, SEEK_SET);
    for (ssize_t n; (n = getdents64(folder_.get(), entries, sizeof entries)) > 0;)
        for (char *at = entries; at < entries + n;) {
            auto *entry = reinterpret_cast<dirent64 *>(at);
            at += entry->d_reclen;
            if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
                all.emplace_back(entry->d_name);
        }
    return all;
}

bool channel_folder::finds(const std::string &name) const {
    struct stat s;
    return still_there() && fstatat(folder_.get(), name.c_str(), &s, AT_SYMLINK_NOFOLLOW) == 0;
}

void channel_folder::unlink(const std::string &name) const { unlinkat(folder_.get(), name.c_str(), 0); }

bool channel_folder::unlink_if_dead(const std::string &name) const {
    if (!is_ours(name)) return false;
    // A receiver's socket is of another type, which is told before anything reaches it, and also before it listens.
    fd probe(make_socket(SOCK_DGRAM));
    if (!probe || connect(probe.get(), name) != -ECONNREFUSED) return false;
    unlink(name);
    return true;
}

int channel_folder::rename(const std::string &from, const std::string &to) const {
    return result(renameat(folder_.get(), from.c_str(), folder_.get(), to.c_str()));
}

bool channel_folder::still_there() const {
    struct stat at_path, ours;
    return lstat(path_.c_str(), &at_path) == 0 && fstat(folder_.get(), &ours) == 0 && at_path.st_ino == ours.st_ino &&
           at_path.st_dev == ours.st_dev;
}

void channel_folder::remove_if_empty() const {
    if (still_there()) rmdir(path_.c_str());
}

int channel_folder::bind(int socket, const std::string &name) const {
    socket_address a(folder_.get(), name);
    return result(::bind(socket, a.get(), a.size));
}

int channel_folder::connect(int socket, const std::string &name) const {
    socket_address a(folder_.get(), name);
    return result(::connect(socket, a.get(), a.size));
}

int channel_folder::knock(int socket, const std::string &name) const {
    socket_address a(folder_.get(), name);
    std::byte nothing{};
    return send_to(socket, {&nothing, 1}, a.get(), a.size);
}

}  // namespace libipc
