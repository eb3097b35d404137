// A sender on pipes and sockets: what libipc::sender is on shared memory, with the same calls.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>

#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "outbox.hpp"
#include "outlet.hpp"
#include "site.hpp"
#include "transports.hpp"

namespace libipc::stream {

class sender {
  public:
    static constexpr std::int32_t role = IPC_SENDER;
    static constexpr bool streams = true;
    sender() = default;
    sender(any_endpoint where, std::uint64_t capacity);  // throws failure
    explicit sender(handoff::reader &state);             // throws, and has taken nothing then
    ~sender();

    std::int32_t reserve(std::size_t size, void *&data, std::int64_t timeout_ns);
    std::int32_t commit(std::size_t size, std::uint64_t tag);
    void abort() { reserved_ = false; }
    void end();
    std::int32_t flush(std::int64_t timeout_ns);
    void interrupt() { site_.waiting.interrupt(); }
    std::int32_t arm();
    int fd() const { return site_.waiting.get(); }
    const char *url() const { return site_.where.url.c_str(); }
    std::int32_t stats(ipc_sender_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    std::uint64_t finish(std::int64_t linger_ns);
    ownership &owner() { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(owner_, site_, outbox_, status_, outlet_, reserved_, reserved_size_, refused_size_, refused_reserve_,
          refused_flush_, ended_, counters_);
    }

  private:
    template <class Done>
    std::int32_t wait(Done done, std::int64_t timeout_ns);
    bool drained();
    void pump();
    int look(std::int64_t timeout_ns);
    std::uint64_t largest() const;  // message
    std::uint64_t unreleased() const;
    void show();

    ownership owner_;
    site site_;
    outbox outbox_;
    status_page status_;
    any_outlet outlet_;
    bool reserved_ = false;
    std::size_t reserved_size_ = 0;
    std::size_t refused_size_ = 0;  // what the last refused reserve wanted
    bool refused_reserve_ = false;
    bool refused_flush_ = false;
    bool ended_ = false;
    ipc_sender_counters counters_{};
};

}  // namespace libipc::stream
