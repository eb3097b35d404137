#pragma once

#include <cstdint>

// Random numbers that are the same in each run, and from the seed alone.
class dice {
  public:
    explicit dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
    std::uint64_t operator()() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    std::uint64_t below(std::uint64_t n) { return (*this)() % n; }

  private:
    std::uint64_t state_;
};
