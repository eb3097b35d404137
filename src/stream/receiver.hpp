// A receiver on pipes and sockets: what libipc::receiver is on shared memory, with the same calls.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>

#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "intake.hpp"
#include "site.hpp"
#include "transports.hpp"
#include "waiting/spin.hpp"

namespace libipc::stream {

class receiver {
  public:
    static constexpr std::int32_t role = IPC_RECEIVER;
    static constexpr bool streams = true;
    receiver() = default;
    explicit receiver(any_endpoint where);      // throws failure
    explicit receiver(handoff::reader &state);  // throws, and has taken nothing then
    ~receiver();

    std::int32_t receive(ipc_message &out, std::int64_t timeout_ns);
    std::int32_t release(const ipc_message &message);
    void interrupt() { site_.waiting.interrupt(); }
    std::int32_t arm();
    int fd() const { return site_.waiting.get(); }
    const char *url() const { return site_.where.url.c_str(); }
    std::int32_t stats(ipc_receiver_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    std::uint64_t shut();
    bool is_shut() const { return shut_; }
    ownership &owner() { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(owner_, site_, intake_, status_, source_, acknowledged_at_ns_, spin_, shut_);
    }

  private:
    std::int32_t take(ipc_message &out);
    std::int32_t wait(ipc_message &out, std::int64_t timeout_ns);
    int look(std::int64_t timeout_ns);
    void settle();
    void acknowledge_all();
    void drop_if_done(std::uint32_t index);
    void show();

    ownership owner_;
    site site_;
    intake intake_;
    status_page status_;
    any_source source_;
    std::int64_t acknowledged_at_ns_ = 0;
    spin spin_;
    bool shut_ = false;
};

}  // namespace libipc::stream
