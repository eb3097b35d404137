// How long to wait for the next thing to happen.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ipc/ipc.hpp>
#include <system_error>

namespace cli {

// Who looks at a terminal is to see that time passes.
inline constexpr std::chrono::milliseconds glance{300};

class idle {
  public:
    // seconds: of --timeout, -1 for ever. watched: somebody looks at a terminal.
    idle(double seconds, bool watched)
        : limit_(seconds < 0 ? ipc::forever
                             : std::chrono::duration_cast<ipc::timeout>(std::chrono::duration<double>(seconds))),
          watched_(watched) {}

    // Something has happened.
    void restart() {
        if (limit_ != ipc::forever) since_ = clock::now();
    }
    // How long to wait now, and then to ask again.
    ipc::timeout next_wait() const {
        if (limit_ == ipc::forever) return watched_ ? ipc::timeout(glance) : ipc::forever;
        return std::min(left(), watched_ ? ipc::timeout(glance) : ipc::timeout::max());
    }
    bool too_long() const { return limit_ != ipc::forever && left() == ipc::timeout::zero(); }

  private:
    using clock = std::chrono::steady_clock;
    ipc::timeout left() const { return std::max<ipc::timeout>(limit_ - (clock::now() - since_), ipc::timeout::zero()); }
    ipc::timeout limit_;
    bool watched_;
    clock::time_point since_ = clock::now();
};

// The time of a wait has passed.
inline bool has_passed(const std::error_code &error) {
    return error == std::errc::timed_out || error == std::errc::resource_unavailable_try_again;
}
// A signal has cut it short.
inline bool was_cut(const std::error_code &error) {
    return error == std::errc::interrupted || error == std::errc::operation_canceled;
}

}  // namespace cli
