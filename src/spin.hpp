// How long to look before sleeping: as long as messages lately took to follow each other, if that was short; never
// longer than most_ns.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fence.hpp"
#include "os.hpp"

namespace libipc {

class spin {
  public:
    // A sleep and its wake-up cost about 10 us on both sides together; spinning for longer than a few of those costs
    // more than it saves.
    static constexpr std::int64_t most_ns = 50'000;

    // In a flood, looking at each message as it is written takes its cache line from the writer, and both get slower
    // than if the looker hangs back until some have gathered: 1.2 times the messages per second at 64 B, 1.5 times at
    // 256 B to 4 KiB
    // (`bench --only throughput`). It delays the first message after the looker has caught up, and in a flood only.
    static constexpr std::int64_t flood_gap_ns = 1'000;
    static constexpr std::int64_t gather_ns = 5'000;

    // Looks until ready() or the budget is used up. No clock is read while the first looks succeed. Looking in vain
    // (the other side has stopped, or can't run because we have its processor) makes it rarer: at 1, 3, 7, ... 63 waits
    // it is left out.
    template <class Ready>
    void until(Ready ready) {
        if (budget_ns_ == 0) return;
        if (left_out_ != 0) {
            --left_out_;
            return;
        }
        std::int64_t now = now_ns(), end = now + budget_ns_;
        if (gap_ns_ < flood_gap_ns)
            for (std::int64_t gathered = now + gather_ns; now < gathered; now = now_ns()) pause();
        do {
            for (int i = 0; i < 32; ++i) {
                if (ready()) {
                    in_vain_ = 0;
                    return;
                }
                pause();
            }
        } while (now_ns() < end);
        in_vain_ = std::min(in_vain_ + 1, 6);
        left_out_ = (1 << in_vain_) - 1;
    }

    // A wait begins at `now`, and so many messages have passed in all. What is learned is the gap between messages, and
    // not how long waits take: a sleep takes long because it is one. On one processor the other side cannot run while
    // we spin.
    void learn(std::int64_t now, std::uint64_t messages) {
        std::int64_t gap = 10 * most_ns;
        if (messages != messages_)
            gap = std::min<std::int64_t>(gap, (now - began_) / static_cast<std::int64_t>(messages - messages_));
        began_ = now;
        messages_ = messages;
        gap_ns_ += (gap - gap_ns_) / 4;
        budget_ns_ = gap_ns_ > most_ns / 2 ? 0 : std::min<std::int64_t>(2 * gap_ns_ + 5'000, most_ns);
    }

  private:
    int in_vain_ = 0, left_out_ = 0;
    std::int64_t began_ = 0;
    std::uint64_t messages_ = 0;
    std::int64_t gap_ns_ = 10 * most_ns;
    std::int64_t budget_ns_ = 0;
};

}  // namespace libipc
