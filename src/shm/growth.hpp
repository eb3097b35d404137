// When a sender's ring is to grow, and when it goes back to the small one: times in, decisions out.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "handle/url.hpp"

namespace libipc {

class growth {
  public:
    // Nanoseconds until the ring, which has had no room since its tail is at `tail`, is to grow. `large`: it has grown
    // already.
    std::int64_t until(std::int64_t now_ns, std::uint64_t tail, bool large) {
        if (tail_ != tail || tail_since_ns_ == 0) {
            tail_stood_until(stalled() ? now_ns : grown_at_ns_);
            tail_ = tail;
            tail_since_ns_ = stalled_since_ns_ = now_ns;
        } else if (!stalled()) {
            stalled_since_ns_ = now_ns;
        }
        std::int64_t stall = std::max(large ? large_stall_ns : stall_ns, 4 * tail_stood_for_ns_);
        return std::max<std::int64_t>(std::max(stalled_since_ns_ + stall, due_ns_) - now_ns, 0);
    }
    bool stalled() const { return stalled_since_ns_ != 0; }
    // Something was released, for which a reserve has waited.
    void end_stall(std::int64_t now_ns) {
        tail_stood_until(now_ns);
        tail_since_ns_ = stalled_since_ns_ = 0;
    }
    // There is no memory for more now: the sender is held up, as with a ring of a fixed size.
    void failed(std::int64_t now_ns) { due_ns_ = now_ns + retry_ns; }
    void grown(std::int64_t coarse_ns) {
        keep_large(coarse_ns);
        if (stalled()) grown_at_ns_ = coarse_ns;
        stalled_since_ns_ = 0;
    }

    // A large ring was needed just now.
    void keep_large(std::int64_t coarse_ns) { large_until_ns_ = coarse_ns + large_for_ns; }
    bool keeps_large(std::int64_t coarse_ns) const { return coarse_ns < large_until_ns_; }

    // From so many times its first capacity on, a ring has become large.
    static constexpr std::uint64_t large_factor = 16;
    // Capacities for a message of `size` bytes: the least, and one that holds three, so that one is filled while
    // another is read; but no more than most_for_overlap is taken for that.
    struct capacities {
        std::uint64_t least, best;
    };
    static capacities for_message(std::size_t size, std::uint64_t most) {
        std::uint64_t least = std::min(std::bit_ceil(2 * std::uint64_t{size}), most);
        return {least, std::min(std::max(least, std::min(2 * least, most_for_overlap)), most)};
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(tail_, tail_since_ns_, tail_stood_for_ns_, stalled_since_ns_, grown_at_ns_, due_ns_, large_until_ns_);
    }

  private:
    void tail_stood_until(std::int64_t then_ns) {
        if (tail_since_ns_ == 0 || then_ns <= tail_since_ns_) return;
        std::int64_t stood = std::max(then_ns - tail_since_ns_, tail_stood_for_ns_ * 7 / 8);
        tail_stood_for_ns_ = std::min(stood, most_stall_ns / 4);
    }

    // A ring that is full, and of which nothing is released for so long, grows. A receiver that is only slower than we
    // are frees room all the time: a larger ring would be as full, and out of the cache it is slower.
    static constexpr std::int64_t stall_ns = 10'000'000;
    // Where processors are short, a receiver may be kept from running for so long now and then, and a sender that is
    // faster finds its ring full each time. So a ring that has become large already waits for longer.
    static constexpr std::int64_t large_stall_ns = 100'000'000;
    // A receiver that takes its time for each message has been seen to: it is slow, and not gone to do something else.
    static constexpr std::int64_t most_stall_ns = 10'000'000'000;
    static constexpr std::int64_t retry_ns = 1'000'000'000;
    static constexpr std::uint64_t most_for_overlap = 256 << 20;
    // A ring that was not needed for so long is given up for the small one.
    static constexpr std::int64_t large_for_ns = 1'000'000'000;

    // How long the tail stands still, from one release to the next, is what a receiver takes for a message. It is known
    // only while a stall looks at it: up to its end, or up to a growth that ended it, which moves no tail.
    std::uint64_t tail_ = 0;              // at the last stall,
    std::int64_t tail_since_ns_ = 0;      // where it has been seen since then; 0: it has moved, or there was no stall
    std::int64_t tail_stood_for_ns_ = 0;  // lately
    std::int64_t stalled_since_ns_ = 0;   // 0: there was room up to now
    std::int64_t grown_at_ns_ = 0;        // the last growth that ended a stall
    std::int64_t due_ns_ = 0;             // not before: a growth has failed
    std::int64_t large_until_ns_ = 0;     // until then the large ring is kept
};

}  // namespace libipc
