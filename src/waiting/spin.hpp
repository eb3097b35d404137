// How long to look before sleeping: as long as messages lately took to follow each other, if that was short; never
// longer than most_ns, and that long only if it turns out to be worth it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "system/fence.hpp"
#include "system/os.hpp"

namespace libipc {

// What was done in vain is done more rarely: it is left out 1, 3, 7, ... 2^most - 1 times, until it succeeds again.
template <int most>
class rarely {
  public:
    bool now() { return left_out_ == 0 || left_out_-- == 0; }
    void succeeded() { in_vain_ = left_out_ = 0; }
    void failed() {
        in_vain_ = std::min(in_vain_ + 1, most);
        left_out_ = (1 << in_vain_) - 1;
    }

  private:
    int in_vain_ = 0, left_out_ = 0;
};

class spin {
  public:
    // A sleep and its wake-up cost about 10 us on both sides together; spinning for longer than a few of those costs
    // more than it saves.
    static constexpr std::int64_t most_ns = 50'000;

    // Messages that follow each other more slowly than that may be large ones, with which both sides are at work most
    // of the time: then the wait is short though the gap is long, and a sleep costs more than the wait. Whether it is
    // so turns out by trying; in vain it costs 50 ns a message.
    static constexpr std::int64_t hopeless_gap_ns = 500'000;

    // In a flood, looking at each message as it is written takes its cache line from the writer, and both get slower
    // than if the looker hangs back until some have gathered: 1.2 times the messages per second at 64 B, 1.5 times at
    // 256 B to 4 KiB (`bench --only throughput`). Where nothing gathers, as with questions and answers, it is left out.
    static constexpr std::int64_t flood_gap_ns = 1'000;
    static constexpr std::int64_t gather_ns = 5'000;

    // Looks until ready(), or the budget or the time-out is used up (-1: none). In vain it is when the other side has
    // stopped, or can't run because we have its processor.
    template <class Ready>
    void until(Ready ready, std::int64_t timeout_ns = -1) {
        if (budget_ns_ == 0) return;
        bool hoping = gap_ns_ > most_ns / 2;
        if (!(hoping ? hoping_.now() : spinning_.now())) return;
        std::int64_t now = now_ns(), end = now + (timeout_ns < 0 ? budget_ns_ : std::min(budget_ns_, timeout_ns));
        if (gap_ns_ < flood_gap_ns) gather(now, end);
        do {
            for (int i = 0; i < 32; ++i) {
                if (ready()) return hoping ? hoping_.succeeded() : spinning_.succeeded();
                pause();
            }
        } while (now_ns() < end);
        hoping ? hoping_.failed() : spinning_.failed();
    }

    // For the sockets of networks, where a look is a system call, and whoever writes to one whose reader sleeps goes
    // all the way to wake it: hangs back, and looks at nothing: up to 1.2 times the messages per second. A pipe
    // or a Unix socket is full too soon, and gets slower.
    static constexpr std::int64_t network_flood_gap_ns = 10'000;
    void hang_back(std::int64_t timeout_ns) {
        if (gap_ns_ >= network_flood_gap_ns) return;
        std::int64_t now = now_ns();
        gather(now, timeout_ns < 0 ? now + gather_ns : now + std::min(gather_ns, timeout_ns));
    }

    // A wait begins at `now`, and so many messages have passed in all. What is learned is the gap between messages, and
    // not how long waits take: a sleep takes long because it is one.
    void learn(std::int64_t now, std::uint64_t messages) {
        std::uint64_t since = messages - messages_;
        if (gathered_) since > 1 ? gathering_.succeeded() : gathering_.failed();
        gathered_ = false;
        std::int64_t gap = 20 * most_ns;
        if (since != 0) gap = std::min<std::int64_t>(gap, (now - began_) / static_cast<std::int64_t>(since));
        began_ = now;
        messages_ = messages;
        gap_ns_ += (gap - gap_ns_) / 4;
        budget_ns_ = gap_ns_ > hopeless_gap_ns ? 0 : std::min<std::int64_t>(2 * gap_ns_ + 5'000, most_ns);
    }

  private:
    void gather(std::int64_t &now, std::int64_t end) {
        if (!gathering_.now()) return;
        gathered_ = true;
        for (std::int64_t until = std::min(now + gather_ns, end); now < until; now = now_ns()) pause();
    }

    rarely<6> spinning_, gathering_;
    rarely<10> hoping_;
    bool gathered_ = false;  // in the wait before
    std::int64_t began_ = 0;
    std::uint64_t messages_ = 0;
    std::int64_t gap_ns_ = 20 * most_ns;
    std::int64_t budget_ns_ = 0;
};

}  // namespace libipc
