// Those to whom a sender sends: its links, the receivers that it has seen and has no link with yet, and what is kept
// for who may come. It finds them, hears them, and lets go of who has gone.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "handle/status.hpp"
#include "meeting.hpp"
#include "outgoing_links.hpp"
#include "rings.hpp"
#include "self.hpp"
#include "sender_name.hpp"
#include "succession.hpp"
#include "waiting/backoff.hpp"
#include "waiting/events.hpp"

namespace libipc {

// The sender as of now, for its audience; made anew for each call, as its values (end, messages, awaited) grow old.
struct speaker {
    libipc::events &events;
    const self &own;
    int space_bell;
    const rings &stream;
    std::optional<std::uint64_t> end;  // position of the end frame, if it has ended
    std::uint64_t messages;            // committed
    std::uint64_t awaited;             // a position of which it wants to know that it is released; 0: none

    // The sequence of the first message from there on.
    std::uint64_t sequence_at(std::uint64_t position) const { return messages + 1 - stream.messages_from(position); }
};

class audience {
  public:
    audience() = default;
    audience(const self &own, events &e) : name_(own.runtime, own.where.name, own.id, e) {}  // throws failure
    // From now on nobody finds the sender, and who is linked is told that it has gone.
    void leave();

    const outgoing_links &links() const { return links_; }
    const channel_folder &folder() const { return name_.folder(); }
    // Everybody that was seen has a link.
    bool all_linked() const { return succession_.seen().empty(); }

    // The folder is to be read.
    void scan_again() { scan_due_ = true; }
    bool scan_due() const { return scan_due_; }
    void check_name_now_and_then(events &e) { scan_due_ |= name_.check_now_and_then(e); }
    // Sees to it that who comes finds us while we sleep. The folder may be due to be read then.
    void stay_findable(events &e) { scan_due_ |= name_.watch(e, !links_.empty()); }

    void handle(event_tag tag, events &e);
    void drop_gone(const speaker &by);
    // Reads the folder. begin_scan() returns its names, takes all events (`came`: there were some) and drops who has
    // gone. Then the sender refreshes its tail, and scan() links who is new. If either throws (bad_alloc), call
    // scan_again().
    names begin_scan(const speaker &by, bool &came);
    void scan(const names &all, const speaker &by);

    // Reads what each receiver has released, takes off those that are gone or write nonsense, and returns the gate: the
    // first position that is kept for anybody. `thoroughly` also walks the frames, and so finds who wrote a position
    // where none starts.
    std::uint64_t refresh_gate(const speaker &by, bool thoroughly);
    // The rings before `base` are gone.
    void drop_before(std::uint64_t base) { succession_.drop_before(base); }
    // The stream goes on in another ring, of which each receiver is told before. 0, or -errno, and nothing has changed.
    std::int32_t go_on_in(rings &stream, std::uint64_t capacity) const;
    // How many messages are kept for somebody. After refresh_gate().
    std::uint64_t count_kept(const rings &stream) const;

    void show(shown_links &shown, std::uint64_t head) const;
    std::size_t count() const { return links_.size() + succession_.seen().size(); }
    // As ipc_sender_links.
    std::size_t fill(ipc_link *out, std::size_t room, const rings &stream) const;
    void fill(ipc_sender_counters &out) const;

    // In a forked child.
    void forget();
    template <class Archive>
    void hand_over(Archive &a) {
        a(name_, links_, succession_, declined_, scan_due_, gone_due_, meeting_, refused_);
        std::uint32_t leaver = succession_.leaver();
        a(leaver);
        succession_.rebuild(leaver, links_);
    }
    void rebuild() { links_.rebuild(); }

  private:
    bool is_known(std::uint64_t id) const;
    void decline(std::uint64_t id);
    presence meet(seen_receiver &r, const names &all, const speaker &by);
    int say_hello(seen_receiver &r, fd pid, bool with_pid, const speaker &by);
    static layout::hello hello_for(const place &where, const speaker &by);
    void read_socket(outgoing &link, events &e);
    bool hear(outgoing &link, const layout::answer &answer, std::span<fd> fds, events &e);
    bool hear(outgoing &link, const layout::notice &notice, events &e);
    void lose(outgoing &link);
    void refuse(outgoing &link);
    bool is_to_be_met_again(const outgoing &link, const names &all, const rings &stream) const;
    void choose_vacancy(bool vacated, const rings &stream);
    void take_off_gone(const names &all, events &e);

    sender_name name_;
    outgoing_links links_;
    succession succession_;
    // Ids of receivers that still have a name and get no link any more: of another version or user, refused, or hung
    // up.
    std::vector<std::uint64_t> declined_;
    bool scan_due_ = true;   // the folder is to be read
    bool gone_due_ = false;  // a link is to be taken off
    backoff meeting_;        // before those that were seen are tried again
    std::uint64_t refused_ = 0;
};

}  // namespace libipc
