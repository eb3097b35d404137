// How a receiver meets a sender that has connected: the hello and what comes with it, made into a link, and what it
// says in turn. See "What is said over a link's socket" in PROTOCOL.md.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "memory/layout.hpp"
#include "peers.hpp"
#include "self.hpp"
#include "system/os.hpp"
#include "waiting/events.hpp"

namespace libipc {

// Looks at what the peer has said first, which should be a hello, and leaves it in the socket. What it may have said
// before, that it waits, is taken out, and noted in the peer.
received peek_hello(peer &p, layout::hello &hello, std::span<fd, most_fds> fds);
// Makes a link of what came with a hello that is as it must be, with events for the peer at `index`. Throws failure and
// bad_alloc, and then unmake_link() is to be called. True if the sender is known to be dead.
bool make_link(peer &p, std::uint32_t index, layout::hello &hello, std::span<fd, most_fds> fds, events &e,
               bool membarrier);
void unmake_link(peer &p, events &e);

// To none of these matters whether the sender is still there: its hang-up tells.
void answer(const peer &p, const self &own, bool with_pid);
void say_no(const peer &p, const self &own, std::string_view words);
void tell(const peer &p, layout::notice_kind what);

}  // namespace libipc
