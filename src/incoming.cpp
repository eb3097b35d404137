#include "incoming.hpp"

#include <cerrno>
#include <utility>

namespace libipc {

incoming::incoming(const layout::hello &hello, mapping ring, mapping link, fd data_bell, fd space_bell,
                   std::int32_t from, bool membarrier)
    : ring_(std::move(ring)),
      link_(std::move(link)),
      held_memory_(make_private(layout::bitmap_words(hello.capacity) * 8)),
      capacity_(hello.capacity),
      held_(reinterpret_cast<bitmap::word *>(held_memory_.get()), capacity_),
      early_(reinterpret_cast<bitmap::word *>(link_.get() + layout::link_bitmap_offset), capacity_),
      membarrier_(membarrier && hello.membarrier),
      sender_(hello.sender),
      pid_(hello.pid),
      data_bell_(std::move(data_bell)),
      space_bell_(std::move(space_bell)) {
    start_at(hello, from);
}

void incoming::start_at(const layout::hello &hello, std::int32_t from) {
    bool oldest = from == IPC_FROM_OLDEST;
    std::uint64_t start = oldest ? hello.oldest : hello.start;
    at_ = {start, start % capacity_};
    sequence_ = oldest ? hello.oldest_sequence : hello.start_sequence;
    redelivered_from_ = hello.start;
    redelivered_until_ = hello.redelivered_until;
    released_ = start;
    early_.each_set(start, redelivered_until_, [&](std::uint64_t) { ++early_count_; });
    if (from == IPC_FROM_LATEST) {
        // Passed over frame by frame, so that an end among them is still seen: it stays the next to take.
        frame f;
        while (read_frame(ring_.get(), capacity_, at_, f) == frame_state::good && f.kind == layout::kind::message &&
               at_.position + f.length - start <= capacity_) {
            at_.advance(f.length, capacity_);
            ++sequence_;
            ++skipped_;
        }
        // Relaxed: `accepted` publishes them.
        words().skipped.store(skipped_, std::memory_order_relaxed);
        words().delivered.store(at_.position, std::memory_order_relaxed);
    } else {
        words().delivered.store(start, std::memory_order_relaxed);
    }
    // Pairs with outgoing::chosen. Before the first `released` of ours: a sender that reads that one must not take us
    // for undecided, and our place for one before it.
    words().accepted.store(1, std::memory_order_release);
    release_up_to(at_.position);
}

incoming::next incoming::take(ipc_message &out) {
    for (;;) {
        frame f;
        switch (read_frame(ring_.get(), capacity_, at_, f)) {
            case frame_state::nothing:
                return next::nothing;
            case frame_state::broken:
                return next::broken;
            case frame_state::good:
                break;
        }
        // More than a ring's worth can't be unreleased: a sender that claims so would lead us out of our bitmaps.
        if (at_.position + f.length - released_ > capacity_) return next::broken;
        std::uint64_t position = at_.position, offset = at_.offset;
        bool again = position >= redelivered_from_ && position < redelivered_until_;
        at_.advance(f.length, capacity_);
        if (f.kind == layout::kind::end) {
            ended_ = true;
            if (held_count_ == 0) release_up_to(at_.position);
            return next::end;
        }
        std::uint64_t sequence = sequence_++;
        if (again && early_.test(offset)) {  // the receiver before us released it early
            if (held_count_ == 0) release_up_to(at_.position);
            continue;
        }
        // Before the user sees the message, so that whoever takes our place after a death knows that it may have been
        // seen. Pairs with outgoing::refresh; the release keeps it behind `accepted`.
        words().delivered.store(at_.position, std::memory_order_release);
        if (held_count_++ == 0) {
            lone_ = position;
        } else {
            if (lone_ != none) held_.set(at_.offset_of(std::exchange(lone_, none), capacity_));
            held_.set(offset);
        }
        out.data = f.payload;
        out.size = f.size;
        out.tag = f.tag;
        out.sequence = sequence;
        out.sender = sender_;
        out.flags = again ? IPC_REDELIVERED : 0;
        out.position = position;
        leave_.count(membarrier_, words().unfenced);
        return next::message;
    }
}

std::int32_t incoming::release(std::uint64_t position) {
    if (position == lone_ && position != none) {
        lone_ = none;
        held_count_ = 0;
        release_up_to(at_.position);
        return 0;
    }
    if (position >= at_.position || position % layout::frame_align != 0) return -EINVAL;
    if (position < released_) return -ESTALE;
    std::uint64_t offset = at_.offset_of(position, capacity_);
    if (!held_.test(offset)) return -ESTALE;
    held_.clear(offset);
    --held_count_;
    if (held_count_ == 0) {
        release_up_to(at_.position);
    } else if (position == released_) {
        release_up_to(position + held_.distance_to_set(offset, at_.position - position));
    } else {
        early_.set(offset);
        ++early_count_;
    }
    return 0;
}

void incoming::release_up_to(std::uint64_t position) {
    std::uint64_t from = released_;
    released_ = position;
    // Pairs with outgoing::refresh. Weaker: the sender may write over a message while its user still reads it.
    words().released.store(position, std::memory_order_release);
    if (early_count_ != 0) {
        // `released` first, then its bits: a death between the two leaves bits that say nothing any more, the other
        // order would leave messages that seem unreleased. A death falls between two instructions, so that it is the
        // compiler that must keep to it.
        compiler_fence();
        for (std::uint64_t offset = at_.offset_of(from, capacity_), left = position - from; early_count_ != 0;) {
            std::uint64_t step = early_.distance_to_set(offset, left);
            if (step >= left) break;
            left -= step;
            offset = (offset + step) % capacity_;
            early_.clear(offset);
            --early_count_;
        }
    }
    tell_sender();
}

void incoming::tell_sender() {
    layout::link_words &w = words();
    if (waker_must_fence(w.sender_unfenced)) full_fence();
    compiler_fence();  // the look at `wants` is the waker's at asleep, and comes after its fence
    std::uint64_t wants = w.wants.load(std::memory_order_relaxed);
    if (wants != 0 && released_ >= wants && waker_must_ring(w.wants)) {
        ring_bell(space_bell_.get());
        ++rings_;
    }
}

void incoming::fill(ipc_link &out) const {
    out.peer = sender_;
    out.pid = pid_;
    out.state = ended_ ? IPC_LINK_ENDED : IPC_LINK_UP;
    cursor end = at_;
    for (frame f;
         read_frame(ring_.get(), capacity_, end, f) == frame_state::good && end.position - released_ < capacity_;)
        end.advance(f.length, capacity_);
    out.committed = end.position;
    out.delivered = at_.position;
    out.released = released_;
    out.behind = held_count_;
    out.skipped = skipped_;
}

layout::status_link incoming::shown(bool gone) const {
    return {sender_, pid_, ended_ || gone ? IPC_LINK_ENDED : IPC_LINK_UP, 0, at_.position, released_, skipped_, 0};
}

void incoming::forget() {
    ring_.forget();
    link_.forget();
    held_memory_.forget();
}

}  // namespace libipc
