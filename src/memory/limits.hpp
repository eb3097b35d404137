// How much shared memory is to be had: the limits of this process, of its control group, and of the machine. They are
// read before memory is asked for. All that is called check_ throws failure.
#pragma once

#include <cstdint>

namespace libipc {

// RLIMIT_FSIZE: beyond it lies a signal. `or_else` ends the advice.
void check_file_limit(const char *what, std::uint64_t bytes, const char *or_else = "");
// Beyond what the control group and the machine have left lies the kernel's choice of a process to kill.
void check_memory_left(const char *what, std::uint64_t bytes);
// Both, and RLIMIT_AS, as a ring is mapped twice.
void check_ring_limits(std::uint64_t capacity);

// The largest ring that this machine takes: the smaller of a quarter of its memory and layout::most_capacity.
std::uint64_t most_ring_capacity();

}  // namespace libipc
