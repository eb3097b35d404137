// A receiver: gives out what lies in its senders' rings, in turn.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>

#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "handle/url.hpp"
#include "reception.hpp"
#include "waiting/spin.hpp"

namespace libipc {

class receiver {
  public:
    static constexpr std::int32_t role = IPC_RECEIVER;
    static constexpr bool streams = false;
    receiver() = default;
    receiver(endpoint where, std::int32_t from);  // throws failure
    explicit receiver(handoff::reader &state);    // throws, and has taken nothing then
    ~receiver();

    std::int32_t receive(ipc_message &out, std::int64_t timeout_ns) {
        if (receive_at_once(out)) [[likely]]
            return IPC_MESSAGE;
        return receive_any(out, timeout_ns);
    }
    std::int32_t release(const ipc_message &message) {
        if (release_at_once(message)) [[likely]]
            return 0;
        return release_any(message);
    }
    void interrupt() { reception_.events.interrupt(); }
    std::int32_t arm();
    int fd() const { return reception_.events.get(); }
    const char *url() const { return reception_.own.where.url.c_str(); }
    std::int32_t stats(ipc_receiver_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    // Stops listening and drops what is not held; returns how many messages are. At 0 the object can be deleted.
    std::uint64_t shut();
    bool is_shut() const { return shut_; }
    ownership &owner() { return owner_; }
    const ownership &owner() const { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(owner_, reception_, status_, spin_, armed_, shut_);
    }

  private:
    int look(std::int64_t timeout_ns);

    // Receiving. In a flood the two _at_once() nearly always do it: the sender whose turn it is has more, and the
    // message before is released.
    bool receive_at_once(ipc_message &out);
    bool release_at_once(const ipc_message &message);
    // Not inlined: the fast path then needs no stack frame.
    [[gnu::noinline]] std::int32_t receive_any(ipc_message &out, std::int64_t timeout_ns);
    [[gnu::noinline]] std::int32_t release_any(const ipc_message &message);
    void count_message(ipc_message &out, std::uint32_t index, peer &p);
    std::int32_t take(ipc_message &out);
    std::int32_t take_from(std::uint32_t index, peer &p, ipc_message &out);
    std::int32_t go_on(std::uint32_t index, peer &p, ipc_message &out);
    std::int32_t finish(std::uint32_t index, bool end, bool broken, ipc_message &out);
    std::int32_t wait(ipc_message &out, std::int64_t timeout_ns);

    void show();

    ownership owner_;
    reception reception_;
    status_page status_;
    spin spin_;
    bool armed_ = false;  // the host may be waiting on our fd
    bool shut_ = false;
};

inline void receiver::count_message(ipc_message &out, std::uint32_t index, peer &p) {
    out.link = link_key::pack(index, p.generation);
    ++reception_.counters.messages;
    ++reception_.counters.held;
    reception_.counters.bytes += out.size;
    p.idle_looks = 0;
}

inline bool receiver::receive_at_once(ipc_message &out) {
    turns &turns = reception_.turns;
    if (!turns.goes_on() || !reception_.events.in_rush() || !turns.serving()->link->take_in_order(out)) return false;
    turns.count_message();
    count_message(out, turns.served(), *turns.serving());
    return true;
}

// Whom we serve is neither gone for good nor are we closed.
inline bool receiver::release_at_once(const ipc_message &message) {
    peer *p = reception_.turns.serving();
    if (!p || message.link != link_key::pack(reception_.turns.served(), p->generation) ||
        !p->link->release_in_order(message.position))
        return false;
    --reception_.counters.held;
    return true;
}

}  // namespace libipc
