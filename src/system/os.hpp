// Linux in the few forms that we use. Each function names what it promises; none throws unless it says so, and all
// return -errno where they fail. Thread cancellation must be off around them: see no_cancel.
#pragma once

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace libipc {

// A file descriptor that is closed with its owner.
class fd {
  public:
    fd() = default;
    explicit fd(int number) : number_(number) {}
    fd(fd &&other) noexcept : number_(std::exchange(other.number_, -1)) {}
    fd &operator=(fd &&other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~fd() { reset(); }
    int get() const { return number_; }
    explicit operator bool() const { return number_ >= 0; }
    void reset();
    template <class Archive>
    void hand_over(Archive &a) {
        a.resource(number_, -1);
    }

  private:
    int number_ = -1;
};

// pthread_cancel on the calling thread takes no effect while this lives: our frames hold memory and descriptors, and a
// catch (...) around a cancellation point would end the process.
class no_cancel {
  public:
    no_cancel() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    ~no_cancel() { pthread_setcancelstate(before_, nullptr); }
    no_cancel(const no_cancel &) = delete;
    no_cancel &operator=(const no_cancel &) = delete;

  private:
    int before_;
};

// What a sandbox (a seccomp filter) answers for a call that it refuses, and an older system for one that it has not.
inline bool is_refusal(int result) { return result == -EPERM || result == -ENOSYS; }

std::int64_t now_ns();         // CLOCK_MONOTONIC
std::int64_t coarse_now_ns();  // the same clock, as of the last tick (1 to 4 ms); no system call

std::uint64_t random_id();  // never 0; throws failure

// Each returns an fd (>= 0), close-on-exec and non-blocking, or -errno.
int make_epoll();
int make_eventfd();
int make_timer();
int make_socket(int type);  // of AF_UNIX
int pidfd_of(pid_t pid);
fd own_pidfd();  // empty where that is refused: then a hang-up alone tells that we are gone. Throws failure
int accept_from(int listener);

// Adds one to an eventfd. Async-signal-safe; keeps errno.
void ring_bell(int eventfd);

// Fires once after delay_ns, then each period_ns if that is not 0; delay 0 disarms.
void set_timer(int timerfd, std::int64_t delay_ns, std::int64_t period_ns);
void drain_timer(int timerfd);

int watch(int epoll, int fd, std::uint32_t events, std::uint64_t data);    // 0 or -errno
int rewatch(int epoll, int fd, std::uint32_t events, std::uint64_t data);  // 0 or -errno
// Needed before close: a copy of the descriptor in a forked child would keep it in the epoll.
void unwatch(int epoll, int fd);

// epoll_wait with nanoseconds (with milliseconds, rounded up, where that is refused): number of events, or -errno.
// -EINTR when a signal handler ran, and also after SIGCONT or when a debugger attaches: ppoll would spare us these, but
// needs a second call for the events.
int wait_events(int epoll, std::span<epoll_event> events, std::int64_t timeout_ns);

// Whoever is at the other end of a connected socket; user -1 if that can't be told.
ucred peer_of(int socket);

// A pidfd of that process: for who has connected, of the one that called listen. -ESRCH: it is dead. -ENOPROTOOPT: the
// kernel does not tell (before Linux 6.5, or refused by a sandbox).
int peer_pidfd(int socket);
bool has_ended(int pidfd);
// Nothing was said to it, and nobody has hung up.
bool is_connected(int socket);

// A message with descriptors on a SOCK_SEQPACKET socket: 0 or -errno. No SIGPIPE.
int send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds);

// ECONNRESET comes once, before what is still queued: so often it is passed over.
inline constexpr int most_resets = 3;

struct received {
    int size;           // bytes of the message, though there may be room for fewer; or -errno
    bool fds_cut;       // it came with more descriptors than were taken
    std::size_t count;  // descriptors taken; each is the caller's
};
// No message of ours comes with more.
inline constexpr std::size_t most_fds = 19;
// Looks at the next message and leaves it there, but takes copies of its descriptors.
received peek_with_fds(int socket, std::span<std::byte> bytes, std::span<fd, most_fds> fds);
received receive_with_fds(int socket, std::span<std::byte> bytes, std::span<fd, most_fds> fds);
void drop_message(int socket);
int receive_bytes(int socket, std::span<std::byte> bytes);  // how many came, or -errno
int send_to(int socket, std::span<const std::byte> bytes, const sockaddr *to,
            socklen_t size);  // 0 or -errno; no SIGPIPE
// To whom the socket is connected: how many bytes it has taken, or -errno; no SIGPIPE.
int send_parts(int socket, std::span<iovec> parts);
int read_bytes(int fd, std::span<std::byte> bytes);  // how many came, or -errno

// What kind of object an fd is, from /proc/self/fd: "anon_inode:[eventfd]".
bool is_anon_inode(int fd, const char *kind);

bool is_nonblocking(int fd);
// An eventfd that does not block whoever rings it.
bool is_doorbell(int fd);

// All that is in it; empty if it can't be read. Throws bad_alloc.
std::string read_file(const std::string &path);

// Registers the process for MEMBARRIER_CMD_GLOBAL_EXPEDITED; false where the kernel has none.
bool register_membarrier();
// A full barrier on every processor that runs a registered process; false if it was refused.
bool membarrier_global();

}  // namespace libipc
