// Rings that grow and shrink: what is asked of them, and of their memory.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "support.hpp"

inline constexpr std::uint64_t KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30;

// Bytes of rings that a process has mapped, each of them twice in a row; `pid` 0 is this process.
inline std::uint64_t rings_mapped(pid_t pid = 0) {
    std::ifstream maps("/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/maps");
    std::uint64_t bytes = 0;
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin, end;
        if (line.find("/memfd:ipc-ring") == line.npos || std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2)
            continue;
        bytes += end - begin;
    }
    return bytes / 2;
}

// Both call, as hosts do, until the sender is back in a ring of so many bytes.
inline bool shrinks_to(const tx &s, std::uint64_t capacity) {
    return eventually([&] { return s.stats().capacity == capacity; });
}

// A message of `size` bytes is reserved, for which the ring is too small, and a small one sent. 0 or an error.
inline int send_small_in(tx &s, std::size_t size, std::uint64_t tag) {
    void *room;
    int result = ipc_sender_reserve(s, size, &room, 0);
    if (result < 0) return result;
    fill(room, 64, tag);
    return ipc_sender_commit(s, 64, tag);
}
