#include "meeting.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "folder_watch.hpp"
#include "memory/layout.hpp"

namespace libipc {

namespace {

// A name that was deleted is made again within folder_look_ns.
constexpr std::int64_t missing_for_ns = 2 * folder_look_ns;

// Connects to a receiver under one of its names. 0 or -errno.
int reach(seen_receiver &r, const channel_folder &folder, int knocks, const names &all) {
    if (r.socket && is_connected(r.socket.get())) return 0;
    bool hung_up = static_cast<bool>(r.socket);
    r.socket.reset();
    r.said_waiting = false;
    int error = hung_up ? -ECONNREFUSED : -ENOENT;
    bool stop = false;
    names_of(r.id, all, [&](const std::string &name) {
        if (stop) return;
        int number = make_socket(SOCK_SEQPACKET);
        fd socket(number);
        // Whether somebody is there a datagram tells, too.
        error = socket                                        ? folder.connect(number, name)
                : folder.knock(knocks, name) == -ECONNREFUSED ? -ECONNREFUSED
                                                              : number;
        // Nobody will listen under this name again, but perhaps it has another one by now.
        if (error == -ECONNREFUSED) folder.unlink(name);
        stop = error != -ECONNREFUSED && error != -ENOENT;
        if (error == 0) r.socket = std::move(socket);
    });
    return error;
}

// Why it could not be reached.
presence presence_after(seen_receiver &r, int error, bool first_time) {
    switch (error) {
        case -ECONNREFUSED:  // dead for certain: nobody listens
        case -EACCES:        // its owner keeps us out: it is none of our user's
            return presence::gone;
        case -EPROTOTYPE:  // another kind of socket than ours
            return presence::foreign;
        case -ENOENT:  // closed; or its name was deleted
            if (r.missing_since_ns == 0) r.missing_since_ns = now_ns();
            return first_time || now_ns() - r.missing_since_ns > missing_for_ns ? presence::gone : presence::later;
        default:  // its backlog is full, or there are too many descriptors open, or on their way
            return presence::later;
    }
}

}  // namespace

whereabouts approach(seen_receiver &r, const channel_folder &folder, int knocks, const names &all) {
    bool first_time = r.lack == 0;
    if (int error = reach(r, folder, knocks, all); error < 0) {
        r.lack = error;
        return {presence_after(r, error, first_time), {}};
    }
    r.missing_since_ns = 0;
    ucred who = peer_of(r.socket.get());
    if (who.uid != geteuid()) return {presence::foreign, {}};
    r.process = who.pid;
    // Whether a receiver lives that has not answered yet. Without a pidfd there is the hang-up alone.
    int number = peer_pidfd(r.socket.get());
    bool told = number != -ENOPROTOOPT;
    if (!told && who.pid > 0) number = pidfd_of(who.pid);
    fd pid(number);
    if (number == -ESRCH || (pid && has_ended(number))) return {presence::gone, {}};
    r.lack = number == -EMFILE || number == -ENFILE || number == -ENOMEM ? number : 0;
    return {r.lack == 0 ? presence::there : presence::later, std::move(pid), told};
}

void say_waiting(seen_receiver &r, std::uint64_t sender) {
    if (r.said_waiting || !r.socket) return;
    layout::waiting w{{layout::waiting_magic, layout::version, sizeof w}, sender, r.lack, 0};
    r.said_waiting = send_with_fds(r.socket.get(), std::as_bytes(std::span(&w, 1)), {}) == 0;
}

bool is_dead(const seen_receiver &r, const channel_folder &folder, const names &all) {
    if (r.socket) return !is_connected(r.socket.get());
    bool refused = false, lives = false;
    names_of(r.id, all, [&](const std::string &name) { (folder.unlink_if_dead(name) ? refused : lives) = true; });
    return refused && !lives;
}

bool listens(std::uint64_t receiver, const channel_folder &folder, const names &all) {
    bool any = false;
    names_of(receiver, all, [&](const std::string &name) { any |= !folder.unlink_if_dead(name); });
    return any;
}

}  // namespace libipc
