// A sender's way to a receiver whose name it has seen: connecting to it, and finding out whether it lives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "folder.hpp"
#include "seen.hpp"
#include "system/os.hpp"

namespace libipc {

using names = std::vector<std::string>;  // of a channel's folder

// Calls f(name) for each name of the receiver. False if there is none.
template <class F>
bool names_of(std::uint64_t receiver, const names &all, F f) {
    bool any = false;
    for (const std::string &name : all) {
        auto r = parse_receiver_name(name);
        if (!r || r->id != receiver) continue;
        any = true;
        f(name);
    }
    return any;
}

enum class presence {
    there,    // and connected
    later,    // what is in the way need not be for ever: r.lack says what
    gone,     // dead or closed
    foreign,  // none of ours
};

struct whereabouts {
    presence is;
    fd pid;                     // its pidfd, if one is to be had
    bool kernel_tells = false;  // then the receiver gets our pidfd from the kernel, too, and not with the hello
};

// Connects to `r`, if it is not connected. `knocks` is a datagram socket. Throws bad_alloc.
whereabouts approach(seen_receiver &r, const channel_folder &folder, int knocks, const names &all);

// On its connection, once: that we wait, for want of what r.lack says.
void say_waiting(seen_receiver &r, std::uint64_t sender);

// Of those that were seen: it can't be there any more.
bool is_dead(const seen_receiver &r, const channel_folder &folder, const names &all);

// The receiver of that id listens under one of its names. Those that nobody listens under are deleted.
bool listens(std::uint64_t receiver, const channel_folder &folder, const names &all);

}  // namespace libipc
