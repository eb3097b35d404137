// Numbers as people read them.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <vector>

#include "stats.hpp"

namespace bench {

inline std::string bytes_text(std::size_t n) {
    if (n >= 1 << 20 && n % (1 << 20) == 0) return fmt::format("{} MiB", n >> 20);
    if (n >= 1 << 10 && n % (1 << 10) == 0) return fmt::format("{} KiB", n >> 10);
    return fmt::format("{} B", n);
}

inline std::string rate_text(double messages_per_s) {
    return messages_per_s >= 1e6   ? fmt::format("{:.2f} M/s", messages_per_s / 1e6)
           : messages_per_s >= 1e3 ? fmt::format("{:.1f} k/s", messages_per_s / 1e3)
                                   : fmt::format("{:.1f} /s", messages_per_s);
}

inline std::string bandwidth_text(double bytes_per_s) {
    return bytes_per_s >= 1e9 ? fmt::format("{:.2f} GB/s", bytes_per_s / 1e9)
                              : fmt::format("{:.1f} MB/s", bytes_per_s / 1e6);
}

inline std::string time_text(double ns) {
    return ns >= 1e6   ? fmt::format("{:.2f} ms", ns / 1e6)
           : ns >= 1e4 ? fmt::format("{:.1f} us", ns / 1e3)
                       : fmt::format("{:.0f} ns", ns);
}

inline std::string spread_text(const std::vector<double> &values) {
    return fmt::format("{:.2f} [{:.2f}, {:.2f}]", median(values), quantile(values, 0.25), quantile(values, 0.75));
}

}  // namespace bench
