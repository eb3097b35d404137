// Two processes, each on a processor of its own, and a board of shared memory on which they meet and leave what they
// measured.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "histogram.hpp"

namespace bench {

struct cpus {
    int sender, receiver;
};
// The first two that this process may use. Throws if there is only one.
cpus default_cpus();

struct setting {
    cpus where;
    std::size_t capacity;  // bytes that may be on their way
    double seconds;        // of one measurement
    // Count system calls: every one of them stops the process for some microseconds, so nothing else is worth reading
    // then.
    bool traced = false;
};

// What a side has used, all its threads together, from the last meet() to leave(), or to its end.
struct usage {
    std::uint64_t cpu_ns;
    std::uint64_t switches;  // voluntary ones
    std::uint64_t calls;     // of the system; 0 unless traced
};

struct board {
    alignas(64) std::atomic<std::uint32_t> met;   // how many have come to the line
    alignas(64) std::atomic<std::uint32_t> stop;  // the receiver has measured enough
    alignas(64) double messages_per_s;
    std::uint64_t messages;  // received in all, warm-up and tail included
    std::uint64_t lost;
    std::uint64_t naps;       // of the sender, until a message was due: each is a call and a switch
    std::uint64_t idle_ns;    // that the sender spent spinning until a message was due
    usage used[2];            // by sender and receiver
    std::uint64_t traced[2];  // calls of the system up to now
    std::uint64_t
        memory[2];      // bytes that they had come to hold when the measurement was over; what both hold counts half
    histogram latency;  // ticks, one way

    void meet();   // returns when both have called it as often; what is used is counted from the last time
    void leave();  // what is used from here on, as by closing, is of no message
    void note_memory(int side);
};

// Memory that both processes of a pair share: mapped before they are forked.
class shared_memory {
  public:
    explicit shared_memory(std::size_t bytes);
    ~shared_memory();
    shared_memory(const shared_memory &) = delete;
    shared_memory &operator=(const shared_memory &) = delete;
    std::byte *get() const { return static_cast<std::byte *>(address_); }

  private:
    void *address_;
    std::size_t bytes_;
};

// Forks both, calls forked(sender, receiver) (to give up what only they are to have), waits for both. Throws if one
// fails or takes longer than a minute; what is thrown inside a side is printed.
using side = std::function<void(board &)>;
const board &run_pair(const setting &, const side &sender, const side &receiver,
                      const std::function<void(pid_t, pid_t)> &forked = {});

}  // namespace bench
