#include "receiver.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "handle/core.hpp"
#include "waiting/patience.hpp"

namespace libipc {

static_assert(receiver_core<receiver>);

receiver::receiver(endpoint where, std::int32_t from)
    : owner_(ownership::take_new()),
      reception_(std::move(where), from, owner_.page()),
      status_(reception_.own.where, reception_.own.id, IPC_RECEIVER, reception_.own.runtime) {
    reception_.open();
}

receiver::receiver(handoff::reader &state) {
    handoff::adopt(*this, state, [&] { reception_.rebuild(); });
}

receiver::~receiver() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        reception_.forget();
        status_.forget();
        return;
    }
    shut();
}

// ---- Looking --------------------------------------------------------------------------------------------------------

int receiver::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    int r = reception_.events.take(timeout_ns, [&](event_tag tag) {
        came = true;
        reception_.handle(tag);
    });
    came |= reception_.catch_up();
    // stats() or links() was called between arm() and the host's own wait: this look took the event that was to wake
    // the host, so the fd is made ready again.
    if (armed_ && (came || reception_.any_ready())) reception_.events.stay_ready();
    show();
    return r;
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

// The next message, end or death of one active link; 0 if there is none.
inline std::int32_t receiver::take_from(std::uint32_t index, peer &p, ipc_message &out) {
    incoming::next what = p.link->take_in_order(out) ? incoming::next::message : p.link->take(out);
    if (what == incoming::next::message) {
        count_message(out, index, p);
        return IPC_MESSAGE;
    }
    if (what == incoming::next::nothing && !p.gone()) return 0;
    if (what == incoming::next::continued) return go_on(index, p, out);
    return finish(index, what == incoming::next::end, what == incoming::next::broken, out);
}

// Its stream goes on in a ring of which it has told us.
std::int32_t receiver::go_on(std::uint32_t index, peer &p, ipc_message &out) {
    no_cancel here;
    if (reception_.follow(index)) return take_from(index, p, out);
    if (!p.waits) return finish(index, false, !p.gone(), out);
    reception_.turns.deactivate(index, p);
    return 0;
}

// Nothing more comes from this sender.
std::int32_t receiver::finish(std::uint32_t index, bool end, bool broken, ipc_message &out) {
    no_cancel here;
    peer &p = reception_.peers[index];
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.sender = p.link->sender();
    ++(end ? reception_.counters.ends : reception_.counters.deaths);
    if (broken) {
        // Foreign bytes in the ring: nothing after them can be trusted.
        ++reception_.counters.refused;
        if (!p.gone()) reception_.lost(index);
    }
    p.at = peer::stage::reported;
    reception_.turns.deactivate(index, p);
    reception_.drop_if_done(index);
    return end ? IPC_END : IPC_DIED;
}

// The next message, end or death of the active links, in turn; 0 if there is none.
std::int32_t receiver::take(ipc_message &out) {
    return reception_.turns.each(reception_.peers,
                                 [&](std::uint32_t index, peer &p) { return take_from(index, p, out); });
}

std::int32_t receiver::receive_any(ipc_message &out, std::int64_t timeout_ns) {
    events &events = reception_.events;
    turns &turns = reception_.turns;
    bool due = events.due();
    if (turns.goes_on() && !due && !events.interrupted()) {
        turns.count_message();
        if (std::int32_t r = take_from(turns.served(), *turns.serving(), out)) return r;
    }
    armed_ = false;
    if (!turns.settled().empty()) reception_.set_awake();
    if (timeout_ns != 0 && events.take_interrupt()) return -ECANCELED;
    if (due || turns.empty()) look(0);
    if (std::int32_t r = take(out)) return r;
    if (std::int32_t lack = reception_.take_what_to_tell()) return lack;
    if (timeout_ns != 0) return wait(out, timeout_ns);
    // Nothing was there: if this was a rush, it is over. And links that rest are heard of by their bells alone: look.
    bool rush = events.skips();
    if (rush) events.no_rush();
    if (!due && ((rush && events.due()) || reception_.counters.links > turns.size())) {
        look(0);
        if (std::int32_t r = take(out)) return r;
    }
    return -EAGAIN;
}

std::int32_t receiver::wait(ipc_message &out, std::int64_t timeout_ns) {
    patience patience(timeout_ns);
    spin_.learn(now_ns(), reception_.counters.messages);
    spin_.until([&] { return reception_.any_ready() || reception_.events.interrupted(); }, patience.left());
    auto ready = [&] {
        std::int32_t r = take(out);
        return r == 0 && !reception_.events.interrupted() ? reception_.take_what_to_tell() : r;
    };
    return wait_until(reception_.events, patience, ready, [&](std::int64_t left) {
        if (!reception_.settle()) return 0;
        ++reception_.counters.waits;
        show();
        int r = look(left);
        reception_.set_awake();
        return r;
    });
}

std::int32_t receiver::release_any(const ipc_message &message) {
    std::uint32_t index = link_key::index_of(message.link);
    if (index >= reception_.peers.size()) return -EINVAL;
    peer &p = reception_.peers[index];
    // A link that is dropped had all its messages released.
    if (!p.link || p.generation != link_key::generation_of(message.link)) return -ESTALE;
    std::int32_t r = p.link->release(message.position);
    if (r == 0) --reception_.counters.held;
    if (r == 0 && (p.reported() || shut_) && p.link->held() == 0) {
        no_cancel here;
        reception_.drop(index);
    }
    return r;
}

std::int32_t receiver::arm() {
    armed_ = false;
    reception_.set_awake();
    look(0);
    // After the look, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (reception_.events.take_interrupt()) return -ECANCELED;
    if (reception_.any_ready() || reception_.has_to_tell() || !reception_.settle()) return 0;
    ++reception_.counters.waits;
    show();
    armed_ = true;
    return 1;
}

// ---- Telling --------------------------------------------------------------------------------------------------------

void receiver::show() {
    peers &peers = reception_.peers;
    const ipc_receiver_counters &counters = reception_.counters;
    std::uint64_t backlog = 0, held = 0;
    auto add = [&](const incoming &link) {
        backlog += link.held_bytes();
        held += link.held();
    };
    for (std::uint32_t i : reception_.turns.active()) add(*peers[i].link);
    for (std::uint32_t i : reception_.turns.settled()) add(*peers[i].link);
    if (held != counters.held) {  // others, which are idle or have ended, have some: seldom, and then all are asked
        backlog = 0;
        for (std::uint32_t i = 0; i < peers.size(); ++i)
            if (peers[i].link) add(*peers[i].link);
    }
    shown_links shown;
    for (std::uint32_t i = 0; i < peers.size() && !shown.full(); ++i)
        if (peer &p = peers[i]; p.link)
            shown.add(p.link->shown(p.gone()));
        else if (p.announced != 0)
            shown.add(unlinked(p.announced, p.process, p.lack));
    status_.show({counters.messages, counters.bytes, backlog, 0, counters.skipped, 0,
                  std::max<std::size_t>(counters.links, shown.get().size())},
                 shown);
}

std::int32_t receiver::stats(ipc_receiver_counters &out) {
    look(0);
    const peers &peers = reception_.peers;
    std::size_t size = out.struct_size;
    out = reception_.counters;
    out.struct_size = size;
    out.id = reception_.own.id;
    out.waiting_for_fds = reception_.lacks();
    for (std::uint32_t i = 0; i < peers.size(); ++i)
        if (peers[i].link) out.bells += peers[i].link->bells();
    return 0;
}

std::int32_t receiver::links(ipc_link *out, std::size_t count) {
    look(0);
    const peers &peers = reception_.peers;
    std::size_t n = 0;
    for (std::uint32_t i = 0; i < peers.size(); ++i) {
        const peer &p = peers[i];
        if (!p.link && p.announced == 0) continue;
        if (n < count) {
            show_unlinked(out[n], p.announced, p.process, p.lack);
            out[n].struct_size = out[0].struct_size;
            if (p.link) p.link->fill(out[n]);
            if (p.link && p.gone()) out[n].state = IPC_LINK_ENDED;
        }
        ++n;
    }
    return static_cast<std::int32_t>(n);
}

std::uint64_t receiver::shut() {
    if (std::exchange(shut_, true)) return reception_.counters.held;
    reception_.dismiss();
    return reception_.counters.held;
}

}  // namespace libipc
