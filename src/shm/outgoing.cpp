#include "outgoing.hpp"

#include <algorithm>

namespace libipc {

outgoing::outgoing(std::span<const layout::ring_place> rings, std::uint64_t oldest, std::uint64_t start)
    : file_(make_link_memory(layout::link_bytes(rings.data(), rings.size()))),
      words_(map_link_part(file_.get(), 0, layout::link_words_bytes)),
      start_(start),
      released_(oldest),
      delivered_(oldest) {
    // Relaxed: the receiver gets to know this memory through a socket.
    words().released.store(oldest, std::memory_order_relaxed);
    words().delivered.store(oldest, std::memory_order_relaxed);  // with from=oldest it starts there
    for (std::size_t i = 0; i < rings.size(); ++i)
        early_.add(rings[i], file_.get(), layout::link_bytes(rings.data(), i));
}

void outgoing::prepare(const layout::ring_place &next) {
    file_ = make_link_memory(layout::bits_bytes(next.capacity));
    early_.add(next, file_.get(), 0);
}

int outgoing::announce(std::uint64_t after, const layout::ring_place &next, int ring_file) {
    layout::ring_notice notice{{layout::ring_magic, layout::version, sizeof notice}, after, next};
    int fds[layout::ring_fds] = {ring_file, file_.get()};
    int r = send_with_fds(socket.get(), std::as_bytes(std::span(&notice, 1)), fds);
    close_file();
    return r;
}

void outgoing::ring() const {
    if (data_bell) return ring_bell(data_bell.get());
    // If the socket is full, the receiver has something to read there, and wakes.
    layout::notice wake{{layout::notice_magic, layout::version, sizeof wake}, layout::notice_kind::wake, 0};
    send_with_fds(socket.get(), std::as_bytes(std::span(&wake, 1)), {});
}

bool outgoing::refresh(std::uint64_t head) {
    // Acquire pairs with the releases in incoming. Weaker: the next commit's stores may come before the last loads of
    // what was released. `released` first, so that what it says was delivered is in `delivered`.
    std::uint64_t released = words().released.load(std::memory_order_acquire);
    std::uint64_t delivered = words().delivered.load(std::memory_order_acquire);
    if (released < released_ || released > head || delivered < delivered_ || delivered > head ||
        (released | delivered) % layout::frame_align != 0)
        return false;
    released_ = released;
    delivered_ = delivered;
    early_.drop_left(released);
    return true;
}

place outgoing::where() const {
    // Never before `released_`: what lies there may be overwritten.
    std::uint64_t released = chosen() ? released_ : std::max(start_, released_);
    return {released, std::max({released, delivered_, redelivered_until_})};
}

void outgoing::fill(ipc_link &out, std::uint64_t head) const {
    out.peer = receiver;
    out.pid = process;
    out.state = state();
    out.lack = 0;
    out.committed = head;
    out.delivered = chosen() ? delivered_ : start_;
    out.released = released_;
    // Relaxed: a figure.
    out.skipped = words().skipped.load(std::memory_order_relaxed);
}

// As the receiver has them now, unchecked, as whoever reads the page checks all of it. Relaxed: figures.
layout::status_link outgoing::shown(std::uint64_t head) const {
    std::uint64_t released = words().released.load(std::memory_order_relaxed);
    std::uint64_t delivered = chosen() ? words().delivered.load(std::memory_order_relaxed) : released;
    return {receiver, process, state(), 0, head, delivered, released, words().skipped.load(std::memory_order_relaxed),
            0};
}

}  // namespace libipc
