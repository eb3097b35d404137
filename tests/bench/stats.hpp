// Medians and quartiles of a few rounds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace bench {

// The value below which a fraction `q` of them lies; `values` need not be sorted. 0 if there are none.
inline double quantile(std::vector<double> values, double q) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    double at = q * static_cast<double>(values.size() - 1);
    auto low = static_cast<std::size_t>(at);
    std::size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

inline double median(const std::vector<double> &values) { return quantile(values, 0.5); }

// Of two things measured in the same rounds.
inline std::vector<double> ratios(const std::vector<double> &a, const std::vector<double> &b) {
    std::vector<double> r;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (b[i] > 0) r.push_back(a[i] / b[i]);
    return r;
}

inline bool has_enough_rounds(std::size_t n) { return n >= 5; }

// Whether more rounds would hardly move the median: its 95 % confidence interval, from one of the values to another (as
// many below as above it, whatever their distribution), is within 5 % on either side.
inline bool has_settled(std::vector<double> values) {
    if (!has_enough_rounds(values.size())) return false;
    std::sort(values.begin(), values.end());
    auto n = static_cast<double>(values.size());
    auto k = static_cast<std::size_t>(std::max(0., std::floor((n - 1.96 * std::sqrt(n)) / 2)));
    return values[values.size() - 1 - k] - values[k] <= 0.1 * std::abs(median(values));
}

}  // namespace bench
