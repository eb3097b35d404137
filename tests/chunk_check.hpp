// The check in a chunk's header, as src/stream/chunks.hpp describes it, for tests that forge one.
#pragma once

#include <cstdint>
#include <cstring>

inline std::uint32_t chunk_check(const void *header) {
    std::uint64_t words[7], sum = 14695981039346656037u;
    std::memcpy(words, header, sizeof words);
    for (std::uint64_t word : words) sum = (sum ^ word) * 1099511628211u;
    return static_cast<std::uint32_t>(sum ^ sum >> 32);
}
