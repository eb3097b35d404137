// What comes over a link's socket, checked: whatever a peer says, nothing that is not in layout.hpp is acted upon.
#pragma once

#include <cstddef>
#include <cstdint>

#include "incoming.hpp"
#include "memory/layout.hpp"
#include "system/os.hpp"

namespace libipc {

// Of a sender, by its receiver. These throw failure, with words for the sender.
void check_hello(const layout::hello &h, const received &got);
void check_ring(const layout::ring_notice &n, const received &got);
// An eventfd that does not block whoever rings it.
void check_space_bell(const fd &bell);
read_ring map_ring(const layout::ring_place &place, const fd &memory, int link_file, std::uint64_t bits_at);

// How many descriptors belong to what says that it is a hello.
std::size_t fds_of(const layout::hello &h);
bool is_waiting(const layout::waiting &w, const received &got);
// A sender that has no data bell rings so.
bool is_wake(const layout::notice &n, const received &got);
// Of a receiver, by its sender.
bool is_answer(const layout::answer &a, const received &got);
// Of either.
bool is_notice(const layout::notice &n, const received &got);

// What a process may lack now and have later, and not a fault of the peer's.
bool is_lack(int code);

}  // namespace libipc
