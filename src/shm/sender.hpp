// A sender: writes into its rings, finds receivers, and hands the rings to each.
#pragma once

#include <ipc/ipc.h>

#include <cerrno>
#include <cstdint>
#include <optional>

#include "audience.hpp"
#include "awaited.hpp"
#include "growth.hpp"
#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "handle/url.hpp"
#include "rings.hpp"
#include "self.hpp"
#include "waiting/events.hpp"
#include "waiting/patience.hpp"
#include "waiting/spin.hpp"

namespace libipc {

class sender {
  public:
    static constexpr std::int32_t role = IPC_SENDER;
    static constexpr bool streams = false;
    sender() = default;
    sender(endpoint where, ring_sizes sizes);  // throws failure
    explicit sender(handoff::reader &state);   // throws, and has taken nothing then
    ~sender();

    std::int32_t reserve(std::size_t size, void *&data, std::int64_t timeout_ns) {
        if (reserve_at_once(size, data)) [[likely]]
            return 0;
        return reserve_any(size, data, timeout_ns);
    }
    std::int32_t commit(std::size_t size, std::uint64_t tag) {
        if (!writing_.reserved || size > writing_.size) return -EINVAL;
        writing_.reserved = false;
        rings_.now().commit(layout::kind::message, size, tag);
        ++counters_.messages;
        counters_.bytes += size;
        ring_receivers();
        return 0;
    }
    void abort() { writing_.reserved = false; }
    void end();
    std::int32_t flush(std::int64_t timeout_ns);
    void interrupt() { events_.interrupt(); }
    std::int32_t arm();
    int fd() const { return events_.get(); }
    const char *url() const { return self_.where.url.c_str(); }
    std::int32_t stats(ipc_sender_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    // Ends and lingers; the number of messages that not every receiver has released.
    std::uint64_t finish(std::int64_t linger_ns);
    ownership &owner() { return owner_; }
    const ownership &owner() const { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(self_, owner_, events_, space_bell_, status_, rings_, audience_, growth_, awaited_, writing_, armed_,
          awake_messages_, spin_, counters_);
    }

  private:
    // What the user is at.
    struct writing {
        bool reserved = false;
        std::size_t size = 0;              // that was reserved
        std::optional<std::uint64_t> end;  // position of the end frame, if that is committed
        template <class Archive>
        void hand_over(Archive &a) {
            a(reserved, size, end);
        }
    };
    // Looking.
    const outgoing_links &links() const { return audience_.links(); }
    speaker as_speaker();
    int look(std::int64_t timeout_ns);
    void stay_findable();

    // Writing. In a flood reserve_at_once() nearly always does it: there is room, and nothing else to be done.
    bool reserve_at_once(std::size_t size, void *&data);
    // Not inlined: the fast path then needs no stack frame.
    [[gnu::noinline]] std::int32_t reserve_any(std::size_t size, void *&data, std::int64_t timeout_ns);
    void lend(std::size_t size, void *&data);
    void ring_receivers();
    [[gnu::noinline]] void ring_fenced();
    [[gnu::noinline]] void ring(outgoing &link);
    [[gnu::noinline]] void allow_unfenced();

    // Room.
    void refresh_tail(bool thoroughly = false);
    bool free_up_to(std::uint64_t position);
    void forget_awaited() { awaited_.forget_reached(rings_.tail(), rings_.now().base()); }
    bool settle(std::uint64_t position);
    void set_awake();
    int sleep(std::int64_t timeout_ns);
    std::int32_t wait(std::uint64_t position, patience &p, awaited::reason why, bool may_grow = false);
    std::int32_t await_links(patience &p);

    // Rings.
    std::uint64_t larger() const { return std::min(2 * rings_.now().capacity(), rings_.sizes().most); }
    std::int32_t go_on_in(std::uint64_t capacity);
    std::int32_t make_large(std::size_t size, patience &p);
    std::int64_t until_growth();
    bool grow();
    bool take_due_retry();
    void shrink_if_idle();

    // Telling.
    std::uint64_t unreleased();
    void show();

    self self_;
    ownership owner_;
    events events_;
    libipc::fd space_bell_;
    status_page status_;
    rings rings_;
    audience audience_;
    growth growth_;
    awaited awaited_;
    writing writing_;
    bool armed_ = false;                // the host may be waiting on our fd
    std::uint32_t awake_messages_ = 0;  // committed since it last slept: see fence_leave
    spin spin_;
    ipc_sender_counters counters_{};
};

inline void sender::lend(std::size_t size, void *&data) {
    data = rings_.now().payload_for(size);
    writing_.reserved = true;
    writing_.size = size;
}

inline bool sender::reserve_at_once(std::size_t size, void *&data) {
    if (writing_.reserved || writing_.end || armed_ || size > rings_.sizes().largest_in_first() || awaited_.calls() ||
        links().empty() || !audience_.all_linked() || !rings_.now().fits(size) || !events_.in_rush())
        return false;
    lend(size, data);
    return true;
}

// The waker's part of waking.hpp: a bell only where somebody sleeps.
inline void sender::ring_receivers() {
    bool fence = false;
    for (outgoing *link : links()) {
        if (waker_must_fence(link->words().unfenced))
            fence = true;
        else if (waker_must_ring(link->words().asleep))
            ring(*link);
    }
    if (fence) ring_fenced();
    if (++awake_messages_ >= fence_leave::after) allow_unfenced();
}

}  // namespace libipc
