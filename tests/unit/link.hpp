// A link's memory, with its bits for one ring, seen as a whole: set a state, make one call, compare every word.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <set>

#include "memory/layout.hpp"

struct link_state {
    std::uint32_t asleep = 0, unfenced = 0;
    std::uint64_t delivered = 0, released = 0, skipped = 0;
    std::uint32_t accepted = 0;
    std::uint64_t wants = 0;
    std::uint32_t sender_unfenced = 0;
    std::set<std::uint64_t> early{};  // offsets whose bit is set

    bool operator==(const link_state &) const = default;
};

inline libipc::layout::link_words &words_of(std::byte *link) {
    return *reinterpret_cast<libipc::layout::link_words *>(link);
}

inline std::uint64_t *bits_of(std::byte *bits) { return reinterpret_cast<std::uint64_t *>(bits); }

inline void set_bit(std::byte *bits, std::uint64_t offset) {
    bits_of(bits)[offset / 1024] |= std::uint64_t{1} << offset / 16 % 64;
}

inline link_state state_of(std::byte *link, std::byte *bits, std::uint64_t capacity) {
    auto &w = words_of(link);
    link_state s{w.asleep, w.unfenced, w.delivered, w.released, w.skipped, w.accepted, w.wants, w.sender_unfenced, {}};
    for (std::uint64_t offset = 0; offset < capacity; offset += 16)
        if (bits_of(bits)[offset / 1024] >> offset / 16 % 64 & 1) s.early.insert(offset);
    return s;
}

inline std::ostream &operator<<(std::ostream &out, const link_state &s) {
    out << "asleep " << s.asleep << ", unfenced " << s.unfenced << ", delivered " << s.delivered << ", released "
        << s.released << ", skipped " << s.skipped << ", accepted " << s.accepted << ", wants " << s.wants
        << ", sender_unfenced " << s.sender_unfenced << ", early";
    for (std::uint64_t offset : s.early) out << " " << offset;
    return out;
}
