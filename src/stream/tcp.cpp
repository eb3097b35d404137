#include "tcp.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "system/failure.hpp"

namespace libipc::stream {

namespace {

int make_tcp_socket(const address &a) {
    int s = socket(a.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return s < 0 ? -errno : s;
}

// What is sent goes out at once; and whether the other machine is still there is asked after 15 s of silence, so that
// one that lost its power is noticed within half a minute. A process that is stopped stays: its system answers.
void tune(int socket) {
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace

tcp_listener::tcp_listener(site &s, intake &in)
    : connections(s, in), bound_(resolve(s.where)), allowed_(s.where, bound_) {
    fd listener(made(make_tcp_socket(bound_), "a socket"));
    // A connection that a receiver before us had may still be dying.
    set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (bound_.family() == AF_INET6) set_option(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, s.where.host != "*");
    if (bind(listener.get(), bound_.get(), bound_.size) != 0 || ::listen(listener.get(), SOMAXCONN) != 0)
        fail_to_have(bound_, "tcp", "listen on", errno);
    bound_ = name_of_socket(listener.get());
    listen(std::move(listener));
}

std::string tcp_listener::url() const { return url_of("tcp", site_->where, bound_.port()); }

std::optional<refusal> tcp_listener::admit(int socket) {
    tune(socket);
    address peer = peer_of_socket(socket);
    if (allowed_.has(peer)) return {};
    return refusal("{} is not within allow= of this receiver", peer.words());
}

tcp_dialer::tcp_dialer(site &s, outbox &out) : dialer(s, out), there_(resolve(s.where)) { open(); }

int tcp_dialer::dial(fd &socket) {
    fd fresh(make_tcp_socket(there_));
    if (!fresh) return -EMFILE;
    tune(fresh.get());
    int r;
    do r = connect(fresh.get(), there_.get(), there_.size) == 0 ? 0 : -errno;
    while (r == -EINTR);
    if (r != 0 && r != -EINPROGRESS) return r;
    socket = std::move(fresh);
    return r;
}

}  // namespace libipc::stream
