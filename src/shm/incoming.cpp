#include "incoming.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace libipc {

read_ring::read_ring(const layout::ring_place &place, mapping ring, mapping shared)
    : base(place.base),
      capacity(place.capacity),
      memory(std::move(ring)),
      bits(std::move(shared)),
      held_memory(make_private(layout::bitmap_words(capacity) * 8)),
      held(reinterpret_cast<bitmap::word *>(held_memory.get()), capacity),
      early(reinterpret_cast<bitmap::word *>(bits.get()), capacity) {}

incoming::incoming(const layout::hello &hello, std::vector<read_ring> rings, mapping link, fd data_bell, fd space_bell,
                   bool membarrier)
    : coming_(std::move(rings)),
      link_(std::move(link)),
      membarrier_(membarrier && hello.membarrier),
      sender_(hello.sender),
      pid_(hello.pid),
      data_bell_(std::move(data_bell)),
      space_bell_(std::move(space_bell)) {
    make_room();
    enter_next();
}

void incoming::start(const layout::hello &hello, std::int32_t from, const std::function<void()> &hear) {
    bool oldest = from == IPC_FROM_OLDEST;
    std::uint64_t start = oldest ? hello.oldest : hello.start;
    while (!coming_.empty() && coming_.front().base <= start) enter_next();
    at_ = {start, start % now_.capacity};
    sequence_ = oldest ? hello.oldest_sequence : hello.start_sequence;
    redelivered_from_ = hello.start;
    redelivered_until_ = hello.redelivered_until;
    released_ = start;
    auto count = [&](read_ring &r, std::uint64_t end) {
        r.early.each_set(std::max(start, r.base), std::min(end, redelivered_until_),
                         [&](std::uint64_t) { ++r.early_count; });
    };
    for (std::size_t i = 0; i <= coming_.size(); ++i)
        count(i == 0 ? now_ : coming_[i - 1], i < coming_.size() ? coming_[i].base : redelivered_until_);
    if (from == IPC_FROM_LATEST) {
        // Passed over frame by frame, so that an end among them is still seen: it stays the next to take.
        frame f;
        while (look(f) == frame_state::good && f.kind != layout::kind::end &&
               at_.position + f.length - std::max(start, now_.base) <= now_.capacity) {
            if (f.kind == layout::kind::continued) {
                if (hear) hear();
                if (!enter_at(at_.position + f.length)) break;
                continue;
            }
            at_.advance(f.length, now_.capacity);
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
        switch (look(f)) {
            case frame_state::nothing:
                return next::nothing;
            case frame_state::broken:
                return next::broken;
            case frame_state::good:
                break;
        }
        // More than a ring's worth can't be unreleased: a sender that claims so would lead us out of our bitmaps.
        if (at_.position + f.length - std::max(released_, now_.base) > now_.capacity) return next::broken;
        if (f.kind == layout::kind::continued) [[unlikely]]
            return next::continued;
        std::uint64_t position = at_.position, offset = at_.offset;
        bool again = position >= redelivered_from_ && position < redelivered_until_;
        at_.advance(f.length, now_.capacity);
        if (f.kind == layout::kind::end) {
            ended_ = true;
            if (held_count_ == 0) release_up_to(at_.position);
            return next::end;
        }
        if (again && now_.early.test(offset)) {  // the receiver before us released it early
            ++sequence_;
            if (held_count_ == 0) release_up_to(at_.position);
            continue;
        }
        if (held_count_++ == 0) {
            first_held_ = position;
        } else {
            write_held();
            now_.held.set(offset);
        }
        give(out, f, position, again ? IPC_REDELIVERED : 0);
        return next::message;
    }
}

std::int32_t incoming::release(std::uint64_t position) {
    if (release_in_order(position)) return 0;
    if (position >= at_.position || position % layout::frame_align != 0) return -EINVAL;
    if (position < released_) return -ESTALE;
    if (position < now_.base) [[unlikely]]
        return release_older(position);
    write_held();
    std::uint64_t offset = at_.offset_of(position, now_.capacity);
    if (!now_.held.test(offset)) return -ESTALE;
    now_.held.clear(offset);
    --held_count_;
    if (held_count_ == 0) {
        release_up_to(at_.position);
    } else if (position == released_) {
        release_up_to(position + now_.held.distance_to_set(offset, at_.position - position));
    } else {
        now_.early.set(offset);
        ++now_.early_count;
    }
    return 0;
}

// Those that are held get their bits.
void incoming::write_held() {
    for (std::uint64_t *held : {&first_held_, &second_held_})
        if (*held != none) now_.held.set(at_.offset_of(std::exchange(*held, none), now_.capacity));
}

// What is released is all in the ring that is read now.
void incoming::release_up_to(std::uint64_t position) {
    std::uint64_t from = released_;
    set_released(position);
    if (now_.early_count != 0) {
        // `released` first, then its bits: a death between the two leaves bits that say nothing any more, the other
        // order would leave messages that seem unreleased. A death falls between two instructions, so that it is the
        // compiler that must keep to it.
        compiler_fence();
        clear_early(now_, from, position);
    }
    tell_sender();
}

void incoming::clear_early(read_ring &ring, std::uint64_t from, std::uint64_t until) {
    for (from = std::max(from, ring.base); ring.early_count != 0 && from < until; --ring.early_count) {
        from += ring.early.distance_to_set(from % ring.capacity, until - from);
        if (from >= until) return;
        ring.early.clear(from % ring.capacity);
    }
}

// ---- From ring to ring ----------------------------------------------------------------------------------------------

bool incoming::announce(std::uint64_t after, read_ring ring) {
    // Those that were announced after the same one will never be gone on in.
    while (!coming_.empty() && coming_.back().base > after) coming_.pop_back();
    if (after != (coming_.empty() ? now_ : coming_.back()).base || ring.base <= after ||
        older_.size() + coming_.size() + 1 >= layout::most_rings)
        return false;
    make_room();
    coming_.push_back(std::move(ring));
    return true;
}

void incoming::enter_next() {
    now_ = std::move(coming_.front());
    coming_.erase(coming_.begin());
}

// The ring that follows this one is the first: what is announced after the same one replaces what was. So if another
// begins at `base`, it is one that we have not heard of, or a lie.
bool incoming::enter_at(std::uint64_t base) {
    if (!next_begins_at(base)) return false;
    at_ = {base, base % coming_.front().capacity};
    enter_next();
    return true;
}

bool incoming::at_continued() const {
    frame f;
    return look(f) == frame_state::good && f.kind == layout::kind::continued;
}

bool incoming::go_on() {
    frame f;
    if (look(f) != frame_state::good || f.kind != layout::kind::continued) return false;
    std::uint64_t base = at_.position + f.length;
    if (!next_begins_at(base)) return false;
    write_held();
    if (held_count_ != 0) older_.push_back(std::move(now_));
    enter_at(base);
    if (held_count_ == 0) {
        set_released(base);
        tell_sender();
    }
    return true;
}

std::int32_t incoming::release_older(std::uint64_t position) {
    std::size_t in = older_.size();
    do {
        if (in-- == 0) return -ESTALE;
    } while (older_[in].base > position);
    read_ring &ring = older_[in];
    std::uint64_t offset = position % ring.capacity;
    if (!ring.held.test(offset)) return -ESTALE;
    ring.held.clear(offset);
    --held_count_;
    if (position != released_) {
        ring.early.set(offset);
        ++ring.early_count;
        return 0;
    }
    // Up to the next that is held, in whichever ring.
    std::uint64_t from = released_, until = position;
    for (; in < older_.size(); ++in) {
        std::uint64_t end = end_of(in);
        until += older_[in].held.distance_to_set(until % older_[in].capacity, end - until);
        if (until != end) break;
    }
    if (in == older_.size()) until += now_.held.distance_to_set(until % now_.capacity, at_.position - until);
    set_released(until);
    compiler_fence();  // as in release_up_to
    for (std::size_t i = 0; i < older_.size(); ++i) clear_early(older_[i], from, std::min(until, end_of(i)));
    clear_early(now_, from, until);
    while (!older_.empty() && end_of(0) <= until) older_.erase(older_.begin());
    tell_sender();
    return 0;
}

// ---- Telling --------------------------------------------------------------------------------------------------------

// Only if it has what it waits for.
void incoming::ring_sender() {
    layout::link_words &w = words();
    if (released_ >= w.wants.load(std::memory_order_relaxed) && waker_must_ring(w.wants)) {
        ring_bell(space_bell_.get());
        ++bells_;
    }
}

// Where the frames end that are committed from there on, or those so many of them.
std::uint64_t incoming::end_of_committed(std::uint64_t from, std::uint64_t frames) const {
    std::size_t next = 0;
    while (next < coming_.size() && coming_[next].base <= from) ++next;
    const read_ring *ring = next == 0 ? &now_ : &coming_[next - 1];
    cursor end{from, from % ring->capacity};
    for (frame f; frames-- != 0 && end.position - std::max(released_, ring->base) < ring->capacity &&
                  read_frame(ring->memory.get(), ring->capacity, end, f) == frame_state::good;) {
        end.advance(f.length, ring->capacity);
        if (f.kind != layout::kind::continued) continue;
        if (next == coming_.size() || coming_[next].base != end.position) break;
        ring = &coming_[next++];
        end.offset = end.position % ring->capacity;
    }
    return end.position;
}

void incoming::fill(ipc_link &out) const {
    out.peer = sender_;
    out.pid = pid_;
    out.state = ended_ ? IPC_LINK_ENDED : IPC_LINK_UP;
    out.lack = 0;
    out.committed = end_of_committed(at_.position, ~std::uint64_t{0});
    out.delivered = at_.position;
    out.released = released_;
    out.behind = held_count_;
    out.skipped = skipped_;
}

// A sender that lives knows how much it has committed, and shows it. Of one that does not, a part is looked at each
// time, as it may be a million frames.
layout::status_link incoming::shown(bool gone) {
    constexpr std::uint64_t frames = 1 << 16;  // half a millisecond
    std::uint64_t committed = 0;
    if (ended_ || gone) {
        std::uint64_t from = std::max(seen_until_, at_.position);
        seen_until_ = end_of_committed(from, frames);
        if (end_of_committed(seen_until_, 1) == seen_until_) committed = seen_until_;
    }
    return {sender_,  pid_, ended_ || gone ? IPC_LINK_ENDED : IPC_LINK_UP, 0, committed, at_.position, released_,
            skipped_, 0};
}

void incoming::forget() {
    now_.bits.forget();
    for (auto *rings : {&older_, &coming_})
        for (read_ring &ring : *rings) ring.bits.forget();
    link_.forget();
}

}  // namespace libipc
