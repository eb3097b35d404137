// A receiver whose name a sender has seen, and with which it has no link yet. From that moment the sender keeps what is
// for it, whatever has to be tried again until there is a link.
#pragma once

#include <cstdint>

#include "early.hpp"
#include "outgoing.hpp"
#include "system/os.hpp"

namespace libipc {

struct seen_receiver {
    seen_receiver() = default;
    seen_receiver(std::uint64_t receiver, bool succeeds, const place &at)
        : id(receiver), successor(succeeds), where(at) {}

    std::uint64_t id = 0;
    bool successor = false;             // it takes the vacant place, wherever that is by then; else:
    place where;                        // where it starts, and up to where it was given messages on a link before
    early_bits early;                   // what of these it has released
    std::int32_t lack = 0;              // why there is no link yet: -errno; 0: it was not tried
    std::int32_t process = 0;           // its pid; 0 if it is not known
    std::int64_t missing_since_ns = 0;  // since when its name is not there; 0: it is
    fd socket;                          // connected
    bool gone = false;                  // dead or closed: to be taken off
    bool said_waiting = false;          // on that connection

    // It joined others, and has been given nothing.
    bool joined() const { return !successor && where.released == where.delivered; }
    bool needs(std::uint64_t position) const {
        return !successor && position >= where.released && !(position < where.delivered && early.test(position));
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(id, successor, where, early, lack, process, missing_since_ns, socket, gone, said_waiting);
    }
};

}  // namespace libipc
