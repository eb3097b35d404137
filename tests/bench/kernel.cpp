// What the kernel has, as one uses it: calls that block, a message a call where it fits.
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "medium.hpp"

namespace bench {

namespace {

void must(bool holds, const char *what) {
    if (!holds) throw std::system_error(errno, std::generic_category(), what);
}

// Two connected descriptors, and a stream of bytes between them.
template <void (*Connect)(int (&fds)[2])>
struct stream {
    std::size_t size;
    int fds[2] = {-1, -1};  // to read from, to write to
    stream(std::size_t most, std::size_t) : size(most) { Connect(fds); }
    ~stream() { give_up(); }
    void give_up() {
        shut(fds[0]);
        shut(fds[1]);
    }
    static void shut(int &fd) {
        if (fd >= 0) close(fd);
        fd = -1;
    }

    struct writer {
        stream &to;
        std::vector<std::byte> buffer;
        explicit writer(stream &s) : to(s), buffer(s.size) { shut(to.fds[0]); }
        std::byte *room(std::size_t) { return buffer.data(); }
        void publish(std::size_t size) const {
            for (auto *p = buffer.data(); size > 0;) {
                ssize_t n = write(to.fds[1], p, size);
                must(n >= 0, "write");
                p += n;
                size -= static_cast<std::size_t>(n);
            }
        }
        void finish() { shut(to.fds[1]); }
    };
    struct reader {
        stream &from;
        std::vector<std::byte> buffer;
        explicit reader(stream &s) : from(s), buffer(s.size) { shut(from.fds[1]); }
        const std::byte *next(std::size_t size) {
            for (auto *p = buffer.data(); size > 0;) {
                ssize_t n = read(from.fds[0], p, size);
                must(n >= 0, "read");
                if (n == 0) return nullptr;
                p += n;
                size -= static_cast<std::size_t>(n);
            }
            return buffer.data();
        }
        void done() {}
    };
};

void connect_pipe(int (&fds)[2]) { must(pipe(fds) == 0, "pipe"); }
void connect_unix(int (&fds)[2]) { must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair"); }
void connect_seqpacket(int (&fds)[2]) {
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0, "socketpair");
    int bytes = 1 << 22;  // of one message, at most; the kernel's own limit may be lower
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
void connect_tcp(int (&fds)[2]) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto *at = reinterpret_cast<sockaddr *>(&address);
    must(bind(listener, at, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, at, &size) == 0, "listen");
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(fds[1], at, size) == 0 && (fds[0] = accept(listener, nullptr, nullptr)) >= 0, "connect");
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    close(listener);
}

struct message_queue {
    mqd_t queue;
    std::size_t size;
    message_queue(std::size_t most, std::size_t) : size(most) {
        static int made;
        std::string name = "/libipc-bench-" + std::to_string(getpid()) + "-" + std::to_string(made++);
        mq_attr attributes{};
        attributes.mq_maxmsg = 10;  // the system's usual limit
        attributes.mq_msgsize = static_cast<long>(most);
        queue = mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
        must(queue != -1, "mq_open");
        mq_unlink(name.c_str());
    }
    ~message_queue() { mq_close(queue); }
    void give_up() {}

    struct writer {
        message_queue &to;
        std::vector<std::byte> buffer;
        explicit writer(message_queue &q) : to(q), buffer(q.size) {}
        std::byte *room(std::size_t) { return buffer.data(); }
        void publish(std::size_t size) const {
            must(mq_send(to.queue, reinterpret_cast<const char *>(buffer.data()), size, 0) == 0, "mq_send");
        }
        void finish() const { publish(0); }
    };
    struct reader {
        message_queue &from;
        std::vector<std::byte> buffer;
        explicit reader(message_queue &q) : from(q), buffer(q.size) {}
        const std::byte *next(std::size_t) {
            ssize_t n = mq_receive(from.queue, reinterpret_cast<char *>(buffer.data()), buffer.size(), nullptr);
            must(n >= 0, "mq_receive");
            return n > 0 ? buffer.data() : nullptr;
        }
        void done() {}
    };
};

}  // namespace

std::vector<contender> kernel_peers() {
    constexpr std::size_t any = ~std::size_t{0};
    // A seqpacket is one piece of kernel memory, of at most wmem_max (208 KiB as delivered); a message queue takes 8
    // KiB.
    return {over<stream<connect_pipe>>("pipe", contender::peer, any),
            over<stream<connect_unix>>("unix stream", contender::peer, any),
            over<stream<connect_seqpacket>>("unix seqpacket", contender::peer, 64 << 10),
            over<stream<connect_tcp>>("tcp", contender::peer, any),
            over<message_queue>("posix mq", contender::peer, 8 << 10)};
}

}  // namespace bench
