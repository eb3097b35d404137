// Two processes, each on a processor of its own, and a board of shared memory on which they meet and leave what they
// measured.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace bench {

inline constexpr std::size_t most_samples = 1 << 17;

struct board {
    alignas(64) std::atomic<std::uint32_t> met;   // how many have come to the line
    alignas(64) std::atomic<std::uint32_t> stop;  // the receiver has measured enough
    alignas(64) double messages_per_s;
    std::uint64_t messages;      // in all, warm-up and tail included
    std::uint64_t switches[2];   // voluntary context switches of sender and receiver from meet() on
    std::uint64_t cpu_ns[2];     // CPU time that they used from there on
    std::uint64_t waits, rings;  // what libipc counted, both sides together
    std::uint64_t samples_taken;
    std::uint64_t samples[most_samples];  // ticks, one way

    void meet();  // returns when both have called it as often; what is used is counted from the last time
    void add_sample(std::uint64_t ticks) {
        if (samples_taken < most_samples) samples[samples_taken++] = ticks;
    }
};

struct cpus {
    int sender, receiver;
};
// The first two that this process may use. Throws if there is only one.
cpus default_cpus();

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

// Forks both, calls forked() (to give up what only they are to have), waits for both. Throws if one fails or takes
// longer than a minute; what is thrown inside a side is printed.
using side = std::function<void(board &)>;
const board &run_pair(const cpus &where, const side &sender, const side &receiver,
                      const std::function<void()> &forked = {});

}  // namespace bench
