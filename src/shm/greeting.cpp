#include "greeting.hpp"

#include <cerrno>
#include <utility>
#include <vector>

#include "packets.hpp"
#include "system/failure.hpp"

namespace libipc {

using of = event_tag::of;

received peek_hello(peer &p, layout::hello &hello, std::span<fd, most_fds> fds) {
    for (int resets = 0;;) {
        union {
            layout::hello hello;
            layout::waiting waiting;
        } said{};
        received got = peek_with_fds(p.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -ECONNRESET && ++resets < most_resets) continue;
        hello = said.hello;
        if (p.announced != 0 || !is_waiting(said.waiting, got)) return got;
        drop_message(p.socket.get());
        p.announced = said.waiting.sender;
        p.lack = said.waiting.lack < 0 && said.waiting.lack > -4096 ? said.waiting.lack : 0;
    }
}

bool make_link(peer &p, std::uint32_t index, layout::hello &hello, std::span<fd, most_fds> fds, events &e,
               bool membarrier) {
    check_space_bell(fds[layout::space_bell_fd]);
    int link_file = fds[layout::link_fd].get();
    check_peer_link(link_file, layout::link_bytes(hello.ring, hello.rings));
    std::vector<read_ring> rings;
    for (std::size_t i = 0; i < hello.rings; ++i)
        rings.push_back(
            map_ring(hello.ring[i], fds[layout::first_ring_fd + i], link_file, layout::link_bytes(hello.ring, i)));
    mapping words = map_link_part(link_file, 0, layout::link_words_bytes);
    fd data_bell(made(make_eventfd(), "an eventfd"));
    int bell = data_bell.get();
    hello.pid = peer_of(p.socket.get()).pid;  // as the kernel says, in our namespace; not as the sender claims
    p.link.emplace(hello, std::move(rings), std::move(words), std::move(data_bell),
                   std::move(fds[layout::space_bell_fd]), membarrier);
    e.add(bell, {of::data_bell, index, p.generation}, true);
    int pid = -ENOPROTOOPT;
    if (hello.with_pid) {
        p.pid = std::move(fds[layout::first_ring_fd + hello.rings]);
        if (!is_anon_inode(p.pid.get(), "anon_inode:[pidfd]")) fail(-EINVAL, "the sender's pidfd is none");
    } else {
        pid = peer_pidfd(p.socket.get());
        if (is_lack(pid)) fail(pid, "no pidfd of the sender is to be had: {}", errno_words(-pid));
        p.pid = fd(pid);
    }
    if (p.pid) e.add(p.pid.get(), {of::peer_pid, index, p.generation});
    if (p.waits) e.add(p.socket.get(), {of::peer_socket, index, p.generation});
    return pid == -ESRCH;
}

void unmake_link(peer &p, events &e) {
    if (p.pid) e.remove(p.pid.get());
    p.pid.reset();
    if (p.link) e.remove(p.link->data_bell());
    p.link.reset();
}

// It can do without our descriptors, and not without the answer.
void answer(const peer &p, const self &own, bool with_pid) {
    layout::answer yes{};
    yes.head = {layout::answer_magic, layout::version, sizeof yes};
    yes.receiver = own.id;
    yes.membarrier = own.membarrier;
    const int fds[] = {p.link->data_bell(), own.pid.get()};
    auto bytes = std::as_bytes(std::span(&yes, 1));
    if (send_with_fds(p.socket.get(), bytes, std::span(fds).first(with_pid ? 2 : 1)) == -ETOOMANYREFS)
        send_with_fds(p.socket.get(), bytes, {});
}

void say_no(const peer &p, const self &own, std::string_view words) {
    layout::answer no{};
    no.head = {layout::answer_magic, layout::version, sizeof no};
    no.receiver = own.id;
    no.refused = 1;
    words.copy(no.words, sizeof no.words - 1);
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&no, 1)), {});
}

void tell(const peer &p, layout::notice_kind what) {
    if (!p.link || !p.socket) return;
    layout::notice notice{{layout::notice_magic, layout::version, sizeof notice}, what, 0};
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&notice, 1)), {});
}

}  // namespace libipc
