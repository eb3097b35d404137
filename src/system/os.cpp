#include "os.hpp"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "failure.hpp"

namespace libipc {

namespace {

int result(long r) { return r < 0 ? -errno : static_cast<int>(r); }

// For what two calls of the system can do: a sandbox that refuses one of them by its number seldom thinks of the other.
template <class First, class Second>
int either(First first, Second second) {
    int r = result(first());
    return is_refusal(r) ? result(second()) : r;
}

std::int64_t clock_ns(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

timespec to_timespec(std::int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }

received receive(int socket, std::span<std::byte> bytes, std::span<fd, most_fds> fds, int flags) {
    alignas(cmsghdr) char control[CMSG_LEN(sizeof(int) * most_fds)];
    iovec part{bytes.data(), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    // With MSG_TRUNC the size is the message's own, whatever the room for it.
    flags |= MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC;
    int n = either([&] { return recvmsg(socket, &m, flags); },
                   [&] {
                       mmsghdr one{m, 0};
                       int r = recvmmsg(socket, &one, 1, flags, nullptr);
                       m = one.msg_hdr;
                       return r < 0 ? r : static_cast<int>(one.msg_len);
                   });
    received r{n, false, 0};
    if (n < 0) return r;
    r.fds_cut = m.msg_flags & MSG_CTRUNC;
    for (cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count && r.count < most_fds; ++i) {
            int number;
            std::memcpy(&number, CMSG_DATA(c) + i * sizeof number, sizeof number);
            fds[r.count++] = fd(number);
        }
    }
    return r;
}

}  // namespace

void fd::reset() {
    if (number_ >= 0) close(std::exchange(number_, -1));
}

std::int64_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }
std::int64_t coarse_now_ns() { return clock_ns(CLOCK_MONOTONIC_COARSE); }

std::uint64_t random_id() {
    for (;;) {
        std::uint64_t id = 0;
        ssize_t n = getrandom(&id, sizeof id, 0);
        if (n < 0 && errno != EINTR)
            fail(-errno, "cannot draw a random id: {}; allow getrandom in this process's seccomp filter",
                 errno_words(errno));
        if (n == sizeof id && id != 0) return id;
    }
}

int make_epoll() { return result(epoll_create1(EPOLL_CLOEXEC)); }
int make_eventfd() { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
int make_timer() { return result(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }
int make_socket(int type) { return result(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }
int pidfd_of(pid_t pid) { return result(syscall(SYS_pidfd_open, pid, 0)); }

fd own_pidfd() {
    int r = pidfd_of(getpid());
    return is_refusal(r) ? fd() : made(r, "a pidfd");
}

int accept_from(int listener) {
    return either([&] { return accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); },
                  [&] {
                      int s = accept(listener, nullptr, nullptr);
                      if (s >= 0) {
                          fcntl(s, F_SETFD, FD_CLOEXEC);
                          fcntl(s, F_SETFL, O_NONBLOCK);
                      }
                      return s;
                  });
}

void ring_bell(int eventfd) {
    int saved = errno;
    std::uint64_t one = 1;
    // Not write(): that is a cancellation point. The counter would need 2^64 rings to be full.
    iovec part{&one, sizeof one};
    either([&] { return syscall(SYS_write, eventfd, &one, sizeof one); },
           [&] { return syscall(SYS_writev, eventfd, &part, 1); });
    errno = saved;
}

void set_timer(int timerfd, std::int64_t delay_ns, std::int64_t period_ns) {
    itimerspec t{to_timespec(period_ns), to_timespec(delay_ns)};
    timerfd_settime(timerfd, 0, &t, nullptr);
}

void drain_timer(int timerfd) {
    std::uint64_t times;
    read_bytes(timerfd, std::as_writable_bytes(std::span(&times, 1)));
}

int watch(int epoll, int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event e{events, {.u64 = data}};
    return result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}

int rewatch(int epoll, int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event e{events, {.u64 = data}};
    return result(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e));
}

void unwatch(int epoll, int fd) {
    if (fd >= 0) epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
}

int wait_events(int epoll, std::span<epoll_event> events, std::int64_t timeout_ns) {
    int most = static_cast<int>(events.size());
    auto exactly = [&] {
        timespec t = to_timespec(timeout_ns);
        return epoll_pwait2(epoll, events.data(), most, timeout_ns < 0 ? nullptr : &t, nullptr);
    };
    if (timeout_ns > 0) {
        int n = result(exactly());
        if (!is_refusal(n)) return n;
    }
    std::int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 != 0);
    return either(
        [&] { return epoll_wait(epoll, events.data(), most, static_cast<int>(std::min<std::int64_t>(ms, INT_MAX))); },
        exactly);
}

ucred peer_of(int socket) {
    ucred who{};
    socklen_t size = sizeof who;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) who.uid = static_cast<uid_t>(-1);
    return who;
}

#ifndef SO_PEERPIDFD  // not in the headers of Debian 12
#define SO_PEERPIDFD 77
#endif

int peer_pidfd(int socket) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0) return pidfd;
    switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return -errno;
        case EINVAL:  // which of the two says that the process is gone depends on the kernel
        case ESRCH:
            return -ESRCH;
        default:
            return -ENOPROTOOPT;
    }
}

bool has_ended(int pidfd) {
    pollfd p{pidfd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

bool is_connected(int socket) {
    std::byte byte;
    std::array<fd, most_fds> fds;
    return peek_with_fds(socket, {&byte, 1}, fds).size == -EAGAIN;
}

int send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_fds)] = {};
    iovec part{const_cast<std::byte *>(bytes.data()), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (!fds.empty()) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    mmsghdr one{m, 0};
    int n = either([&] { return sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT); },
                   [&] { return sendmmsg(socket, &one, 1, MSG_NOSIGNAL | MSG_DONTWAIT); });
    return n < 0 ? n : 0;
}

received peek_with_fds(int socket, std::span<std::byte> bytes, std::span<fd, most_fds> fds) {
    return receive(socket, bytes, fds, MSG_PEEK);
}

received receive_with_fds(int socket, std::span<std::byte> bytes, std::span<fd, most_fds> fds) {
    return receive(socket, bytes, fds, 0);
}

void drop_message(int socket) {
    std::byte byte;
    // Without room for descriptors the kernel drops those of the message. ECONNRESET comes once, before what is queued.
    for (int tries = 0, r = -1; tries < 3 && r < 0 && r != -EAGAIN; ++tries) r = receive_bytes(socket, {&byte, 1});
}

int receive_bytes(int socket, std::span<std::byte> bytes) {
    return either([&] { return recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT); },
                  [&] {
                      iovec part{bytes.data(), bytes.size()};
                      msghdr m{};
                      m.msg_iov = &part;
                      m.msg_iovlen = 1;
                      return recvmsg(socket, &m, MSG_DONTWAIT);
                  });
}

int send_to(int socket, std::span<const std::byte> bytes, const sockaddr *to, socklen_t size) {
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    int n = either([&] { return sendto(socket, bytes.data(), bytes.size(), flags, to, size); },
                   [&] {
                       iovec part{const_cast<std::byte *>(bytes.data()), bytes.size()};
                       msghdr m{};
                       m.msg_name = const_cast<sockaddr *>(to);
                       m.msg_namelen = size;
                       m.msg_iov = &part;
                       m.msg_iovlen = 1;
                       return sendmsg(socket, &m, flags);
                   });
    return n < 0 ? n : 0;
}

int send_parts(int socket, std::span<iovec> parts) {
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    auto by_message = [&] {
        msghdr m{};
        m.msg_iov = parts.data();
        m.msg_iovlen = parts.size();
        return sendmsg(socket, &m, flags);
    };
    if (parts.size() != 1) return result(by_message());
    return either([&] { return send(socket, parts[0].iov_base, parts[0].iov_len, flags); }, by_message);
}

int read_bytes(int fd, std::span<std::byte> bytes) {
    iovec part{bytes.data(), bytes.size()};
    return either([&] { return read(fd, bytes.data(), bytes.size()); }, [&] { return readv(fd, &part, 1); });
}

bool is_anon_inode(int fd, const char *kind) {
    char path[32], target[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int n = either([&] { return readlink(path, target, sizeof target - 1); },
                   [&] { return readlinkat(AT_FDCWD, path, target, sizeof target - 1); });
    if (n < 0) return false;
    target[n] = 0;
    return std::strcmp(target, kind) == 0;
}

std::string read_file(const std::string &path) {
    std::string text;
    fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char part[4096];
    int n;
    while (file && (n = read_bytes(file.get(), std::as_writable_bytes(std::span(part)))) > 0)
        text.append(part, static_cast<std::size_t>(n));
    return text;
}

bool is_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && flags & O_NONBLOCK;
}

bool is_doorbell(int fd) { return is_anon_inode(fd, "anon_inode:[eventfd]") && is_nonblocking(fd); }

bool register_membarrier() { return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0; }

bool membarrier_global() { return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0; }

}  // namespace libipc
