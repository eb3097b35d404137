// How long to look before sleeping: as long as messages lately took to come, if that was short; never longer than
// most_ns.
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

    // Looks until ready() or the budget is used up. No clock is read while the first looks succeed.
    template <class Ready>
    bool until(Ready ready) {
        if (budget_ns_ == 0) return false;
        std::int64_t end = now_ns() + budget_ns_;
        do {
            for (int i = 0; i < 32; ++i) {
                if (ready()) return true;
                pause();
            }
        } while (now_ns() < end);
        return false;
    }

    // A wait, spun or slept, took so long. On one processor the other side cannot run while we spin.
    void learn(std::int64_t waited_ns) {
        mean_ns_ += (std::min<std::int64_t>(waited_ns, 10 * most_ns) - mean_ns_) / 4;
        budget_ns_ = alone_ || mean_ns_ > most_ns / 2 ? 0 : std::min<std::int64_t>(2 * mean_ns_ + 5'000, most_ns);
    }

  private:
    bool alone_ = processors() == 1;
    std::int64_t mean_ns_ = 10 * most_ns;
    std::int64_t budget_ns_ = 0;
};

}  // namespace libipc
