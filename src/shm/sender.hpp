// A sender: owns its rings, finds receivers, and hands the rings to each.
#pragma once

#include <ipc/ipc.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "folder.hpp"
#include "folder_watch.hpp"
#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "handle/url.hpp"
#include "memory/mapping.hpp"
#include "outgoing.hpp"
#include "rings.hpp"
#include "seen.hpp"
#include "waiting/events.hpp"
#include "waiting/spin.hpp"

namespace libipc {

class sender {
  public:
    static constexpr std::int32_t role = IPC_SENDER;
    static constexpr bool streams = false;
    sender() = default;
    sender(endpoint where, ring_sizes sizes);  // throws failure
    explicit sender(handoff::reader &state);   // throws, and has taken nothing then
    ~sender();

    std::int32_t reserve(std::size_t size, void *&data, std::int64_t timeout_ns) {
        if (reserve_at_once(size, data)) [[likely]]
            return 0;
        return reserve_any(size, data, timeout_ns);
    }
    std::int32_t commit(std::size_t size, std::uint64_t tag) {
        if (!reserved_ || size > reserved_size_) return -EINVAL;
        reserved_ = false;
        rings_.now().commit(layout::kind::message, size, tag);
        ++counters_.messages;
        counters_.bytes += size;
        ring_receivers();
        return 0;
    }
    void abort() { reserved_ = false; }
    std::int32_t send(const void *data, std::size_t size, std::uint64_t tag, std::int64_t timeout_ns);
    void end();
    std::int32_t flush(std::int64_t timeout_ns);
    void interrupt() { events_.interrupt(); }
    std::int32_t arm();
    int fd() const { return events_.get(); }
    const char *url() const { return where_.url.c_str(); }
    std::int32_t stats(ipc_sender_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    // Ends and lingers; the number of messages that not every receiver has released.
    std::uint64_t finish(std::int64_t linger_ns);
    ownership &owner() { return owner_; }
    const ownership &owner() const { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(where_, id_, owner_, events_, membarrier_, own_pid_, space_bell_, runtime_, folder_, watch_, knocks_, name_);
        a(times_, name_due_ns_, status_, sizes_, rings_, slots_, generations_);
        std::uint32_t leaver = leaver_ ? leaver_->index : no_slot;
        a(leaver);
        leaver_ = leaver == no_slot ? nullptr : slots_[leaver].get();
        a.rebuilt(links_, leaver_);
        a(seen_, declined_, vacancy_, vacant_early_, served_, scan_due_, someone_gone_, retry_ns_, reserved_,
          reserved_size_, ended_);
        a(end_position_, links_awaited_, room_awaited_, flush_awaited_, ring_awaited_, awaited_in_, awake_messages_,
          armed_, spin_, counters_);
        a(stalled_at_, stalled_since_ns_, stalled_for_ns_, growth_due_ns_, retry_large_ns_, large_until_ns_);
    }

  private:
    void take_name();
    void check_own_name();
    void check_name_now_and_then();
    void scan(const std::vector<std::string> &names);
    bool is_known(std::uint64_t id) const;
    bool has_receiver() const;
    bool is_vacant() const;
    void see(std::uint64_t id);
    void decline(std::uint64_t id);
    bool give_up_gone();
    void vacate(const place &where, early_bits early);
    enum class meeting { linked, later, gone, foreign };
    meeting meet(seen_receiver &r, const std::vector<std::string> &names);
    int reach(seen_receiver &r, const std::vector<std::string> &names);
    int greet(seen_receiver &r, libipc::fd pid, bool with_pid);
    void say_waiting(seen_receiver &r);
    bool is_dead(const seen_receiver &r, const std::vector<std::string> &names) const;
    bool is_to_be_met_again(const outgoing &link, const std::vector<std::string> &names) const;
    void see_again(outgoing &link);
    const place &place_of(const seen_receiver &r) const { return r.successor ? vacancy_ : r.where; }
    void refuse(outgoing &link);
    int look(std::int64_t timeout_ns);
    void handle(event_tag tag);
    void read_socket(outgoing &link);
    bool hear(outgoing &link, const layout::answer &answer, std::span<libipc::fd> fds);
    bool hear(outgoing &link, const layout::notice &notice);
    void drop_gone();
    void watch_while_alone();
    void stay_findable();
    // Nearly always, in a flood: there is room, and nothing else to be done.
    bool reserve_at_once(std::size_t size, void *&data);
    // Apart, so that what is done at once needs no stack.
    [[gnu::noinline]] std::int32_t reserve_any(std::size_t size, void *&data, std::int64_t timeout_ns);
    void lend(std::size_t size, void *&data);
    void ring_receivers();
    [[gnu::noinline]] void ring_fenced();
    [[gnu::noinline]] void ring(outgoing &link);
    [[gnu::noinline]] void give_leave();
    // What calls that were refused wait to be released: of several the nearest, 0 if there is none. It makes the fd
    // ready.
    std::uint64_t awaited() const {
        std::uint64_t least = 0;
        for (std::uint64_t position : {room_awaited_, ring_awaited_, flush_awaited_})
            if (position != 0 && (least == 0 || position < least)) least = position;
        return least;
    }
    // What is there by now is awaited no more. Room is, too, if the stream has gone on in another ring.
    void forget_awaited() {
        if ((room_awaited_ | ring_awaited_ | flush_awaited_) == 0) return;
        if (flush_awaited_ <= rings_.tail()) flush_awaited_ = 0;
        if (ring_awaited_ <= rings_.tail()) ring_awaited_ = 0;
        if (room_awaited_ <= rings_.tail() || awaited_in_ != rings_.now().base()) room_awaited_ = 0;
    }
    // A receiver's place, which may be at a `continued` that the tail has passed.
    std::uint64_t released_by(const outgoing &link) const { return std::max(link.released(), rings_.tail()); }
    const early_bits &vacant_early() const { return leaver_ ? leaver_->early() : vacant_early_; }
    void refresh_tail(bool thoroughly = false);
    bool free_up_to(std::uint64_t position);
    bool too_many_with(std::uint64_t capacity) const;
    std::uint64_t larger() const { return std::min(2 * rings_.now().capacity(), sizes_.most); }
    std::int32_t go_on_in(std::uint64_t capacity);
    std::int32_t make_large(std::size_t size, std::int64_t timeout_ns);
    void end_stall(std::int64_t now_ns);
    std::int64_t until_growth(std::int64_t now_ns);
    bool grow();
    bool retry_due();
    void shrink_if_idle();
    std::int32_t await_links(std::int64_t timeout_ns);
    std::int32_t wait(std::uint64_t position, std::int64_t timeout_ns, std::uint64_t &awaited, bool may_grow = false);
    bool settle(std::uint64_t position);
    void wake();
    std::uint64_t unreleased();
    std::uint64_t messages_from(std::uint64_t position) const;
    void show();

    endpoint where_;
    std::uint64_t id_ = 0;
    ownership owner_;
    events events_;
    bool membarrier_ = false;
    libipc::fd own_pid_;
    libipc::fd space_bell_;
    std::string runtime_;
    channel_folder folder_;
    folder_watch watch_;  // only while it waits without a link
    libipc::fd knocks_;
    std::string name_;
    std::uint32_t times_ = 0;
    std::int64_t name_due_ns_ = 0;  // to be looked for
    status_page status_;
    ring_sizes sizes_;
    rings rings_;

    std::vector<std::unique_ptr<outgoing>> slots_;
    static constexpr std::uint32_t no_slot = ~std::uint32_t{0};
    std::vector<std::uint32_t> generations_;
    std::vector<outgoing *> links_;  // those in slots_
    std::vector<seen_receiver> seen_;
    std::vector<std::uint64_t>
        declined_;                // ids of living receivers that refused us, or had our end: whatever their name
    place vacancy_;               // what the next receiver takes, while there is none
    early_bits vacant_early_;     // what was released out of turn there, if its receiver is gone
    outgoing *leaver_ = nullptr;  // whose place that is, if it is closed and still holds messages
    bool served_ = false;         // somebody has had all, and the end
    bool scan_due_ = false;
    bool someone_gone_ = false;
    std::int64_t retry_ns_ = 0;  // before those that were seen are tried again

    bool reserved_ = false;
    std::size_t reserved_size_ = 0;
    bool ended_ = false;
    std::uint64_t end_position_ = 0;  // of the end frame, if ended
    bool links_awaited_ = false;      // a reserve was refused since not all that were seen have a link
    // What waits to be released: by a reserve or flush that was refused, and until there may be one more ring; 0:
    // nothing.
    std::uint64_t room_awaited_ = 0, flush_awaited_ = 0, ring_awaited_ = 0;
    std::uint64_t awaited_in_ = 0;      // base of the ring that was written then
    std::uint32_t awake_messages_ = 0;  // committed since it last slept: see fence_leave
    bool armed_ = false;                // the host may be waiting on our fd
    spin spin_;
    ipc_sender_counters counters_{};

    // When the ring changes.
    std::uint64_t stalled_at_ = 0;       // the tail, when there was no room,
    std::int64_t stalled_since_ns_ = 0;  // and since when it is that; 0: there was room up to now
    std::int64_t stalled_for_ns_ = 0;    // how long that lasted lately, until something was released
    std::int64_t growth_due_ns_ = 0;     // not before: a growth has failed
    std::int64_t retry_large_ns_ = 0;    // a reserve was refused that is to be tried again then
    std::int64_t large_until_ns_ = 0;    // until then the large ring is kept
};

inline void sender::lend(std::size_t size, void *&data) {
    data = rings_.now().payload_for(size);
    reserved_ = true;
    reserved_size_ = size;
}

inline bool sender::reserve_at_once(std::size_t size, void *&data) {
    if (reserved_ || ended_ || armed_ || size > sizes_.first / 2 || (room_awaited_ | flush_awaited_) != 0 ||
        links_.empty() || !seen_.empty() || !rings_.now().fits(size) || !events_.in_rush())
        return false;
    lend(size, data);
    return true;
}

// The waker's part of waking.hpp: a bell only where somebody sleeps.
inline void sender::ring_receivers() {
    bool fence = false;
    for (outgoing *link : links_) {
        if (waker_must_fence(link->words().unfenced))
            fence = true;
        else if (waker_must_ring(link->words().asleep))
            ring(*link);
    }
    if (fence) ring_fenced();
    if (++awake_messages_ >= fence_leave::after) give_leave();
}

}  // namespace libipc
