// One line on a terminal's standard error, rewritten in place: bytes, rate, and the time left where the total is known.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace cli {

inline std::string bytes_text(double n) {
    const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; n >= 1024 && unit < 4; ++unit) n /= 1024;
    return fmt::format("{:.{}f} {}", n, unit == 0 || n >= 99.95 ? 0 : 1, units[unit]);
}

class progress {
  public:
    // total: bytes expected, 0 if not known.
    progress(bool quiet, std::uint64_t total = 0) : shown_(!quiet && isatty(STDERR_FILENO)), total_(total) {}
    ~progress() { clear(); }

    void add(std::uint64_t bytes) {
        bytes_ += bytes;
        ++messages_;
        if (!shown_ || messages_ % 64 > 1) return;
        auto now = clock::now();
        if (now - last_ < std::chrono::milliseconds(200)) return;
        last_ = now;
        double rate = static_cast<double>(bytes_) / seconds(now);
        std::string left;
        if (total_ > bytes_ && rate > 0)
            left = fmt::format(", {:.0f} s left", static_cast<double>(total_ - bytes_) / rate);
        fmt::print(stderr, "\r\033[K{}, {}/s{}", bytes_text(static_cast<double>(bytes_)), bytes_text(rate), left);
        on_screen_ = true;
    }
    void clear() {
        if (on_screen_) fmt::print(stderr, "\r\033[K");
        on_screen_ = false;
    }
    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t messages() const { return messages_; }
    double seconds() const { return seconds(clock::now()); }

  private:
    using clock = std::chrono::steady_clock;
    double seconds(clock::time_point now) const { return std::chrono::duration<double>(now - start_).count(); }

    bool shown_, on_screen_ = false;
    std::uint64_t total_, bytes_ = 0, messages_ = 0;
    clock::time_point start_ = clock::now(), last_ = start_;
};

}  // namespace cli
