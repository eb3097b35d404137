// fd://N: a pipe or a connected socket that this process was given, by its parent or by its own code. It is the
// handle's from then on, and is closed with it; 0, 1 and 2 stay open, as programs count on them.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "../failure.hpp"
#include "connections.hpp"
#include "dialer.hpp"
#include "fifo.hpp"
#include "transports.hpp"

namespace libipc::stream {

namespace {

// Throws words if it can't be read from, or written to.
bool is_socket(int number, bool to_read) {
    struct stat s;
    fstat(number, &s);  // it is open, as the site has seen
    int mode = fcntl(number, F_GETFL) & O_ACCMODE;
    if (to_read ? mode == O_WRONLY : mode == O_RDONLY)
        fail(-EINVAL, "descriptor {} is for {} only; a {} needs the other end", number, to_read ? "writing" : "reading",
             to_read ? "receiver" : "sender");
    if (S_ISFIFO(s.st_mode)) return false;
    if (!S_ISSOCK(s.st_mode)) fail(-EINVAL, "descriptor {} is neither a pipe nor a socket", number);
    int type = 0;
    socklen_t size = sizeof type;
    getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size);
    sockaddr_storage peer;
    size = sizeof peer;
    if (type != SOCK_STREAM || getpeername(number, reinterpret_cast<sockaddr *>(&peer), &size) != 0)
        fail(-EINVAL,
             "descriptor {} is a socket, but no connected stream socket; make it by socketpair(AF_UNIX, "
             "SOCK_STREAM)",
             number);
    return true;
}

// Ours, so that it can be made non-blocking without anybody noticing who shares it: of a pipe that takes another open
// of the same end.
fd take(int number, bool socket, bool to_read) {
    fd taken;
    if (!socket) {
        std::string path = fmt::format("/proc/self/fd/{}", number);
        taken = fd(open(path.c_str(), (to_read ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC));
    }
    if (!taken) {
        taken = fd(fcntl(number, F_DUPFD_CLOEXEC, 3));
        if (!taken) fail(-errno, "cannot take descriptor {}: {}", number, errno_words(errno));
        fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
    }
    if (number > 2) close(number);
    return taken;
}

class inherited_connection final : public connections {
  public:
    inherited_connection(site &s, intake &in, fd socket) : connections(s, in) { adopt(std::move(socket)); }
};

class inherited_dialer final : public dialer {
  public:
    inherited_dialer(site &s, outbox &out, fd socket) : dialer(s, out) { adopt(std::move(socket)); }

  private:
    int dial(fd &) override { return -ENOTCONN; }
};

class inherited_source final : public fifo_source {
  public:
    inherited_source(site &s, intake &in, fd pipe) : fifo_source(s, in) { read_from(std::move(pipe)); }
};

class inherited_outlet final : public fifo_outlet {
  public:
    inherited_outlet(site &s, outbox &out, fd pipe) : fifo_outlet(s, out) { write_to(std::move(pipe)); }

  private:
    int open(fd &) override { return -EPIPE; }
};

}  // namespace

std::unique_ptr<source> adopt_source(site &s, intake &in) {
    int number = s.where.descriptor;
    if (is_socket(number, true)) return std::make_unique<inherited_connection>(s, in, take(number, true, true));
    return std::make_unique<inherited_source>(s, in, take(number, false, true));
}

std::unique_ptr<outlet> adopt_outlet(site &s, outbox &out) {
    int number = s.where.descriptor;
    if (is_socket(number, false)) return std::make_unique<inherited_dialer>(s, out, take(number, true, false));
    return std::make_unique<inherited_outlet>(s, out, take(number, false, false));
}

}  // namespace libipc::stream
