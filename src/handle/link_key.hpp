// ipc_message.link: which of a receiver's places a message is of, and which of those who have had that place.
#pragma once

#include <cstdint>

namespace libipc::link_key {

inline constexpr unsigned index_bits = 20;  // the rest is the generation
inline constexpr std::uint32_t most_places = 1u << index_bits;
// From 1 on: an ipc_message that no receiver has filled is of no link.
inline constexpr std::uint32_t generations = (1u << (32 - index_bits)) - 1;

constexpr std::uint32_t pack(std::uint32_t index, std::uint32_t generation) { return index | generation << index_bits; }
constexpr std::uint32_t index_of(std::uint32_t key) { return key & (most_places - 1); }
constexpr std::uint32_t generation_of(std::uint32_t key) { return key >> index_bits; }

// Each receiver begins at one of its own, drawn from what is random, so that another's messages are rarely taken for
// its.
constexpr std::uint32_t first_generation(std::uint64_t random) {
    return 1 + static_cast<std::uint32_t>(random % generations);
}
constexpr std::uint32_t next_generation(std::uint32_t generation) { return generation % generations + 1; }

}  // namespace libipc::link_key
