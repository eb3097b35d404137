#include "sender.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "handle/core.hpp"
#include "litter.hpp"
#include "system/failure.hpp"

namespace libipc {

static_assert(sender_core<sender>);

namespace {

using of = event_tag::of;
using what = awaited::what;

constexpr std::int64_t folder_look_ns = 1'000'000'000;
constexpr std::int64_t large_retry_ns = 100'000'000;

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

// ---- Finding receivers ----------------------------------------------------------------------------------------------

// Before a sleep: who comes while it lasts must find us. Each look may take a link off or bring one, and a name that is
// made again has to be watched, and scanned for. More than a few times in a row means that something is in the way:
// then an alarm looks again.
void sender::stay_findable() {
    no_cancel here;
    for (int tries = 0; tries < 4; ++tries) {
        audience_.stay_findable(events_);
        if (!audience_.look_due()) return;
        look(0);
    }
    events_.alarm_within(folder_look_ns);
}

// ---- Looking --------------------------------------------------------------------------------------------------------

speaker sender::as_speaker() {
    std::optional<std::uint64_t> end;
    if (writing_.ended) end = writing_.end_position;
    return {events_, self_, space_bell_.get(), rings_, end, counters_.messages, awaited_.nearest()};
}

int sender::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    int r = events_.take(timeout_ns, [&](event_tag tag) {
        came = true;
        audience_.handle(tag, as_speaker());
    });
    audience_.drop_gone(as_speaker());
    if (audience_.look_due()) try {
            names all = audience_.begin_scan(as_speaker(), came);
            refresh_tail(true);
            audience_.scan(all, as_speaker());
        } catch (...) {
            audience_.look_again();
            throw;
        }
    show();
    // Stats or links between arm and the wait: what they took was to wake the host.
    if (armed_ && came) events_.stay_ready();
    return r;
}

// ---- Writing --------------------------------------------------------------------------------------------------------

std::int32_t sender::reserve_any(std::size_t size, void *&data, std::int64_t timeout_ns) {
    if (writing_.ended) return -EPIPE;
    if (writing_.reserved) return -EINVAL;
    bool large = size > rings_.sizes().first / 2;
    if (large && size > rings_.sizes().most / 2) return -EMSGSIZE;
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    bool due = events_.due();
    if (due) audience_.check_name_now_and_then(events_);
    // Without a link: whoever comes next may wait for this very message, and no other call need follow.
    if (due || links().empty()) look(0);
    // Each wait may bring a receiver that can't be linked yet.
    patience patience(timeout_ns);
    do {
        if (std::int32_t r = await_links(patience); r < 0) return r;
        if (large) {
            if (std::int32_t r = make_large(size, patience); r < 0) return r;
        } else if (due) {
            shrink_if_idle();
        }
        // It may have grown meanwhile, and is empty then.
        while (!rings_.now().fits(size)) {
            std::uint64_t needs = rings_.now().room_needs(size);
            if (free_up_to(needs)) break;
            if (std::int32_t r = wait(needs, patience, what::room, true); r < 0) return r;
        }
    } while (!audience_.all_linked());
    forget_awaited();
    if (growth_.stalled()) growth_.end_stall(now_ns());  // also where a look had found the room
    lend(size, data);
    return 0;
}

std::int32_t sender::send(const void *data, std::size_t size, std::uint64_t tag, std::int64_t timeout_ns) {
    void *room;
    if (std::int32_t r = reserve(size, room, timeout_ns); r < 0) return r;
    if (size != 0) std::memcpy(room, data, size);
    return commit(size, tag);
}

void sender::end() {
    if (writing_.ended) return;
    writing_ = {false, 0, true, rings_.head()};
    rings_.now().commit_last(layout::kind::end);  // its room is always kept back
    ring_receivers();
    look(0);  // whoever came since the last call may wait for it, and no other call need follow
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

void sender::give_leave() {
    awake_messages_ = 0;
    for (outgoing *link : links()) link->give_leave(self_.membarrier);
}

// ---- Room -----------------------------------------------------------------------------------------------------------

void sender::refresh_tail(bool thoroughly) {
    if (rings_.reclaim(audience_.kept_from(as_speaker(), thoroughly))) audience_.drop_before(rings_.oldest_base());
}

bool sender::free_up_to(std::uint64_t position) {
    if (rings_.tail() >= position) return true;
    refresh_tail();
    return rings_.tail() >= position;
}

// Arms the space bell in each link that keeps `position`. True if it is still kept: the caller may sleep.
bool sender::settle(std::uint64_t position) {
    stay_findable();
    bool barrier = false;
    awake_messages_ = 0;
    for (outgoing *link : links()) barrier |= link->take_back();
    if (barrier && !membarrier_global()) {
        self_.membarrier = false;
        events_.alarm_within(doubtful_sleep_ns);
    }
    for (outgoing *link : links())
        if (link->released() < position) link->sleep_until(position);
    full_fence();  // pairs with the receiver's, see waking.hpp
    return !free_up_to(position);
}

void sender::wake() {
    for (outgoing *link : links()) link->set_awake();
}

int sender::sleep(std::int64_t timeout_ns) {
    ++counters_.waits;
    show();
    return look(timeout_ns);
}

// Until every receiver has released all before `position`, or the stream has gone on in a larger ring. `what`: as which
// it is noted if it has to be waited for elsewhere.
std::int32_t sender::wait(std::uint64_t position, patience &p, what what, bool may_grow) {
    forget_awaited();
    awaited_.await(what, position, rings_.now().base());
    auto ready = [&]() -> std::int32_t {
        if (free_up_to(position)) {
            if (growth_.stalled() && may_grow) growth_.end_stall(now_ns());
            forget_awaited();
            return 1;
        }
        return may_grow && until_growth() == 0 && grow() ? 1 : 0;
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
        if (growth == 0) return 0;
        // With as many rings as may be, it grows when the oldest has gone.
        std::uint64_t ring = awaited_.position(what::ring);
        std::uint64_t until = may_grow && ring > rings_.tail() ? std::min(position, ring) : position;
        // To settle may be to look, and so to take the bell of an interrupt.
        if (!settle(until) || events_.interrupted()) return 0;
        int slept = sleep(sooner(left, growth));
        wake();
        return slept;
    });
    return std::min(r, 0);
}

// Until all receivers that were seen have a link: whoever goes on to wait elsewhere would never make it. Each wake-up
// is the alarm, by which it is tried again, or more of them.
std::int32_t sender::await_links(patience &p) {
    auto linked = [&] { return audience_.all_linked() ? 1 : 0; };
    if (linked()) return 0;
    awaited_.links = true;
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
            if (r = wait(rings_.oldest_continued(), p, what::ring); r < 0) return r;
            continue;
        }
        // Too much is on the way to receivers that have not looked. As with hellos, it is tried again.
        if (p.none()) {
            forget_awaited();
            awaited_.retry_at_ns = now_ns() + large_retry_ns;
            return -EAGAIN;
        }
        std::int64_t left = p.left();
        if (left == 0) return -ETIMEDOUT;
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
        awaited_.set(what::ring, rings_.oldest_continued());
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

// True if a reserve that was refused is to be made again, which is told once: it may grow the ring. The host is woken
// when that will be so.
bool sender::retry_due() {
    std::int64_t left = -1;
    std::uint64_t room = awaited_.position(what::room), ring = awaited_.position(what::ring);
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
        awaited_.set(what::room, 0);
        awaited_.set(what::ring, 0);
    }
    return left == 0;
}

// At a look, and never while somebody fills a reservation: it stays where it is.
void sender::shrink_if_idle() {
    std::uint64_t first = rings_.sizes().first;
    if (rings_.now().capacity() <= first || writing_.reserved || writing_.ended) return;
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
    std::uint64_t until = rings_.before_continued(writing_.ended ? writing_.end_position : rings_.head());
    if (free_up_to(until)) {
        forget_awaited();
        return 0;
    }
    patience patience(timeout_ns);
    std::int32_t r = wait(until, patience, what::flush);
    if (r != -EAGAIN && r != -ETIMEDOUT) return r;
    return static_cast<std::int32_t>(std::min<std::uint64_t>(unreleased(), INT32_MAX));
}

std::int32_t sender::arm() {
    armed_ = false;
    wake();
    look(0);
    shrink_if_idle();
    bool due = retry_due();
    if (awaited_.links && audience_.all_linked()) due = !(awaited_.links = false);
    stay_findable();
    std::uint64_t position = awaited_.nearest();
    bool nothing = !due && (position == 0 || settle(position));
    // After the looks, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (events_.take_interrupt()) return -ECANCELED;
    if (!nothing) return 0;
    show();
    armed_ = true;
    return 1;
}

std::uint64_t sender::finish(std::int64_t linger_ns) {
    end();
    events_.take_interrupt();  // one from before would cost messages
    patience patience(linger_ns);
    while (flush(patience.left()) == -EINTR) {
    }
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
    out.largest = rings_.sizes().most / 2;
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
