// A receiver's side of one link: where it reads, what is held, what it tells the sender. It makes no system call but
// the ring of a bell.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "memory/bitmap.hpp"
#include "memory/layout.hpp"
#include "memory/mapping.hpp"
#include "memory/ring.hpp"
#include "system/os.hpp"
#include "waiting/waking.hpp"

namespace libipc {

// A ring as a receiver has it.
struct read_ring {
    read_ring() = default;
    read_ring(const layout::ring_place &place, mapping ring, mapping bits);  // throws failure
    template <class Archive>
    void hand_over(Archive &a) {
        a(base, capacity, memory, bits, held_memory, held, early, early_count);
    }

    std::uint64_t base = 0, capacity = 0;
    mapping memory, bits, held_memory;
    bitmap held;                    // private: started and not released; a double release finds its bit gone
    bitmap early;                   // shared: released before an older one
    std::uint64_t early_count = 0;  // bits set in it
};

class incoming {
  public:
    incoming() = default;
    // What was made of a sender's hello, and its rings in order. Takes the link's words as the sender left them. Then
    // start() as `from` says, and announce() for what it has said since.
    incoming(const layout::hello &hello, std::vector<read_ring> rings, mapping link, fd data_bell, fd space_bell,
             bool membarrier);
    // Another ring, in which the stream may go on after the one that begins at `after`. False if that can't be.
    bool announce(std::uint64_t after, read_ring ring);
    // hear() is called where the stream goes on in another ring, and announces those that are not known yet: see
    // at_continued.
    void start(const layout::hello &hello, std::int32_t from, const std::function<void()> &hear = {});
    // So that going on in another ring asks for no memory: done for each ring, and to be done after a handoff.
    void make_room() { older_.reserve(layout::most_rings); }
    // The stream goes on in another ring. Which one is known once all has been heard that the sender said before: it
    // may have announced one, taken that back, and announced another.
    bool at_continued() const;
    // Goes on there. False if that ring was not announced.
    bool go_on();

    enum class next { nothing, message, end, continued, broken };
    // Takes the next frame. A message is held from now on: `out` but struct_size and link is filled.
    next take(ipc_message &out);
    // The same for what nearly all receivers do nearly always, without a call: takes a message while none or one is
    // held. False if it is anything else, and nothing has changed.
    bool take_in_order(ipc_message &out);
    // Something is there to take. As the sleeper's last look it must come after set_asleep and a fence, which the
    // acquire alone would not see to; it pairs with ring_writer::commit.
    bool has_frame() const { return frame_at(now_.memory.get(), at_.offset).word.load(std::memory_order_acquire) != 0; }

    // 0, -ESTALE or -EINVAL; rings the sender if it waits for the room.
    std::int32_t release(std::uint64_t position);
    // The same for the oldest of the one or two that are held, without a call. False if it is another, and nothing has
    // changed.
    bool release_in_order(std::uint64_t position);

    // The waking protocol of waking.hpp, the sleeper's part: take_back for all links, one membarrier if any says so,
    // set_asleep for all, one fence, then has_frame() of all.
    void keep_fences() { membarrier_ = false; }  // gives no leave any more
    bool forbid_unfenced() { return leave_.take_back(words().unfenced); }
    void set_asleep() { words().asleep.store(1, std::memory_order_relaxed); }
    void set_awake() { words().asleep.store(0, std::memory_order_relaxed); }

    std::uint64_t sender() const { return sender_; }
    std::int32_t pid() const { return pid_; }
    int data_bell() const { return data_bell_.get(); }
    std::uint64_t held() const { return held_count_; }
    std::uint64_t held_bytes() const { return at_.position - released_; }
    std::uint64_t skipped() const { return skipped_; }
    std::uint64_t bells() const { return bells_; }
    bool ended() const { return ended_; }
    void fill(ipc_link &out) const;
    layout::status_link shown(bool gone);
    // In a forked child what is written by both sides is not mapped.
    void forget();
    template <class Archive>
    void hand_over(Archive &a) {
        a(now_, older_, coming_, link_, at_, released_, sequence_, redelivered_from_, redelivered_until_);
        a(first_held_, second_held_, held_count_, leave_, membarrier_, ended_);
        a(sender_, pid_, skipped_, bells_, seen_until_, data_bell_, space_bell_);
    }

  private:
    layout::link_words &words() const { return *reinterpret_cast<layout::link_words *>(link_.get()); }
    frame_state look(frame &out) const;
    void give(ipc_message &out, const frame &f, std::uint64_t position, std::int32_t flags);
    bool next_begins_at(std::uint64_t base) const { return !coming_.empty() && coming_.front().base == base; }
    bool enter_at(std::uint64_t base);
    void enter_next();
    std::int32_t release_older(std::uint64_t position);
    void release_up_to(std::uint64_t position);
    std::uint64_t end_of_committed(std::uint64_t from, std::uint64_t frames) const;
    [[gnu::noinline]] void ring_sender();
    void set_released(std::uint64_t position);
    void write_held();
    static void clear_early(read_ring &ring, std::uint64_t from, std::uint64_t until);
    std::uint64_t end_of(std::size_t older) const {
        return older + 1 < older_.size() ? older_[older + 1].base : now_.base;
    }
    void tell_sender();

    read_ring now_;                  // that at_ is in
    std::vector<read_ring> older_;   // in which messages are held; the oldest held one is in the first
    std::vector<read_ring> coming_;  // announced: those of the hello that are not read yet, then what may come after
    mapping link_;
    cursor at_;                   // next frame to take
    std::uint64_t released_ = 0;  // as in link_words; while messages are held, the start of the oldest of them
    std::uint64_t sequence_ = 0;  // of the next message
    std::uint64_t redelivered_from_ = 0,
                  redelivered_until_ = 0;  // what a receiver that is gone had got, and not released
    // One or two messages that are held have no bits in `held`: most release one before they receive the next, or the
    // one before after that (which saves 3 ns a message, and 11). They are in the ring that is read now.
    static constexpr std::uint64_t none = ~std::uint64_t{0};
    std::uint64_t first_held_ = none, second_held_ = none;
    std::uint64_t held_count_ = 0;
    fence_leave leave_;
    bool membarrier_ = false;  // both sides are registered
    bool ended_ = false;
    std::uint64_t sender_ = 0;
    std::int32_t pid_ = 0;
    std::uint64_t skipped_ = 0;
    std::uint64_t bells_ = 0;
    std::uint64_t seen_until_ = 0;  // what a sender that is gone had committed, as far as that was looked at
    fd data_bell_, space_bell_;
};

inline frame_state incoming::look(frame &out) const { return read_frame(now_.memory.get(), now_.capacity, at_, out); }

// What at_ has passed goes to the user.
inline void incoming::give(ipc_message &out, const frame &f, std::uint64_t position, std::int32_t flags) {
    // Before the user sees the message, so that whoever takes our place after a death knows that it may have been
    // seen. Pairs with outgoing::refresh; the release keeps it behind `accepted`.
    words().delivered.store(at_.position, std::memory_order_release);
    out.data = f.payload;
    out.size = f.size;
    out.tag = f.tag;
    out.sequence = sequence_++;
    out.sender = sender_;
    out.flags = flags;
    out.position = position;
    leave_.count(membarrier_, words().unfenced);
}

inline bool incoming::take_in_order(ipc_message &out) {
    frame f;
    if (held_count_ != 0 && (held_count_ != 1 || first_held_ == none)) return false;
    if (look(f) != frame_state::good || f.kind != layout::kind::message) return false;
    std::uint64_t position = at_.position;
    if (position < redelivered_until_ || position + f.length - std::max(released_, now_.base) > now_.capacity)
        return false;
    at_.advance(f.length, now_.capacity);
    (held_count_++ == 0 ? first_held_ : second_held_) = position;
    give(out, f, position, 0);
    return true;
}

// Pairs with outgoing::refresh. Weaker: the sender may write over a message while its user still reads it.
inline void incoming::set_released(std::uint64_t position) {
    released_ = position;
    words().released.store(position, std::memory_order_release);
}

inline void incoming::tell_sender() {
    layout::link_words &w = words();
    if (waker_must_fence(w.sender_unfenced)) full_fence();
    compiler_fence();  // the look at `wants` is the waker's at asleep, and comes after its fence
    if (w.wants.load(std::memory_order_relaxed) != 0) [[unlikely]]
        ring_sender();
}

inline bool incoming::release_in_order(std::uint64_t position) {
    if (position != first_held_ || position == none) return false;
    std::uint64_t until = at_.position;
    if (--held_count_ != 0) until = second_held_;
    first_held_ = std::exchange(second_held_, none);
    if (now_.early_count != 0) [[unlikely]] {
        release_up_to(until);
        return true;
    }
    set_released(until);
    tell_sender();
    return true;
}

}  // namespace libipc
