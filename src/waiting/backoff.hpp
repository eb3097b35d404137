// How long to wait before the next try: twice as long as before the one that failed.
#pragma once

#include <algorithm>
#include <cstdint>

namespace libipc {

class backoff {
  public:
    // Nanoseconds until the next try, from `first` up to `last`.
    std::int64_t next(std::int64_t first, std::int64_t last) {
        return delay_ns_ = std::clamp(2 * delay_ns_, first, last);
    }
    void succeeded() { delay_ns_ = 0; }
    template <class Archive>
    void hand_over(Archive &a) {
        a(delay_ns_);
    }

  private:
    std::int64_t delay_ns_ = 0;
};

}  // namespace libipc
