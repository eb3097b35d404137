// What can be measured. Each contender runs one measurement in two fresh processes and leaves the result on the board.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pair.hpp"

namespace bench {

struct setting {
    cpus where;
    std::size_t capacity;  // of the ring, in bytes
    double seconds;        // of one measurement
};

// One direction, as fast as it goes: every cache line of each payload is written by the one and read by the other, and
// the sum of what was read is compared with what was written.
const board &flood_floor(const setting &, std::size_t size);
const board &flood_bare(const setting &, std::size_t size);

// One way, samples on the board. "Spinning": the receiver looks all the time, messages are 2 us apart. "Asleep": it
// blocks, messages are 1 ms apart. "Answered": both block, each sends when it has received; half of the round trip.
const board &spin_line(const setting &);
const board &asleep_eventfd(const setting &);
const board &answered_line(const setting &);  // both spin: a cache line that goes to and fro
const board &answered_eventfd(const setting &);

// Bytes per second of one memcpy after the other, on one processor.
double memcpy_rate(const setting &, std::size_t size);

// Somebody else's way to do the same.
struct peer {
    const char *name;
    std::size_t most;  // bytes of a message that it takes
    std::function<const board &(const setting &, std::size_t size)> flood;
    std::function<const board &(const setting &)> asleep, answered;
};
// Of the kernel: pipe, Unix stream and seqpacket, TCP, POSIX message queue.
std::vector<peer> kernel_peers();
// Of the distribution, as far as they were there when this was built: Boost.Interprocess, ZeroMQ, nng.
std::vector<peer> library_peers();

// libipc, from the library at `path`, or the one that this program is linked with if that is empty.
struct libipc {
    std::string path;
    const board &flood(const setting &, std::size_t size) const;
    const board &spin(const setting &) const;
    const board &asleep(const setting &) const;
    const board &answered(const setting &) const;
    // 64 B in bursts that fit into the ring, to receivers that look all the time: the rate within the bursts.
    const board &commits(const setting &, unsigned receivers) const;
    // 64 B from one sender, as fast as it goes, while others are connected that have nothing to say.
    const board &among_idle(const setting &, unsigned others) const;
    std::string version() const;
};

}  // namespace bench
