#include "inherited.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "system/failure.hpp"

namespace libipc::stream {

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

fd take_inherited(int number, bool socket, bool to_read) {
    fd taken;
    if (!socket) {
        std::string path = fmt::format("/proc/self/fd/{}", number);
        taken = fd(open(path.c_str(), (to_read ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC));
    }
    if (!taken) {
        taken = fd(fcntl(number, F_DUPFD_CLOEXEC, 3));
        if (!taken) fail(-errno, "cannot take descriptor {}: {}", number, errno_words(errno));
        if (!socket) fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
    }
    return taken;
}

void close_inherited(int number) {
    if (number > 2) close(number);
}

}  // namespace libipc::stream
