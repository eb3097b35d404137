#include "pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "system/failure.hpp"

namespace libipc::stream {

namespace {

// Before it is opened, as a device acts on that; and after, as it may be another by then.
void check(const std::string &path, const struct stat &s) {
    if (!S_ISFIFO(s.st_mode))
        fail(-EINVAL, "{} is there already, and is no FIFO; remove it, or take another path", path);
    if (s.st_uid != geteuid())
        fail(-EACCES, "{} belongs to user {}, and this is user {}; take a path where that user has nothing", path,
             s.st_uid, geteuid());
}

}  // namespace

pipe_source::pipe_source(site &s, intake &in) : fifo_source(s, in), watch_(s, *this) {
    fd pipe = open();
    try {
        read_from(std::move(pipe));
        watch_.begin();
    } catch (...) {
        leave();
        throw;
    }
}

void pipe_source::resume(site &s, intake &in) {
    fifo_source::resume(s, in);
    watch_.resume(s, *this);
}

void pipe_source::alarm() {
    fifo_source::alarm();
    watch_.alarm();
}

bool pipe_source::check_name() {
    struct stat there;
    // Another that has taken the name has it.
    if (lstat(site_->where.path.c_str(), &there) == 0) return there.st_ino == inode_;
    read_from_both([this] { return open(); });
    return true;
}

void pipe_source::leave() {
    watch_.end();
    // Only what is ours: another may have taken the name when it was removed.
    struct stat there;
    const char *path = site_->where.path.c_str();
    if (made_ && lstat(path, &there) == 0 && there.st_ino == inode_) unlink(path);
    made_ = false;
    fifo_source::leave();
}

// Makes it if it is missing.
fd pipe_source::open() {
    const std::string &path = site_->where.path;
    bool made = mkfifo(path.c_str(), 0600) == 0;
    if (!made && errno != EEXIST) fail(-errno, "cannot make the FIFO {}: {}", path, errno_words(errno));
    try {
        fd pipe = opened();
        if (!pipe) fail(-errno, "cannot open {}: {}", path, errno_words(errno));
        claim(pipe, made);
        return pipe;
    } catch (...) {
        if (made) unlink(path.c_str());
        throw;
    }
}

fd pipe_source::opened() {
    const std::string &path = site_->where.path;
    struct stat s;
    if (stat(path.c_str(), &s) == 0) check(path, s);
    // Opened for writing too, it never shows an end when a writer leaves; bare bytes have no other end than that.
    int way = site_->where.raw ? O_RDONLY : O_RDWR;
    return fd(::open(path.c_str(), way | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
}

void pipe_source::claim(const fd &pipe, bool made) {
    const std::string &path = site_->where.path;
    struct stat s;
    if (fstat(pipe.get(), &s) != 0) fail(-errno, "cannot look at {}: {}", path, errno_words(errno));
    check(path, s);
    if (flock(pipe.get(), LOCK_EX | LOCK_NB) != 0)
        fail(-EADDRINUSE, "another receiver reads {}, and only one can; end that one, or take another path", path);
    made_ = made || (made_ && s.st_ino == inode_);
    inode_ = s.st_ino;
}

// A descriptor that has shown an end is readable until the next writer comes; a fresh one is not. It is there
// before the old one is closed: without a reader, a writer that comes meanwhile dies, or its bytes do.
bool pipe_source::reopen(fd &pipe) {
    if (!site_->where.raw) return false;
    try {
        if (fd fresh = pipe ? opened() : fd()) {
            // Who came before the fresh one was there is read from the old one: only that would show the end.
            pollfd old{pipe.get(), POLLIN, 0};
            if (poll(&old, 1, 0) != 1 || old.revents != POLLHUP) return true;
            std::swap(pipe, fresh);
            fresh.reset();  // with its lock
            claim(pipe, false);
        } else {
            pipe.reset();  // there may be no descriptor left but this
            pipe = open();
        }
    } catch (const std::exception &) {
        pipe.reset();  // another receiver was quicker, and may go; or there is no memory now
    }
    return true;
}

int pipe_outlet::open(fd &pipe) {
    const std::string &path = site_->where.path;
    struct stat s;
    if (stat(path.c_str(), &s) == 0) check(path, s);
    fd opened(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (opened) {
        if (fstat(opened.get(), &s) == 0) check(path, s);
        pipe = std::move(opened);
        return 0;
    }
    int error = errno;
    std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    // Nobody reads it yet, or nobody has made it yet.
    if (error == ENXIO || error == EMFILE || error == ENFILE || (error == ENOENT && access(folder.c_str(), F_OK) == 0))
        return -error;
    fail(-error, "cannot open {}: {}", path, errno_words(error));
}

}  // namespace libipc::stream
