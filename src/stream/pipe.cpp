#include "pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "../failure.hpp"

namespace libipc::stream {

pipe_source::pipe_source(site &s, intake &in) : fifo_source(s, in) {
    const std::string &path = s.where.path;
    if (mkfifo(path.c_str(), 0600) == 0)
        made_ = true;
    else if (errno != EEXIST)
        fail(-errno, "cannot make the FIFO {}: {}", path, errno_words(errno));
    try {
        fd pipe = open();
        struct stat there;
        fstat(pipe.get(), &there);
        inode_ = there.st_ino;
        read_from(std::move(pipe));
    } catch (...) {
        if (made_) unlink(path.c_str());
        throw;
    }
}

void pipe_source::leave() {
    // Only what is ours: another may have taken the name when it was removed.
    struct stat there;
    const char *path = site_->where.path.c_str();
    if (made_ && lstat(path, &there) == 0 && there.st_ino == inode_) unlink(path);
    made_ = false;
    fifo_source::leave();
}

fd pipe_source::open() {
    fd pipe = opened();
    if (!pipe) fail(-errno, "cannot open {}: {}", site_->where.path, errno_words(errno));
    claim(pipe);
    return pipe;
}

fd pipe_source::opened() {
    // Opened for writing too, it never shows an end when a writer leaves; bare bytes have no other end than that.
    int way = site_->where.raw ? O_RDONLY : O_RDWR;
    return fd(::open(site_->where.path.c_str(), way | O_NONBLOCK | O_CLOEXEC));
}

void pipe_source::claim(const fd &pipe) {
    const std::string &path = site_->where.path;
    struct stat s;
    if (fstat(pipe.get(), &s) != 0 || !S_ISFIFO(s.st_mode))
        fail(-EINVAL, "{} is there already, and is no FIFO; remove it, or take another path", path);
    if (flock(pipe.get(), LOCK_EX | LOCK_NB) != 0)
        fail(-EADDRINUSE, "another receiver reads {}, and only one can; end that one, or take another path", path);
}

// A descriptor that has shown an end is readable until the next writer comes; a fresh one is not. It is there
// before the old one is closed: without a reader, a writer that comes meanwhile dies, or its bytes do.
bool pipe_source::reopen(fd &pipe) {
    if (!site_->where.raw) return false;
    try {
        if (fd fresh = opened()) {
            // Who came before the fresh one was there is read from the old one: only that would show the end.
            pollfd old{pipe.get(), POLLIN, 0};
            if (poll(&old, 1, 0) != 1 || old.revents != POLLHUP) return true;
            std::swap(pipe, fresh);
            fresh.reset();  // with its lock
            claim(pipe);
        } else {
            pipe.reset();  // there may be no descriptor left but this
            pipe = open();
        }
        return true;
    } catch (const failure &) {
        return false;  // it was removed, or another receiver has it: nothing more can come
    }
}

int pipe_outlet::open(fd &pipe) {
    const std::string &path = site_->where.path;
    struct stat s;
    if (stat(path.c_str(), &s) == 0 && !S_ISFIFO(s.st_mode))
        fail(-EINVAL, "{} is there already, and is no FIFO; remove it, or take another path", path);
    fd opened(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (opened) {
        pipe = std::move(opened);
        return 0;
    }
    int error = errno;
    std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    // Nobody reads it yet, or nobody has made it yet.
    if (error == ENXIO || error == EMFILE || error == ENFILE ||
        (error == ENOENT && access(folder.c_str(), F_OK) == 0))
        return -error;
    fail(-error, "cannot open {}: {}", path, errno_words(error));
}

}  // namespace libipc::stream
