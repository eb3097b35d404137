// Counts by size, in buckets that grow with it (HdrHistogram's idea): any number of samples in 40 KiB, each known to
// 0.4 %. All zero is empty, so that it can lie in shared memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace bench {

class histogram {
  public:
    static constexpr unsigned bits = 8, most_bits = 44;
    // Values below 2^bits have a bucket each; from there on, each doubling has half as many.
    static constexpr std::uint64_t exact = 1 << bits, half = exact / 2;
    static constexpr std::size_t buckets = exact + (most_bits - bits) * half;
    static constexpr std::uint64_t largest = (std::uint64_t{1} << most_bits) - 1;

    static std::size_t bucket_of(std::uint64_t value) {
        value = std::min(value, largest);
        if (value < exact) return value;
        auto shift = static_cast<unsigned>(std::bit_width(value)) - bits;
        return exact + (shift - 1) * half + (value >> shift) - half;
    }
    static std::uint64_t lowest_of(std::size_t bucket) {
        if (bucket < exact) return bucket;
        std::uint64_t shift = (bucket - exact) / half + 1;
        return ((bucket - exact) % half + half) << shift;
    }
    static double middle_of(std::size_t bucket) {
        return (static_cast<double>(lowest_of(bucket)) + static_cast<double>(lowest_of(bucket + 1) - 1)) / 2;
    }

    void add(std::uint64_t value) {
        ++counts_[bucket_of(value)];
        ++total_;
        max_ = std::max(max_, value);
    }
    histogram &operator+=(const histogram &other) {
        for (std::size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
        total_ += other.total_;
        max_ = std::max(max_, other.max_);
        return *this;
    }
    std::uint64_t total() const { return total_; }
    std::uint64_t max() const { return max_; }
    std::uint64_t count(std::size_t bucket) const { return counts_[bucket]; }

    // The smallest value that a fraction `q` of the samples does not exceed; 0 if there are none.
    double quantile(double q) const {
        auto wanted =
            std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(total_))));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets; ++i)
            if ((seen += counts_[i]) >= wanted) return std::min(middle_of(i), static_cast<double>(max_));
        return 0;
    }

  private:
    std::uint64_t counts_[buckets];
    std::uint64_t total_, max_;
};

}  // namespace bench
