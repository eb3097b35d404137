// The waking protocol: how one side falls asleep and the other rings, without a lost wake-up and without a fence for
// each message. tests/unit/waking_model.cpp checks it over all interleavings. The same for both directions of a link:
//
//   the waker (a sender that commits, a receiver that releases)      the sleeper (waits for a message, for room)
//     publish (store)                                                  if unfenced: unfenced = 0; membarrier
//     if not unfenced: fence                                           asleep = 1
//     if asleep and exchange(asleep, 0): ring                          fence
//                                                                      look once more; nothing there: wait for the bell
//
// Without a fence the waker's publishing store may still sit in its store buffer when it reads asleep = 0, while the
// sleeper looks and sees nothing: both fences together forbid it. With `unfenced` the sleeper's membarrier does what
// the waker's fence would: a store made before it is visible to the look that follows, and a waker that publishes after
// it reads unfenced = 0.
#pragma once

#include <cstdint>

#include "memory/layout.hpp"
#include "system/fence.hpp"
#include "system/os.hpp"

namespace libipc {

// Every access to asleep, unfenced, wants and sender_unfenced is relaxed: what has to be ordered is a store before a
// load, and acquire and release don't do that. What does:
//   the waker's fence         what it published is visible before it looks at asleep
//   the sleeper's fence       asleep is visible before the last look. With the waker's: one of the two sees the other
//   the sleeper's membarrier  stands in for the waker's fence, in a waker that still read unfenced = 1
// Anything else that is seen late costs a fence or a bell too many. What is published is ordered where it is read: see
// ring.hpp and outgoing::refresh.

// The waker's steps, to be taken in this order after the publishing store. Split, so that one fence serves many links.
inline bool waker_must_fence(const layout::shared<std::uint32_t> &unfenced) {
    compiler_fence();  // the processor may still exchange the two; that is what the protocol is about
    return unfenced.load(std::memory_order_relaxed) == 0;
}
// The exchange spares a bell if the sleeper has woken by itself meanwhile.
template <class T>
bool waker_must_ring(layout::shared<T> &asleep) {
    compiler_fence();
    return asleep.load(std::memory_order_relaxed) != 0 && asleep.exchange(0, std::memory_order_relaxed) != 0;
}

// A membarrier can be refused to a process that was registered, by a seccomp filter that came later. Then whatever the
// other side's store buffer holds is out after a moment: the sleeper looks again after this long, and gives no leave
// any more.
inline constexpr std::int64_t doubtful_sleep_ns = 1'000'000;

// How a sleeper frees its waker from fencing after many messages without a sleep, and takes that back.
class fence_leave {
  public:
    // A membarrier costs up to 10 us, a fence up to 0.1 us: after so many messages the leave has paid for its end.
    static constexpr std::uint32_t after = 1024;

    // Counts a message; both sides must be registered for membarrier (`possible`).
    void count(bool possible, layout::shared<std::uint32_t> &unfenced) {
        if (given_ || ++messages_ < after) return;
        messages_ = 0;
        if (possible) give(unfenced);
    }
    void give(layout::shared<std::uint32_t> &unfenced) {
        given_ = true;
        unfenced.store(1, std::memory_order_relaxed);
    }
    // True if the caller must call membarrier_global() before it sets itself asleep.
    bool take_back(layout::shared<std::uint32_t> &unfenced) {
        messages_ = 0;
        if (!given_) return false;
        given_ = false;
        unfenced.store(0, std::memory_order_relaxed);
        return true;
    }

  private:
    std::uint32_t messages_ = 0;
    bool given_ = false;
};

}  // namespace libipc
