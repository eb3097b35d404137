#include "sender.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

// Receivers that were seen, and can't be linked yet.
constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 100'000'000;

constexpr std::int64_t folder_look_ns = 1'000'000'000;
constexpr std::int64_t large_retry_ns = 100'000'000;

// Whoever talks without end keeps nobody up: the rest is read at the next look.
constexpr int packets_a_look = 16;

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
    name_ = sender_name(self_.runtime, self_.where.name, self_.id, events_);
    try {
        for (const std::string &name : name_.folder().names())
            if (auto r = parse_receiver_name(name);
                r && r->version != layout::version && !name_.folder().unlink_if_dead(name))
                fail(IPC_EVERSION,
                     "a receiver on {} has memory layout {}, this sender has {}: build both with the same "
                     "version of libipc",
                     self_.where.url, r->version, layout::version);
        due_.scan = true;
        look(0);
    } catch (...) {
        name_.remove();
        throw;
    }
}

sender::sender(handoff::reader &state) {
    handoff::adopt(*this, state, [&] { links_.rebuild(); });
}

sender::~sender() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        for (outgoing *link : links_) link->forget();
        succession_.forget();
        rings_.forget();
        status_.forget();
        return;
    }
    name_.remove();
    // A forked child may hold copies of the sockets: only shutdown tells the receivers in any case.
    for (outgoing *link : links_) shutdown(link->socket.get(), SHUT_RDWR);
    for (seen_receiver &r : succession_.seen())
        if (r.socket) shutdown(r.socket.get(), SHUT_RDWR);
}

// ---- Finding receivers ----------------------------------------------------------------------------------------------

// Before a sleep: who comes while it lasts must find us. Each look may take a link off or bring one, and a name that is
// made again has to be watched, and scanned for. More than a few times in a row means that something is in the way:
// then an alarm looks again.
void sender::stay_findable() {
    no_cancel here;
    for (int tries = 0; tries < 4; ++tries) {
        due_.scan |= name_.watch(events_, !links_.empty());
        if (!due_.scan) return;
        look(0);
    }
    events_.alarm_within(folder_look_ns);
}

void sender::scan(const names &all) {
    // No name is used twice: those that are not there any more never come again.
    std::erase_if(declined_, [&](std::uint64_t id) { return !names_of(id, all, [](const std::string &) {}); });
    refresh_tail(true);
    auto &seen = succession_.seen();
    seen.reserve(seen.size() + all.size());
    // The end is a frame like any other: each receiver gets it, also one that comes when all else is released.
    std::uint64_t start = writing_.ended ? writing_.end_position : rings_.head();
    for (const std::string &name : all) {
        auto r = parse_receiver_name(name);
        if (!r || is_known(r->id)) continue;
        if (r->version == layout::version)
            succession_.see(r->id, start, links_);
        else if (!name_.folder().unlink_if_dead(name))
            decline(r->id);
    }
    for (std::size_t i = 0; i < seen.size();) {
        presence is = meet(seen[i], all);
        if (is == presence::there) {
            seen.erase(seen.begin() + static_cast<std::ptrdiff_t>(i));
            continue;
        }
        if (is == presence::foreign) decline(seen[i].id);
        seen[i++].gone |= is != presence::later;
    }
    succession_.give_up_gone(links_, rings_.head());
    if (seen.empty()) due_.meeting.succeeded();
}

bool sender::is_known(std::uint64_t id) const {
    return std::ranges::find(declined_, id) != declined_.end() ||
           std::ranges::any_of(links_, [&](outgoing *l) { return l->receiver == id; }) || succession_.has_seen(id);
}

void sender::decline(std::uint64_t id) {
    ++counters_.refused;
    declined_.push_back(id);
}

// Makes a link with a receiver, if that can be.
presence sender::meet(seen_receiver &r, const names &all) try {
    whereabouts found = approach(r, name_.folder(), name_.knocks(), all);
    if (found.is == presence::there) r.lack = greet(r, std::move(found.pid), !found.told && self_.pid);
    if (found.is == presence::there && r.lack == 0) return presence::there;
    if (found.is == presence::gone || found.is == presence::foreign) return found.is;
    say_waiting(r, self_.id);
    return presence::later;
} catch (const std::bad_alloc &) {
    r.lack = -ENOMEM;
    return presence::later;
}

// Hands the rings over in one message, without waiting to be accepted. 0: there is a link; or -errno. Throws bad_alloc.
int sender::greet(seen_receiver &r, libipc::fd pid, bool with_pid) {
    const place &where = succession_.place_of(r);
    layout::hello hello = hello_for(where);
    std::unique_ptr<outgoing> link;
    try {
        link = std::make_unique<outgoing>(std::span(hello.ring, hello.rings), hello.oldest, hello.start);
    } catch (const failure &f) {
        return f.code;
    }
    link->succeed(where, succession_.early_of(r));
    link->pid = std::move(pid);
    link->process = r.process;
    link->receiver = r.id;
    link->index = links_.find_place();
    hello.redelivered_until = std::max(hello.start, link->redelivered_until());
    hello.with_pid = with_pid;

    std::array<int, most_fds> fds{};
    fds[layout::link_fd] = link->memory_file();
    fds[layout::space_bell_fd] = space_bell_.get();
    std::size_t next = layout::first_ring_fd;
    rings_.each([&](const layout::ring_place &, int file) { fds[next++] = file; });
    fds[next] = self_.pid.get();

    int socket = r.socket.get();
    std::uint32_t generation = links_.generation(link->index);
    // Watched before the hello goes out: a receiver that has it has a sender.
    int error = events_.try_add(socket, {of::peer_socket, link->index, generation});
    if (error == 0 && link->pid) error = events_.try_add(link->pid.get(), {of::peer_pid, link->index, generation});
    if (error == 0)
        error = send_with_fds(socket, std::as_bytes(std::span(&hello, 1)),
                              std::span(fds).first(layout::hello_fds(hello.rings, with_pid)));
    if (error < 0) {
        events_.remove(socket);
        events_.remove(link->pid.get());
        return error;
    }
    link->socket = std::move(r.socket);
    link->close_file();
    outgoing &linked = links_.add(std::move(link));
    if (r.successor) succession_.vacate({}, {}, rings_.head());  // its link is the place now, bits and all
    if (std::uint64_t position = awaited_.nearest()) linked.sleep_until(position);
    return 0;
}

// What is the same whoever it goes to, and where one starts that takes this place.
layout::hello sender::hello_for(const place &where) const {
    layout::hello hello{};
    hello.head = {layout::hello_magic, layout::version, sizeof hello};
    hello.sender = self_.id;
    hello.start = std::max(where.released, rings_.tail());
    if (writing_.ended) hello.start = std::min(hello.start, writing_.end_position);
    hello.start_sequence = counters_.messages + 1 - messages_from(hello.start);
    hello.oldest = std::min(rings_.tail(), hello.start);
    hello.oldest_sequence = counters_.messages + 1 - messages_from(hello.oldest);
    hello.committed = rings_.head();
    hello.membarrier = self_.membarrier;
    hello.pid = getpid();
    rings_.each([&](const layout::ring_place &ring, int) { hello.ring[hello.rings++] = ring; });
    return hello;
}

// ---- What receivers say ---------------------------------------------------------------------------------------------

void sender::read_socket(outgoing &link) {
    for (int times = 0, resets = 0; times < packets_a_look; ++times) {
        std::array<libipc::fd, most_fds> fds;
        union {
            layout::preamble head;
            layout::answer answer;
            layout::notice notice;
        } said{};
        received got = receive_with_fds(link.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -EAGAIN || got.size == -EINTR) return;
        if (got.size == -ECONNRESET && ++resets < most_resets) continue;
        if (got.size <= 0) {
            link.gone = due_.gone = true;
            return;
        }
        auto is = [&](std::uint64_t magic, std::size_t size) {
            return static_cast<std::size_t>(got.size) == size && said.head.magic == magic &&
                   said.head.version == layout::version && said.head.size == size;
        };
        bool good = is(layout::answer_magic, sizeof said.answer)
                        ? hear(link, said.answer, std::span(fds).first(got.count))
                    : is(layout::notice_magic, sizeof said.notice) ? hear(link, said.notice)
                                                                   : false;
        if (!good) return refuse(link);
    }
}

// False if that is none, or a refusal.
bool sender::hear(outgoing &link, const layout::answer &answer, std::span<libipc::fd> fds) {
    if (std::exchange(link.answered, true) || answer.refused) return false;
    if (!fds.empty() && is_doorbell(fds[0].get())) link.data_bell = std::move(fds[0]);
    link.receiver_membarrier = answer.membarrier != 0;
    if (!link.pid && fds.size() > 1 && is_anon_inode(fds[1].get(), "anon_inode:[pidfd]") &&
        events_.try_add(fds[1].get(), {of::peer_pid, link.index, links_.generation(link.index)}) == 0)
        link.pid = std::move(fds[1]);
    return true;
}

bool sender::hear(outgoing &link, const layout::notice &notice) {
    switch (notice.what) {
        case layout::notice_kind::moved:
            due_.scan = true;
            name_.check(events_);
            return true;
        case layout::notice_kind::leaving:
            if (!std::exchange(link.left, true)) due_.gone = true;
            return true;
        default:
            return false;
    }
}

// It refuses us, or what it says or writes is nothing that a receiver does. Counted once.
void sender::refuse(outgoing &link) {
    if (!std::exchange(link.refused, true)) ++counters_.refused;
    link.gone = due_.gone = true;
}

// ---- Their going ----------------------------------------------------------------------------------------------------

// Takes off the links that are gone. If no receiver is left, the place of the last one becomes vacant.
void sender::drop_gone() {
    if (!due_.gone) return;
    no_cancel here;
    names all = name_.folder().names();
    auto &seen = succession_.seen();
    declined_.reserve(declined_.size() + all.size());
    seen.reserve(seen.size() + links_.size());  // from here on nothing asks for memory
    for (outgoing *link : links_) {
        if (!link->gone) continue;
        if (!link->refresh(rings_.head())) refuse(*link);
        succession_.note_served(writing_.ended && link->released() > writing_.end_position);
        if (is_to_be_met_again(*link, all)) {
            succession_.see_again(*link);
            events_.alarm_within(last_retry_ns);
        }
    }
    for (seen_receiver &r : seen) r.gone = is_dead(r, name_.folder(), all);
    vacate_left(succession_.give_up_gone(links_, rings_.head()));
    take_off_gone(all);
    due_.gone = false;  // not before: if there was no memory for the names, the rest is due
}

// It hung up without an answer, and lives: it may have had no room for us yet.
bool sender::is_to_be_met_again(const outgoing &link, const names &all) const {
    if (link.answered || link.refused || link.handed_over || (link.pid && has_ended(link.pid.get()))) return false;
    return listens(link.receiver, name_.folder(), all) &&
           rings_.starts_frame(std::max(link.where().released, rings_.tail()));
}

// Of links that have closed or are gone, and had no account taken of that yet, the place of the one furthest behind is
// the vacant one, if nobody else is there. `vacated`: one is vacant since this look, of a receiver that had no link.
void sender::vacate_left(bool vacated) {
    bool others = links_.has_receiver() || !succession_.seen().empty();
    outgoing *last = nullptr;
    std::uint64_t head = rings_.head(), seen_until = 0;  // by any of them
    for (outgoing *link : links_) {
        if (!link->gone && !link->left) continue;
        if (!link->refresh(head)) refuse(*link);
        bool made_up = !rings_.starts_frame(std::max(link->where().released, rings_.tail()));
        if (made_up) {
            // Nobody knows what it had released: its successor starts with what comes next.
            refuse(*link);
            if (succession_.is_vacated_by(*link) || !others) succession_.vacate({head, head}, {}, head);
        }
        if (std::exchange(link->handed_over, true) || made_up) continue;
        if (!last || link->where().released < last->where().released) last = link;
        if (place at = link->where(); at.released < at.delivered) seen_until = std::max(seen_until, at.delivered);
    }
    if (last && !others && !(vacated && succession_.vacancy().released < last->where().released)) {
        last->mark_until(seen_until);
        succession_.vacate(*last);
    }
    if (succession_.served() && !others) succession_.vacate({}, {}, head);
    succession_.refresh();
}

void sender::take_off_gone(const names &all) {
    links_.take_off_gone([&](outgoing &link) {
        succession_.keep_place_of(link);
        // One that is known to be dead, or lives and wants no more of us.
        names_of(link.receiver, all, [&](const std::string &name) {
            if (!name_.folder().unlink_if_dead(name) && !link.met_again) declined_.push_back(link.receiver);
        });
        events_.remove(link.socket.get());
        if (link.pid) events_.remove(link.pid.get());
        shutdown(link.socket.get(), SHUT_RDWR);
    });
}

// ---- Looking --------------------------------------------------------------------------------------------------------

void sender::handle(event_tag tag) {
    switch (tag.kind) {
        case of::knock:
            name_.hear_knocks();
            due_.scan = true;
            return;
        case of::timer:
            events_.drain_alarm();
            due_.scan = true;
            if (!name_.watched()) name_.check(events_);
            return;
        case of::folder:
            due_.scan = true;
            return name_.hear_watch(events_);
        case of::peer_socket:
            if (outgoing *link = links_.find(tag)) read_socket(*link);
            return;
        case of::peer_pid:
            if (outgoing *link = links_.find(tag)) link->gone = due_.gone = true;
            return;
        default:
            return;  // an interrupt says all by its flag, the space bell by the receivers' words
    }
}

int sender::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    int r = events_.take(timeout_ns, [&](event_tag tag) {
        came = true;
        handle(tag);
    });
    drop_gone();
    came |= scan_if_due();
    show();
    // Stats or links between arm and the wait: what they took was to wake the host.
    if (armed_ && came) events_.stay_ready();
    return r;
}

// True if an event came meanwhile.
bool sender::scan_if_due() {
    if (!due_.scan) return false;
    // All that went are taken off before a newcomer is placed: whoever had gone when it opened has done so by the time
    // that its name is read, and is heard of now.
    names all = name_.folder().names();
    due_.scan = false;  // a knock that is heard now makes the next scan due
    bool came = false;
    try {
        events_.take(0, [&](event_tag tag) {
            came = true;
            handle(tag);
        });
        drop_gone();
        scan(all);
    } catch (...) {
        due_.scan = true;
        throw;
    }
    if (!succession_.seen().empty()) events_.alarm_within(due_.meeting.next(first_retry_ns, last_retry_ns));
    return came;
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
    if (due) due_.scan |= name_.check_now_and_then(events_);
    // Without a link: whoever comes next may wait for this very message, and no other call need follow.
    if (due || links_.empty()) look(0);
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
    } while (!succession_.seen().empty());
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
    for (outgoing *link : links_)
        if (waker_must_ring(link->words().asleep)) ring(*link);
}

void sender::give_leave() {
    awake_messages_ = 0;
    for (outgoing *link : links_) link->give_leave(self_.membarrier);
}

// ---- Room -----------------------------------------------------------------------------------------------------------

// Thoroughly: whoever wrote a position where no frame starts is found out, too.
void sender::refresh_tail(bool thoroughly) {
    std::uint64_t head = rings_.head(), least = head;
    for (outgoing *link : links_) {
        if (link->gone) continue;
        if (!link->refresh(head) || (thoroughly && !rings_.starts_frame(released_by(*link)))) {
            refuse(*link);
            continue;
        }
        least = std::min(least, released_by(*link));
    }
    if (due_.gone) {
        drop_gone();
        return refresh_tail(thoroughly);
    }
    succession_.refresh();
    if (rings_.reclaim(succession_.gate(links_, rings_.tail(), least))) succession_.drop_before(rings_.oldest_base());
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
    for (outgoing *link : links_) barrier |= link->take_back();
    if (barrier && !membarrier_global()) {
        self_.membarrier = false;
        events_.alarm_within(doubtful_sleep_ns);
    }
    for (outgoing *link : links_)
        if (link->released() < position) link->sleep_until(position);
    full_fence();  // pairs with the receiver's, see waking.hpp
    return !free_up_to(position);
}

void sender::wake() {
    for (outgoing *link : links_) link->set_awake();
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
    auto linked = [&] { return succession_.seen().empty() ? 1 : 0; };
    if (linked()) return 0;
    awaited_.links = true;
    if (p.none()) return -EAGAIN;
    std::int32_t r = wait_until(events_, p, linked, [&](std::int64_t left) { return sleep(left); });
    awaited_.links = r < 0;
    return std::min(r, 0);
}

// ---- Rings ----------------------------------------------------------------------------------------------------------

// The stream goes on in another ring, of which each receiver is told before. 0, or an error, and nothing has changed.
std::int32_t sender::go_on_in(std::uint64_t capacity) {
    no_cancel here;
    if (rings_.too_many_with(capacity)) return -EAGAIN;
    layout::ring_place next{rings_.next_base(), capacity};
    // One that is closed reads no more, and one that is gone will not miss it.
    auto each = [&](auto f) {
        for (outgoing *link : links_)
            if (!link->left && !link->gone) f(*link);
    };
    bool full = false;
    each([&](outgoing &link) { full |= link.full(); });
    if (full) return -EAGAIN;
    std::int32_t error = 0;
    try {
        shared_memory memory = make_ring(capacity);
        each([&](outgoing &link) { link.prepare(next); });
        each([&](outgoing &link) {
            int r = error == 0 ? link.announce(rings_.now().base(), next, memory.file.get()) : 0;
            if (r < 0 && r != -EPIPE && r != -ECONNRESET) error = -EAGAIN;
        });
        if (error == 0) rings_.go_on_in(std::move(memory), capacity);
    } catch (const failure &f) {
        error = f.code;
    } catch (const std::bad_alloc &) {
        error = -ENOMEM;
    }
    if (error != 0) {
        each([&](outgoing &link) { link.withdraw(next); });
        return error;
    }
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
    if (awaited_.links && succession_.seen().empty()) due = !(awaited_.links = false);
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

std::uint64_t sender::messages_from(std::uint64_t position) const {
    std::uint64_t n = 0;
    rings_.each_frame(position, [&](std::uint64_t, layout::kind kind) { n += kind == layout::kind::message; });
    return n;
}

std::uint64_t sender::unreleased() {
    refresh_tail(true);
    bool vacant = succession_.is_vacant(links_);
    std::uint64_t n = 0;
    rings_.each_frame(rings_.tail(), [&](std::uint64_t position, layout::kind kind) {
        if (kind != layout::kind::message) return;
        n += succession_.needs(position, vacant) ||
             std::ranges::any_of(links_, [&](outgoing *l) { return l->needs(position); });
    });
    return n;
}

void sender::show() {
    std::uint64_t head = rings_.head();
    const auto &seen = succession_.seen();
    shown_links shown;
    for (std::size_t i = 0; i < links_.size() && !shown.full(); ++i) shown.add(links_[i].shown(head));
    for (std::size_t i = 0; i < seen.size() && !shown.full(); ++i) {
        const seen_receiver &r = seen[i];
        std::uint64_t at = succession_.place_of(r).released;
        layout::status_link link = unlinked(r.id, r.process, r.lack);
        link.committed = head;
        link.delivered = link.released = at;
        shown.add(link);
    }
    status_.show({counters_.messages, counters_.bytes, head - rings_.tail(), rings_.now().capacity(), 0, 0,
                  links_.size() + seen.size()},
                 shown);
}

std::int32_t sender::stats(ipc_sender_counters &out) {
    look(0);
    shrink_if_idle();
    refresh_tail(true);
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.id = self_.id;
    out.capacity = rings_.now().capacity();
    out.used = rings_.head() - rings_.tail();
    out.unreleased = unreleased();
    out.links = links_.size();
    out.unlinked = succession_.seen().size();
    out.largest = rings_.sizes().most / 2;
    return 0;
}

std::int32_t sender::links(ipc_link *out, std::size_t count) {
    look(0);
    shrink_if_idle();
    refresh_tail(true);
    for (std::size_t i = 0; i < links_.size() && i < count; ++i) {
        out[i].struct_size = out[0].struct_size;
        links_[i].fill(out[i], rings_.head());
        out[i].behind = messages_from(std::max(out[i].delivered, rings_.tail()));
    }
    std::size_t n = links_.size();
    for (const seen_receiver &r : succession_.seen()) {
        if (n < count) {
            std::uint64_t at = std::max(succession_.place_of(r).released, rings_.tail());
            show_unlinked(out[n], r.id, r.process, r.lack);
            out[n].struct_size = out[0].struct_size;
            out[n].committed = rings_.head();
            out[n].delivered = out[n].released = at;
            out[n].behind = messages_from(at);
        }
        ++n;
    }
    return static_cast<std::int32_t>(n);
}

}  // namespace libipc
