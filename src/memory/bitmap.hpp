// A bit for each place in a ring where a frame can start. No system call; the words may lie in shared memory.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "layout.hpp"

namespace libipc {

// Relaxed throughout: one side writes, and nothing is read or overwritten because of a bit. Another process looks at
// the bits for a figure, where the latest does no better than the one before, or after the writer's death, which the
// kernel orders.
class bitmap {
  public:
    using word = layout::shared<std::uint64_t>;

    bitmap() = default;
    bitmap(word *words, std::uint64_t capacity) : words_(words), capacity_(capacity) {}

    std::uint64_t capacity() const { return capacity_; }

    explicit operator bool() const { return words_ != nullptr; }

    bool test(std::uint64_t offset) const {
        return words_[index(offset)].load(std::memory_order_relaxed) & bit(offset);
    }
    // One side alone writes, so a plain read-modify-write does.
    void set(std::uint64_t offset) {
        word &w = words_[index(offset)];
        w.store(w.load(std::memory_order_relaxed) | bit(offset), std::memory_order_relaxed);
    }
    void clear(std::uint64_t offset) {
        word &w = words_[index(offset)];
        w.store(w.load(std::memory_order_relaxed) & ~bit(offset), std::memory_order_relaxed);
    }
    // Bytes from `offset` forward, around the end, to the next set bit; `most` if there is none before that.
    std::uint64_t distance_to_set(std::uint64_t offset, std::uint64_t most) const {
        std::uint64_t gone = 0;
        while (gone < most) {
            std::uint64_t at = offset + gone;
            if (at >= capacity_) at -= capacity_;
            std::uint64_t rest = words_[index(at)].load(std::memory_order_relaxed) >> (at / layout::frame_align % 64);
            if (rest != 0) {
                gone += std::countr_zero(rest) * layout::frame_align;
                return gone < most ? gone : most;
            }
            gone += (64 - at / layout::frame_align % 64) * layout::frame_align;
        }
        return most;
    }
    // Calls f(offset) for each bit that is set from position `from` up to `until`, at most one capacity further on.
    template <class F>
    void each_set(std::uint64_t from, std::uint64_t until, F f) const {
        for (std::uint64_t p = from; p < until; p += layout::frame_align) {
            p += distance_to_set(p % capacity_, until - p);
            if (p < until) f(p % capacity_);
        }
    }

  private:
    static std::size_t index(std::uint64_t offset) { return offset / layout::frame_align / 64; }
    static std::uint64_t bit(std::uint64_t offset) { return std::uint64_t{1} << (offset / layout::frame_align % 64); }

    word *words_ = nullptr;
    std::uint64_t capacity_ = 0;
};

}  // namespace libipc
