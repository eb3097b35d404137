#include "unix.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "../failure.hpp"

namespace libipc::stream {

namespace {

sockaddr_un address_of(const std::string &path) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    return a;
}

int try_connect(int socket, const std::string &path) {
    sockaddr_un a = address_of(path);
    return connect(socket, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0 ? 0 : -errno;
}

std::string folder_of(const std::string &path) {
    std::size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}

// Throws words if something stands at the path that is no socket.
void check_is_socket(const std::string &path) {
    struct stat s;
    if (lstat(path.c_str(), &s) == 0 && !S_ISSOCK(s.st_mode))
        fail(-EINVAL, "{} is there already, and is no socket; remove it, or take another path", path);
}

// For this user alone: who may connect is checked for each, but a mode is what people look at. That of the socket
// becomes that of its name.
int bind_to(int socket, const std::string &path) {
    sockaddr_un a = address_of(path);
    fchmod(socket, 0700);
    return bind(socket, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0 ? 0 : -errno;
}

}  // namespace

unix_listener::unix_listener(site &s, intake &in) : connections(s, in) {
    const std::string &path = s.where.path;
    fd listener(made(make_socket(SOCK_STREAM), "a socket"));
    std::string folder = folder_of(path);
    fd lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock) fail(-errno, "cannot open the folder {}: {}", folder, errno_words(errno));
    // Two receivers that both found a dead socket must not replace each other's. Held for a few microseconds only;
    // by one that is stopped, for longer.
    for (int tries = 0; flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
        if (tries == 1000)
            fail(-EBUSY,
                 "the folder {} is locked by another process (flock) for a second; end that one, or take another "
                 "folder",
                 folder);
        timespec ms{0, 1'000'000};
        nanosleep(&ms, nullptr);
    }
    check_is_socket(path);
    int r = bind_to(listener.get(), path);
    if (r == -EADDRINUSE) {
        fd probe(made(make_socket(SOCK_STREAM), "a socket"));
        int alive = try_connect(probe.get(), path);
        if (alive != -ECONNREFUSED)
            fail(-EADDRINUSE, "another receiver listens on {}, and only one can; end that one, or take another path",
                 path);
        unlink(path.c_str());  // refused: its owner is gone
        r = bind_to(listener.get(), path);
    }
    if (r < 0) fail(r, "cannot make the socket {}: {}", path, errno_words(-r));
    if (::listen(listener.get(), SOMAXCONN) != 0) {
        int error = errno;
        unlink(path.c_str());
        fail(-error, "cannot listen on {}: {}", path, errno_words(error));
    }
    struct stat made_here;
    if (stat(path.c_str(), &made_here) == 0) inode_ = made_here.st_ino;
    listen(std::move(listener));
}

void unix_listener::leave() {
    // Only what is ours: another may have taken the name when it was removed.
    const char *path = site_->where.path.c_str();
    struct stat there;
    if (inode_ != 0 && lstat(path, &there) == 0 && there.st_ino == inode_) unlink(path);
    inode_ = 0;
    connections::leave();
}

std::optional<refusal> unix_listener::admit(int socket) {
    ucred who = peer_of(socket);
    if (who.uid == geteuid()) return {};
    return refusal("this receiver belongs to user {}, and takes no sender of user {}", geteuid(), who.uid);
}

int unix_dialer::dial(fd &socket) {
    const std::string &path = site_->where.path;
    check_is_socket(path);
    fd fresh(make_socket(SOCK_STREAM));
    if (!fresh) return -EMFILE;
    int r = try_connect(fresh.get(), path);
    // Nobody is there yet, or is too busy to take us in.
    if (r == -ECONNREFUSED || r == -EAGAIN || (r == -ENOENT && access(folder_of(path).c_str(), F_OK) == 0)) return r;
    if (r < 0) fail(r, "cannot connect to {}: {}", path, errno_words(-r));
    if (uid_t owner = peer_of(fresh.get()).uid; owner != geteuid())
        fail(-EACCES, "the receiver on {} belongs to user {}, and takes nothing of user {}; take another path", path,
             owner, geteuid());
    socket = std::move(fresh);
    return 0;
}

}  // namespace libipc::stream
