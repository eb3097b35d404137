// When messages are due, and since when each counts as sent.
#pragma once

#include <cstdint>

namespace bench {

struct schedule {
    std::uint64_t first;  // ticks
    double gap;           // ticks

    std::uint64_t due(std::uint64_t n) const {
        return first + static_cast<std::uint64_t>(static_cast<double>(n) * gap);
    }

    // The sender was ready for message n at `ready`; if that was before it was due, it waited, until `woken`. A sender
    // that was held up counts from when the message was due: what waited behind the hold-up is part of it (coordinated
    // omission). One that was not held up counts from when its timer rang: how late timers are is nobody's latency.
    std::uint64_t sent(std::uint64_t n, std::uint64_t ready, std::uint64_t woken) const {
        return ready >= due(n) ? due(n) : woken;
    }
};

}  // namespace bench
