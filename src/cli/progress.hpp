// What somebody at a terminal sees of it, on standard error: a word if nobody is at the other end, and one line that is
// rewritten in place: bytes, rate, and the time left where the total is known.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "say.hpp"

namespace cli {

inline std::string bytes_text(double n) {
    const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; n >= 1024 && unit < 4; ++unit) n /= 1024;
    return fmt::format("{:.{}f} {}", n, unit == 0 || n >= 99.95 ? 0 : 1, units[unit]);
}

class progress {
  public:
    // line: whether it would not get among other text. total: bytes expected, 0 if not known.
    progress(bool quiet, bool line, std::uint64_t total = 0)
        : watched_(!quiet && isatty(STDERR_FILENO)), line_(watched_ && line), total_(total) {}
    ~progress() { clear(); }

    bool watched() const { return watched_; }
    void add(std::uint64_t bytes) {
        bytes_ += bytes;
        ++messages_;
        show();
    }
    // Nothing has happened for a moment.
    void wait() {
        if (messages_ != 0) show();
    }
    // The same, and nobody is at the other end: said once.
    void wait_alone(const std::string &words) {
        if (watched_ && !std::exchange(said_alone_, true)) {
            clear();
            say("{}\n", words);
        }
        wait();
    }
    void clear() {
        if (on_screen_) say_text("\r\033[K");
        on_screen_ = false;
    }
    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t messages() const { return messages_; }
    double seconds() const { return seconds(clock::now()); }

  private:
    using clock = std::chrono::steady_clock;
    double seconds(clock::time_point now) const { return std::chrono::duration<double>(now - start_).count(); }
    void show() {
        if (!line_) return;
        auto now = clock::now();
        if (now - last_ < std::chrono::milliseconds(200)) return;
        last_ = now;
        double rate = static_cast<double>(bytes_) / seconds(now);
        std::string left;
        if (total_ > bytes_ && rate > 0)
            left = fmt::format(", {:.0f} s left", static_cast<double>(total_ - bytes_) / rate);
        say("\r\033[K{}, {}/s{}", bytes_text(static_cast<double>(bytes_)), bytes_text(rate), left);
        on_screen_ = true;
    }

    bool watched_, line_, on_screen_ = false, said_alone_ = false;
    std::uint64_t total_, bytes_ = 0, messages_ = 0;
    clock::time_point start_ = clock::now(), last_ = start_;
};

}  // namespace cli
