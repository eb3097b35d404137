// A receiver's side of one link: where it reads, what is held, what it tells the sender. It makes no system call but
// the ring of a bell.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>

#include "bitmap.hpp"
#include "layout.hpp"
#include "memory.hpp"
#include "os.hpp"
#include "ring.hpp"
#include "waking.hpp"

namespace libipc {

class incoming {
  public:
    incoming() = default;
    // What was made of a sender's hello. Takes the link's words as the sender left them, and starts as `from` says.
    incoming(const layout::hello &hello, mapping ring, mapping link, fd data_bell, fd space_bell, std::int32_t from,
             bool membarrier);  // throws failure

    enum class next { nothing, message, end, broken };
    // Takes the next frame. A message is held from now on: `out` but struct_size and link is filled.
    next take(ipc_message &out);
    // Something is there to take. As the sleeper's last look it must come after set_asleep and a fence, which the
    // acquire alone would not see to; it pairs with ring_writer::commit.
    bool waiting() const { return frame_at(ring_.get(), at_.offset).word.load(std::memory_order_acquire) != 0; }

    // 0, -ESTALE or -EINVAL; rings the sender if it waits for the room.
    std::int32_t release(std::uint64_t position);

    // The waking protocol of waking.hpp, the sleeper's part: take_back for all links, one membarrier if any says so,
    // set_asleep for all, one fence, then waiting() of all.
    void keep_fences() { membarrier_ = false; }  // gives no leave any more
    bool take_back() { return leave_.take_back(words().unfenced); }
    void set_asleep() { words().asleep.store(1, std::memory_order_relaxed); }
    void set_awake() { words().asleep.store(0, std::memory_order_relaxed); }

    std::uint64_t sender() const { return sender_; }
    std::int32_t pid() const { return pid_; }
    int data_bell() const { return data_bell_.get(); }
    std::uint64_t held() const { return held_count_; }
    std::uint64_t held_bytes() const { return at_.position - released_; }
    std::uint64_t skipped() const { return skipped_; }
    std::uint64_t rings() const { return rings_; }
    bool ended() const { return ended_; }
    void fill(ipc_link &out) const;
    layout::status_link shown(bool gone) const;
    // In a forked child nothing is mapped here.
    void forget();
    template <class Archive>
    void hand_over(Archive &a) {
        a(ring_, link_, held_memory_, capacity_, at_, released_, sequence_, redelivered_from_, redelivered_until_,
          held_, early_, lone_);
        a(held_count_, early_count_, leave_, membarrier_, ended_, sender_, pid_, skipped_, rings_);
        a(data_bell_, space_bell_);
    }

  private:
    layout::link_words &words() const { return *reinterpret_cast<layout::link_words *>(link_.get()); }
    void start_at(const layout::hello &hello, std::int32_t from);
    void release_up_to(std::uint64_t position);
    void tell_sender();

    mapping ring_, link_, held_memory_;
    std::uint64_t capacity_ = 0;
    cursor at_;                   // next frame to take
    std::uint64_t released_ = 0;  // as in link_words; while messages are held, the start of the oldest of them
    std::uint64_t sequence_ = 0;  // of the next message
    std::uint64_t redelivered_from_ = 0,
                  redelivered_until_ = 0;  // what a receiver that is gone had got, and not released
    bitmap held_;                          // private: started and not released; a double release finds its bit gone
    bitmap early_;                         // shared: released before an older one
    // A message held alone has no bit in held_ (receive, release, receive, ... is what most do, and saves 3 ns a
    // message).
    static constexpr std::uint64_t none = ~std::uint64_t{0};
    std::uint64_t lone_ = none;
    std::uint64_t held_count_ = 0;
    std::uint64_t early_count_ = 0;  // bits set in early_
    fence_leave leave_;
    bool membarrier_ = false;  // both sides are registered
    bool ended_ = false;
    std::uint64_t sender_ = 0;
    std::int32_t pid_ = 0;
    std::uint64_t skipped_ = 0;
    std::uint64_t rings_ = 0;
    fd data_bell_, space_bell_;
};

}  // namespace libipc
