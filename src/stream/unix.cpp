#include "unix.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "system/failure.hpp"

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

// What a path names for as long as nobody is to find it.
class hidden_name {
  public:
    explicit hidden_name(const std::string &folder) : path_(fmt::format("{}/.{:016x}", folder, random_id())) {}
    ~hidden_name() { unlink(path_.c_str()); }
    const std::string &path() const { return path_; }

  private:
    std::string path_;
};

// For this user alone: who may connect is checked for each, but a mode is what people look at. That of the socket
// becomes that of its name.
int bind_to(int socket, const std::string &path) {
    fchmod(socket, 0700);
    if (path.size() < sizeof sockaddr_un::sun_path) {
        sockaddr_un a = address_of(path);
        return bind(socket, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0 ? 0 : -errno;
    }
    fd folder(open(folder_of(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return -errno;
    return bind_to(socket, fmt::format("/proc/self/fd/{}{}", folder.get(), path.substr(path.rfind('/'))));
}

bool is_alive(const std::string &path) {
    fd probe(made(make_socket(SOCK_STREAM), "a socket"));
    return try_connect(probe.get(), path) != -ECONNREFUSED;
}

// Takes a dead socket's name away. One that came alive meanwhile gets it back.
void bury(const std::string &path) {
    hidden_name grave(folder_of(path));
    if (rename(path.c_str(), grave.path().c_str()) != 0 && errno != ENOENT)
        fail(-errno, "cannot replace the socket {}, which nobody listens on: {}", path, errno_words(errno));
    if (grave.path().size() < sizeof sockaddr_un::sun_path && is_alive(grave.path()))
        (void)!link(grave.path().c_str(), path.c_str());
}

}  // namespace

unix_listener::unix_listener(site &s, intake &in) : connections(s, in), watch_(s, *this) {
    listen(make());
    watch_.begin();
}

void unix_listener::resume(site &s, intake &in) {
    connections::resume(s, in);
    watch_.resume(s, *this);
}

// It gets its name when it listens: so one that refuses is dead, and two receivers need no lock to see who was first.
fd unix_listener::make() {
    const std::string &path = site_->where.path;
    fd listener(made(make_socket(SOCK_STREAM), "a socket"));
    check_is_socket(path);
    hidden_name fresh(folder_of(path));
    if (int r = bind_to(listener.get(), fresh.path()); r < 0)
        fail(r, "cannot make the socket {}: {}", path, errno_words(-r));
    if (::listen(listener.get(), SOMAXCONN) != 0) fail(-errno, "cannot listen on {}: {}", path, errno_words(errno));
    for (int tries = 0; link(fresh.path().c_str(), path.c_str()) != 0; ++tries) {
        if (errno != EEXIST) fail(-errno, "cannot make the socket {}: {}", path, errno_words(errno));
        check_is_socket(path);
        if (tries == 100 || is_alive(path))
            fail(-EADDRINUSE, "another receiver listens on {}, and only one can; end that one, or take another path",
                 path);
        bury(path);
    }
    struct stat made_here;
    inode_ = stat(path.c_str(), &made_here) == 0 ? made_here.st_ino : 0;
    return listener;
}

bool unix_listener::check_name() {
    struct stat there;
    // Another that has taken the name has it.
    if (lstat(site_->where.path.c_str(), &there) == 0) return there.st_ino == inode_;
    fd fresh = make();
    ready(true, false);  // who came by the old one
    try {
        listen(std::move(fresh));
    } catch (...) {
        unlink(site_->where.path.c_str());  // so that it is made once more
        throw;
    }
    return true;
}

void unix_listener::alarm() {
    connections::alarm();
    watch_.alarm();
}

void unix_listener::leave() {
    watch_.end();
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
