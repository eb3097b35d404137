// What can be measured. Each contender runs a measurement in two fresh processes and leaves the result on the board.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "pair.hpp"

namespace bench {

struct contender {
    enum kind_type { raw, ours, peer };
    std::string name;
    kind_type kind;
    std::size_t most;  // bytes of a message that it takes
    bool lossy = false;
    // One direction, as fast as it goes: every cache line of each payload is written by the one and read by the other,
    // and the sum of what was read is compared with what was written.
    std::function<const board &(const setting &, std::size_t size)> flood;
    // There and back: half of that.
    std::function<const board &(const setting &, std::size_t size)> answered;
    // One way, so many messages a second by schedule; 0: as fast as it goes.
    std::function<const board &(const setting &, std::size_t size, double per_second)> paced;
};

// What the machine gives: the floor is plain shared memory with a flag a message, the bare ring our ring's loop without
// anything that makes it a library, the line one cache line that moves, the eventfd the cheapest way to be woken.
contender floor_memory();
contender bare_ring();
contender cache_line();
contender plain_eventfd();
// Bytes per second of one memcpy after the other, on one processor.
double memcpy_rate(const setting &, std::size_t size);

// Of the kernel: pipe, Unix stream and seqpacket, TCP, POSIX message queue.
std::vector<contender> kernel_peers();
// Of the distribution, as far as they were there when this was built: Boost.Interprocess, ZeroMQ, nng.
std::vector<contender> library_peers();

}  // namespace bench
