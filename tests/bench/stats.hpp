// Medians and quartiles of a few rounds, percentiles of many samples.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bench {

// The value below which a fraction `q` of them lies; `values` need not be sorted.
inline double quantile(std::vector<double> values, double q) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    double at = q * static_cast<double>(values.size() - 1);
    auto low = static_cast<std::size_t>(at);
    std::size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

struct spread {
    double q1, median, q3;
};
inline spread spread_of(const std::vector<double> &values) {
    return {quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)};
}

// Of two things measured in the same rounds.
inline std::vector<double> ratios(const std::vector<double> &a, const std::vector<double> &b) {
    std::vector<double> r;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (b[i] > 0) r.push_back(a[i] / b[i]);
    return r;
}

}  // namespace bench
