// A sender's view of what one receiver has released out of turn: bits for each ring, which the receiver sets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "memory/bitmap.hpp"
#include "memory/layout.hpp"
#include "memory/mapping.hpp"

namespace libipc {

class early_bits {
  public:
    // For one more ring, after the others: its bits lie at `offset` of a link's memory. Throws failure.
    void add(const layout::ring_place &ring, int file, std::uint64_t offset) {
        parts_.reserve(layout::most_rings);
        mapping memory = map_link_part(file, offset, layout::bits_bytes(ring.capacity));
        bitmap bits(reinterpret_cast<bitmap::word *>(memory.get()), ring.capacity);
        parts_.push_back({ring.base, bits, std::move(memory)});
    }
    // The rings before `base` are gone.
    void drop_before(std::uint64_t base) {
        std::erase_if(parts_, [&](const part &p) { return p.base < base; });
    }
    // The receiver has released all before `position`: it has left the rings that end there or before.
    void drop_left(std::uint64_t position) {
        while (parts_.size() > 1 && parts_[1].base <= position) {
            empty_link_part(parts_.front().memory);  // the rest of the link's memory stays
            parts_.erase(parts_.begin());
        }
    }
    bool full() const { return parts_.size() == layout::most_rings; }
    // What was added for a ring that begins there is of no use.
    void withdraw(std::uint64_t base) {
        if (!parts_.empty() && parts_.back().base == base) parts_.pop_back();
    }

    bool test(std::uint64_t position) const {
        auto after = std::find_if(parts_.begin(), parts_.end(), [&](const part &p) { return p.base > position; });
        if (after == parts_.begin()) return false;
        const bitmap &bits = std::prev(after)->bits;
        return bits.test(position % bits.capacity());
    }
    // Sets what is set in `other` of [from, until), as far as there are bits for it here.
    void copy(const early_bits &other, std::uint64_t from, std::uint64_t until) {
        for (std::size_t i = 0; i < other.parts_.size(); ++i) {
            const part &theirs = other.parts_[i];
            auto ours =
                std::find_if(parts_.begin(), parts_.end(), [&](const part &p) { return p.base == theirs.base; });
            if (ours == parts_.end()) continue;
            std::uint64_t end = i + 1 < other.parts_.size() ? std::min(other.parts_[i + 1].base, until) : until;
            theirs.bits.each_set(std::max(from, theirs.base), end,
                                 [&](std::uint64_t offset) { ours->bits.set(offset); });
        }
    }

    // In a forked child nothing is mapped here.
    void forget() {
        for (part &p : parts_) p.memory.forget();
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(parts_);
    }

  private:
    struct part {
        std::uint64_t base = 0;
        bitmap bits;
        mapping memory;
        template <class Archive>
        void hand_over(Archive &a) {
            a(base, bits, memory);
        }
    };
    std::vector<part> parts_;
};

}  // namespace libipc
