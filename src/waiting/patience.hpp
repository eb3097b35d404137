// How a call waits: the one rule, for every call of every transport.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "events.hpp"
#include "system/os.hpp"

namespace libipc {

// A call's time-out, which runs from the first look at what is left of it.
class patience {
  public:
    explicit patience(std::int64_t timeout_ns) : timeout_ns_(timeout_ns) {}
    // The call must not wait at all.
    bool none() const { return timeout_ns_ == 0; }
    // Nanoseconds that it may still wait: -1: for ever.
    std::int64_t left() {
        if (timeout_ns_ <= 0) return timeout_ns_;
        std::int64_t now = now_ns();
        if (start_ == 0) start_ = now;
        return std::max<std::int64_t>(timeout_ns_ - (now - start_), 0);  // start + time-out may be more than 64 bits
    }

  private:
    std::int64_t timeout_ns_, start_ = 0;
};

// The shorter of two times of which -1 means for ever.
inline std::int64_t sooner(std::int64_t a, std::int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); }

// Waits until ready() returns something else than 0, and returns that. What is there comes before an interrupt
// (-ECANCELED), and an interrupt before a time-out (-ETIMEDOUT). sleep(left_ns) sleeps until something may have
// changed, or returns at once if something has; -EINTR ends the call, so that the host decides. When the time is up it
// is called once more, with 0: to sleep is to look, and what was looked at so far may be less than what there is to
// see.
template <class Ready, class Sleep>
std::int32_t wait_until(events &of, patience &p, Ready ready, Sleep sleep) {
    for (bool looked = false;; looked = true) {
        if (std::int32_t r = ready()) return r;
        if (of.take_interrupt()) return -ECANCELED;
        std::int64_t left = p.left();
        if (left == 0 && looked) return -ETIMEDOUT;
        // The signal's handler may have called interrupt.
        if (int r = sleep(left); r < 0) return of.take_interrupt() ? -ECANCELED : r;
    }
}

// A close that lingers: flush(left_ns) until it is done, or the time is up. A signal does not cut it short, nor does an
// interrupt from before, which would cost messages.
template <class Flush>
void linger(events &of, std::int64_t linger_ns, Flush flush) {
    of.take_interrupt();
    patience patience(linger_ns);
    while (flush(patience.left()) == -EINTR) {
    }
}

}  // namespace libipc
