// unix:///path: a stream socket with a name in the file system. One receiver listens; what a dead one left is replaced.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "../failure.hpp"
#include "connections.hpp"
#include "dialer.hpp"
#include "transports.hpp"

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

class unix_listener final : public connections {
  public:
    unix_listener(site &s, intake &in) : connections(s, in), path_(s.where.path) {
        fd listener(made(make_socket(SOCK_STREAM), "a socket"));
        std::string folder = folder_of(path_);
        fd lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!lock) fail(-errno, "cannot open the folder {}: {}", folder, errno_words(errno));
        // Two receivers that both found a dead socket must not replace each other's. Held for a few microseconds only;
        // by one that is stopped, for longer.
        for (int tries = 0; flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
            if (tries == 1000)
                fail(-EBUSY,
                     "the folder {} is locked by another process (flock) for a second; end that one, or take "
                     "another folder",
                     folder);
            timespec ms{0, 1'000'000};
            nanosleep(&ms, nullptr);
        }
        check_is_socket(path_);
        int r = bind(listener.get());
        if (r == -EADDRINUSE) {
            fd probe(made(make_socket(SOCK_STREAM), "a socket"));
            int alive = try_connect(probe.get(), path_);
            if (alive != -ECONNREFUSED)
                fail(-EADDRINUSE,
                     "another receiver listens on {}, and only one can; end that one, or take another path", path_);
            unlink(path_.c_str());  // refused: its owner is gone
            r = bind(listener.get());
        }
        if (r < 0) fail(r, "cannot make the socket {}: {}", path_, errno_words(-r));
        if (::listen(listener.get(), SOMAXCONN) != 0) {
            int error = errno;
            unlink(path_.c_str());
            fail(-error, "cannot listen on {}: {}", path_, errno_words(error));
        }
        struct stat made_here;
        if (stat(path_.c_str(), &made_here) == 0) inode_ = made_here.st_ino;
        listen(std::move(listener));
    }
    void leave() override {
        // Only what is ours: another may have taken the name when it was removed.
        struct stat there;
        if (inode_ != 0 && lstat(path_.c_str(), &there) == 0 && there.st_ino == inode_) unlink(path_.c_str());
        inode_ = 0;
        connections::leave();
    }

  private:
    int bind(int socket) {
        sockaddr_un a = address_of(path_);
        // For this user alone: who may connect is checked for each, but a mode is what people look at. That of the
        // socket becomes that of its name.
        fchmod(socket, 0700);
        return ::bind(socket, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0 ? 0 : -errno;
    }
    std::string admit(int socket) override {
        ucred who = peer_of(socket);
        if (who.uid == geteuid()) return {};
        return fmt::format("this receiver belongs to user {}, and takes no sender of user {}", geteuid(), who.uid);
    }

    std::string path_;
    ino_t inode_ = 0;
};

class unix_dialer final : public dialer {
  public:
    unix_dialer(site &s, outbox &out) : dialer(s, out) { begin(); }

  private:
    int dial(fd &socket) override {
        const std::string &path = site_.where.path;
        check_is_socket(path);
        fd fresh(make_socket(SOCK_STREAM));
        if (!fresh) return -EMFILE;
        int r = try_connect(fresh.get(), path);
        // Nobody is there yet, or is too busy to take us in.
        if (r == -ECONNREFUSED || r == -EAGAIN || (r == -ENOENT && access(folder_of(path).c_str(), F_OK) == 0))
            return r;
        if (r < 0) fail(r, "cannot connect to {}: {}", path, errno_words(-r));
        socket = std::move(fresh);
        return 0;
    }
};

}  // namespace

std::unique_ptr<source> listen_unix(site &s, intake &in) { return std::make_unique<unix_listener>(s, in); }
std::unique_ptr<outlet> dial_unix(site &s, outbox &out) { return std::make_unique<unix_dialer>(s, out); }

}  // namespace libipc::stream
