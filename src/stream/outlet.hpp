// Where a sender's messages go: a connection, a pipe, datagrams.
#pragma once

#include <ipc/ipc.h>

#include <cstddef>
#include <cstdint>

#include "outbox.hpp"
#include "site.hpp"

namespace libipc::stream {

// A payload up to this size is copied behind its header: one part is written faster than two.
inline constexpr std::size_t most_copied = 128;

class outlet : public watched {
  public:
    virtual ~outlet() = default;
    // After its members were handed over: it is at work again. Throws failure.
    virtual void resume(site &s, outbox &out) = 0;
    // Hands over what can be without waiting. Called after each commit.
    virtual void pump() = 0;
    virtual bool linked() const = 0;
    virtual bool dead() const { return false; }  // nobody is there, and nobody can come
    // The largest message that it takes, as far as is known.
    virtual std::uint64_t most() const { return ~std::uint64_t{0}; }
    // All messages up to this one are the sender's no more: released by the receiver, or lost. Where a receiver can't
    // say so: those that the system has taken.
    virtual std::uint64_t settled() const = 0;
    virtual void ask() {}  // let settled() become right for what was sent
    virtual void alarm() {}
    struct identity {
        std::uint64_t id = 0;  // 0: not known
        std::int32_t pid = 0;
    };
    virtual identity peer() const { return {}; }
    // Messages that the receiver has not received, of `unreleased` ones.
    virtual std::uint64_t behind(std::uint64_t unreleased) const { return unreleased; }
    virtual std::uint64_t lost() const { return 0; }
    virtual std::uint64_t refused() const { return 0; }
    virtual void leave() {}  // the handle is being closed; what can be handed over still is
};

}  // namespace libipc::stream
