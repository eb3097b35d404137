#include "sender.hpp"

#include <algorithm>
#include <cerrno>

#include "handle/core.hpp"
#include "litter.hpp"
#include "system/failure.hpp"

namespace libipc {

static_assert(sender_core<sender>);

namespace {

using of = event_tag::of;
using reason = awaited::reason;

constexpr std::int64_t large_retry_ns = 100'000'000;
constexpr int most_rounds = 4;

}  // namespace

sender::sender(endpoint where, ring_sizes sizes)
    : self_(std::move(where)),
      owner_(ownership::take_new()),
      events_(owner_.page()),
      space_bell_(made(make_eventfd(), "an eventfd")),
      status_(self_.where, self_.id, IPC_SENDER, self_.runtime),
      rings_(sizes) {
    events_.add(space_bell_.get(), {of::space_bell}, true);
    clear_litter(self_.runtime);
    audience_ = audience(self_, events_);
    try {
        for (const std::string &name : audience_.folder().names())
            if (auto r = parse_receiver_name(name);
                r && r->version != layout::version && !audience_.folder().unlink_if_dead(name))
                fail(IPC_EVERSION,
                     "a receiver on {} has memory layout {}, this sender has {}: build both with the same "
                     "version of libipc",
                     self_.where.url, r->version, layout::version);
        look(0);
    } catch (...) {
        audience_.leave();
        throw;
    }
}

sender::sender(handoff::reader &state) {
    handoff::adopt(*this, state, [&] { audience_.rebuild(); });
}

sender::~sender() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        audience_.forget();
        rings_.forget();
        status_.forget();
        return;
    }
    audience_.leave();
}

// ---- Being found ----------------------------------------------------------------------------------------------------

// Before a sleep, so that a receiver that comes during it finds us. A look may take the last link off, bring the first,
// or make our name again: each changes what is to be watched, and asks for one more round. If the folder is still due
// after most_rounds, something is in the way, and an alarm looks again.
void sender::stay_findable() {
    no_cancel here;
    for (int rounds = 0; rounds < most_rounds; ++rounds) {
        audience_.stay_findable(events_);
        if (!audience_.scan_due()) return;
        look(0);
    }
    events_.alarm_within(folder_look_ns);
}

// ---- Looking --------------------------------------------------------------------------------------------------------

speaker sender::as_speaker() {
    return {events_, self_, space_bell_.get(), rings_, writing_.end, counters_.messages, awaited_.nearest()};
}

int sender::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    int r = events_.take(timeout_ns, [&](event_tag tag) {
        came = true;
        audience_.handle(tag, events_);
    });
    audience_.drop_gone(as_speaker());
    if (audience_.scan_due()) try {
            names all = audience_.begin_scan(as_speaker(), came);
            refresh_tail(true);
            audience_.scan(all, as_speaker());
        } catch (...) {
            audience_.scan_again();
            throw;
        }
    show();
    // stats() or links() was called between arm() and the host's own wait: this look took the event that was to wake
    // the host, so the fd is made ready again.
    if (armed_ && came) events_.stay_ready();
    return r;
}

// ---- Writing --------------------------------------------------------------------------------------------------------

std::int32_t sender::reserve_any(std::size_t size, void *&data, std::int64_t timeout_ns) {
    if (writing_.end) return -EPIPE;
    if (writing_.reserved) return -EINVAL;
    bool large = size > rings_.sizes().largest_in_first();
    if (large && size > rings_.sizes().largest()) return -EMSGSIZE;
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    bool due = events_.due();
    if (due) audience_.check_name_now_and_then(events_);
    // Without a link, look even if none is due: a receiver may have come for this very message, and the user may make
    // no later call in which it would be found.
    if (due || links().empty()) look(0);
    // Once more if a wait has brought a receiver that can't be linked yet.
    patience patience(timeout_ns);
    do {
        if (std::int32_t r = await_links(patience); r < 0) return r;
        if (large) {
            if (std::int32_t r = make_large(size, patience); r < 0) return r;
        } else if (due) {
            shrink_if_idle();
        }
        // If the ring grew in wait(), the new one is empty, and the message fits.
        while (!rings_.now().fits(size)) {
            std::uint64_t needs = rings_.now().room_needs(size);
            if (free_up_to(needs)) break;
            if (std::int32_t r = wait(needs, patience, reason::room, true); r < 0) return r;
        }
    } while (!audience_.all_linked());
    forget_awaited();
    if (growth_.stalled()) growth_.end_stall(now_ns());  // also where a look had found the room
    lend(size, data);
    return 0;
}

void sender::end() {
    if (writing_.end) return;
    writing_ = {.reserved = false, .size = 0, .end = rings_.head()};
    rings_.now().commit_last(layout::kind::end);  // its room is always kept back
    ring_receivers();
    look(0);  // finds who came since the last call: the user may make no other
}

void sender::ring(outgoing &link) {
    no_cancel here;
    link.ring();
    ++counters_.bells;
    events_.no_rush();
}

// For those that gave no leave to do without a fence: one for all.
void sender::ring_fenced() {
    full_fence();
    for (outgoing *link : links())
        if (waker_must_ring(link->words().asleep)) ring(*link);
}

void sender::allow_unfenced() {
    awake_messages_ = 0;
    for (outgoing *link : links()) link->allow_unfenced(self_.membarrier);
}

// ---- Room -----------------------------------------------------------------------------------------------------------

void sender::refresh_tail(bool thoroughly) {
    if (rings_.reclaim(audience_.refresh_gate(as_speaker(), thoroughly))) audience_.drop_before(rings_.oldest_base());
}

bool sender::free_up_to(std::uint64_t position) {
    if (rings_.tail() >= position) return true;
    refresh_tail();
    return rings_.tail() >= position;
}

// The sleeper's steps of waking.hpp, in this order: makes sure that newcomers find us, forbids `unfenced`, arms the
// space bell in each link that has not released all before `position`. True if that is still so: the caller may sleep.
bool sender::settle(std::uint64_t position) {
    stay_findable();
    bool barrier = false;
    awake_messages_ = 0;
    for (outgoing *link : links()) barrier |= link->forbid_unfenced();
    if (barrier && !membarrier_global()) {
        self_.membarrier = false;
        events_.alarm_within(doubtful_sleep_ns);
    }
    for (outgoing *link : links())
        if (link->released() < position) link->sleep_until(position);
    full_fence();  // pairs with the receiver's, see waking.hpp
    return !free_up_to(position);
}

void sender::set_awake() {
    for (outgoing *link : links()) link->set_awake();
}

int sender::sleep(std::int64_t timeout_ns) {
    ++counters_.waits;
    show();
    return look(timeout_ns);
}

// Waits until every receiver has released all before `position`, or the stream has gone on in a larger ring. 0 or
// -errno. If it gives up, `position` stays noted for `why`, so that arm() lets the host be woken for it.
std::int32_t sender::wait(std::uint64_t position, patience &p, reason why, bool may_grow) {
    forget_awaited();
    awaited_.await(why, position, rings_.now().base());
    auto ready = [&]() -> std::int32_t {
        if (free_up_to(position)) {
            if (growth_.stalled() && may_grow) growth_.end_stall(now_ns());
            forget_awaited();
            return 1;
        }
        return may_grow && !events_.interrupted() && until_growth() == 0 && grow() ? 1 : 0;
    };
    if (p.none()) {
        // Bytes may be held by a receiver that is gone: a look would tell.
        look(0);
        return ready() ? 0 : -EAGAIN;
    }
    spin_.learn(now_ns(), counters_.messages);
    spin_.until([&] { return free_up_to(position) || events_.interrupted(); }, p.left());
    std::int32_t r = wait_until(events_, p, ready, [&](std::int64_t left) {
        std::int64_t growth = may_grow ? until_growth() : -1;
        if (growth == 0) growth = 1;  // since ready() has asked
        // With as many rings as may be, it grows when the oldest has gone.
        std::uint64_t ring = awaited_.position(reason::ring);
        std::uint64_t until = may_grow && ring > rings_.tail() ? std::min(position, ring) : position;
        // To settle may be to look, and so to take the bell of an interrupt.
        if (!settle(until) || events_.interrupted()) return 0;
        int slept = sleep(sooner(left, growth));
        set_awake();
        return slept;
    });
    return std::min(r, 0);
}

// Waits until all receivers that were seen have a link: a program that returns from here, and waits in another handle,
// would never make those that are missing. What wakes it is the alarm, at which linking is tried again, or one more
// receiver.
std::int32_t sender::await_links(patience &p) {
    auto linked = [&] { return audience_.all_linked() ? 1 : 0; };
    awaited_.links = !linked();
    if (!awaited_.links) return 0;
    if (p.none()) return -EAGAIN;
    std::int32_t r = wait_until(events_, p, linked, [&](std::int64_t left) { return sleep(left); });
    awaited_.links = r < 0;
    return std::min(r, 0);
}

// ---- Rings ----------------------------------------------------------------------------------------------------------

// 0, or an error, and nothing has changed.
std::int32_t sender::go_on_in(std::uint64_t capacity) {
    no_cancel here;
    if (std::int32_t r = audience_.go_on_in(rings_, capacity); r < 0) return r;
    growth_.grown(coarse_now_ns());
    ring_receivers();  // whoever sleeps could not know that the ring before is done with
    return 0;
}

// A message of more than half the first ring.
std::int32_t sender::make_large(std::size_t size, patience &p) {
    growth_.keep_large(coarse_now_ns());
    awaited_.retry_at_ns = 0;
    auto [least, best] = growth::for_message(size, rings_.sizes().most);
    while (size > rings_.now().most()) {
        refresh_tail();
        std::uint64_t capacity = rings_.too_many_with(best) ? least : best;
        std::int32_t r = go_on_in(capacity);
        if (r == 0) break;
        if (r != -EAGAIN) return r;
        if (rings_.too_many_with(capacity)) {  // the oldest has to go first
            if (r = wait(rings_.oldest_continued(), p, reason::ring); r < 0) return r;
            continue;
        }
        // Too much is on the way to receivers that have not looked. As with hellos, it is tried again.
        std::int64_t left = p.left();
        if (left == 0) {
            forget_awaited();
            awaited_.retry_at_ns = now_ns() + large_retry_ns;
            return p.none() ? -EAGAIN : -ETIMEDOUT;
        }
        r = look(sooner(left, large_retry_ns));
        if (events_.take_interrupt()) return -ECANCELED;
        if (r < 0) return r;
    }
    forget_awaited();
    return 0;
}

// Nanoseconds until the ring, which has no room, is to grow; -1 if it is not.
std::int64_t sender::until_growth() {
    const ring_sizes &sizes = rings_.sizes();
    if (rings_.now().capacity() >= sizes.most) return -1;
    if (rings_.too_many_with(larger())) {
        awaited_.set(reason::ring, rings_.oldest_continued());
        return -1;
    }
    return growth_.until(now_ns(), rings_.tail(), rings_.now().capacity() >= growth::large_factor * sizes.first);
}

// If there is no memory for more, the sender is held up, as with a ring of a fixed size.
bool sender::grow() {
    if (go_on_in(larger()) < 0) {
        growth_.failed(now_ns());
        return false;
    }
    forget_awaited();
    return true;
}

// True if a refused reserve is to be made again. Where that is only worth a try (it may grow the ring), what it waited
// for is forgotten, so that it is said once. If it is only worth it later, an alarm wakes the host then.
bool sender::take_due_retry() {
    std::int64_t left = -1;
    std::uint64_t room = awaited_.position(reason::room), ring = awaited_.position(reason::ring);
    if (awaited_.retry_at_ns != 0) {
        left = std::max<std::int64_t>(awaited_.retry_at_ns - now_ns(), 0);
    } else if (ring != 0 && free_up_to(ring)) {
        left = 0;
    } else if (room != 0) {
        if (free_up_to(room) || awaited_.in_another(rings_.now().base())) return true;
        left = until_growth();
    }
    if (left > 0) events_.alarm_within(left);
    if (left == 0) {
        awaited_.retry_at_ns = 0;
        awaited_.set(reason::room, 0);
        awaited_.set(reason::ring, 0);
    }
    return left == 0;
}

// At a look, and never while somebody fills a reservation: it stays where it is.
void sender::shrink_if_idle() {
    std::uint64_t first = rings_.sizes().first;
    if (rings_.now().capacity() <= first || writing_.reserved || writing_.end) return;
    refresh_tail();
    std::int64_t now = coarse_now_ns();
    bool needed = rings_.head() - rings_.tail() > first / 2;
    if (!needed && growth_.keeps_large(now)) return;
    if (needed || go_on_in(first) < 0) growth_.keep_large(now);
}

// ---- Calls that look or wait ----------------------------------------------------------------------------------------

std::int32_t sender::flush(std::int64_t timeout_ns) {
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    look(0);
    shrink_if_idle();
    // The end is no message, nor is a `continued`: a receiver need not have taken them.
    std::uint64_t until = rings_.before_continued(writing_.end.value_or(rings_.head()));
    if (free_up_to(until)) {
        forget_awaited();
        return 0;
    }
    patience patience(timeout_ns);
    std::int32_t r = wait(until, patience, reason::flush);
    if (r != -EAGAIN && r != -ETIMEDOUT) return r;
    return static_cast<std::int32_t>(std::min<std::uint64_t>(unreleased(), INT32_MAX));
}

std::int32_t sender::arm() {
    armed_ = false;
    set_awake();
    look(0);
    shrink_if_idle();
    bool due = take_due_retry();
    if (awaited_.links && audience_.all_linked()) {
        awaited_.links = false;
        due = true;
    }
    stay_findable();
    std::uint64_t position = awaited_.nearest();
    bool may_sleep = !due && (position == 0 || settle(position));
    // After the looks, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (events_.take_interrupt()) return -ECANCELED;
    if (!may_sleep) return 0;
    show();
    armed_ = true;
    return 1;
}

std::uint64_t sender::finish(std::int64_t linger_ns) {
    end();
    linger(events_, linger_ns, [&](std::int64_t left) { return flush(left); });
    return unreleased();
}

// ---- Telling --------------------------------------------------------------------------------------------------------

std::uint64_t sender::unreleased() {
    refresh_tail(true);
    return audience_.count_kept(rings_);
}

void sender::show() {
    std::uint64_t head = rings_.head();
    shown_links shown;
    audience_.show(shown, head);
    status_.show(
        {counters_.messages, counters_.bytes, head - rings_.tail(), rings_.now().capacity(), 0, 0, audience_.count()},
        shown);
}

std::int32_t sender::stats(ipc_sender_counters &out) {
    look(0);
    shrink_if_idle();
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.unreleased = unreleased();
    out.id = self_.id;
    out.capacity = rings_.now().capacity();
    out.used = rings_.head() - rings_.tail();
    out.largest = rings_.sizes().largest();
    audience_.fill(out);
    return 0;
}

std::int32_t sender::links(ipc_link *out, std::size_t count) {
    look(0);
    shrink_if_idle();
    refresh_tail(true);
    return static_cast<std::int32_t>(audience_.fill(out, count, rings_));
}

}  // namespace libipc
