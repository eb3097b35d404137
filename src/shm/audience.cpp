#include "audience.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "packets.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

using of = event_tag::of;

// Receivers that were seen, and can't be linked yet.
constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 100'000'000;

// Whoever talks without end keeps nobody up: the rest is read at the next look.
constexpr int packets_a_look = 16;

}  // namespace

// ---- Finding receivers ----------------------------------------------------------------------------------------------

// Names first, then events, then drop_gone: a receiver that had gone before a newcomer opened has hung up by the time
// that the newcomer's name is read, so its place is vacant before the newcomer gets one.
names audience::begin_scan(const speaker &by, bool &came) {
    names all = name_.folder().names();
    scan_due_ = false;  // a knock that is heard now makes the next scan due
    by.events.take(0, [&](event_tag tag) {
        came = true;
        handle(tag, by.events);
    });
    drop_gone(by);
    // No name is used twice: those that are not there any more never come again.
    std::erase_if(declined_, [&](std::uint64_t id) { return !names_of(id, all, [](const std::string &) {}); });
    return all;
}

void audience::scan(const names &all, const speaker &by) {
    auto &seen = succession_.seen();
    seen.reserve(seen.size() + all.size());
    // The end is a frame like any other: each receiver gets it, also one that comes when all else is released.
    std::uint64_t start = by.end.value_or(by.stream.head());
    for (const std::string &name : all) {
        auto r = parse_receiver_name(name);
        if (!r || is_known(r->id)) continue;
        if (r->version == layout::version)
            succession_.see(r->id, start, links_);
        else if (!name_.folder().unlink_if_dead(name))
            decline(r->id);
    }
    for (std::size_t i = 0; i < seen.size();) {
        presence is = meet(seen[i], all, by);
        if (is == presence::there) {
            seen.erase(seen.begin() + static_cast<std::ptrdiff_t>(i));
            continue;
        }
        if (is == presence::foreign) decline(seen[i].id);
        if (is != presence::later) seen[i].gone = true;
        ++i;
    }
    succession_.give_up_gone(links_, by.stream.head());
    if (seen.empty())
        meeting_.succeeded();
    else
        by.events.alarm_within(meeting_.next(first_retry_ns, last_retry_ns));
}

bool audience::is_known(std::uint64_t id) const {
    return std::ranges::find(declined_, id) != declined_.end() ||
           std::ranges::any_of(links_, [&](outgoing *l) { return l->receiver == id; }) || succession_.has_seen(id);
}

void audience::decline(std::uint64_t id) {
    ++refused_;
    declined_.push_back(id);
}

// Makes a link with a receiver, if that can be: `there` means linked here (in approach() it means connected).
presence audience::meet(seen_receiver &r, const names &all, const speaker &by) try {
    whereabouts found = approach(r, name_.folder(), name_.knocks(), all);
    if (found.is == presence::there) r.lack = say_hello(r, std::move(found.pid), !found.kernel_tells && by.own.pid, by);
    if (found.is == presence::there && r.lack == 0) return presence::there;
    if (found.is == presence::gone || found.is == presence::foreign) return found.is;
    say_waiting(r, by.own.id);
    return presence::later;
} catch (const std::bad_alloc &) {
    r.lack = -ENOMEM;
    return presence::later;
}

// Hands the rings over in one message, without waiting to be accepted. 0: there is a link; or -errno. Throws bad_alloc.
int audience::say_hello(seen_receiver &r, fd pid, bool with_pid, const speaker &by) {
    const place &where = succession_.place_of(r);
    layout::hello hello = hello_for(where, by);
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
    link->index = links_.find_slot();
    hello.redelivered_until = std::max(hello.start, link->redelivered_until());
    hello.with_pid = with_pid;

    std::array<int, most_fds> fds{};
    fds[layout::link_fd] = link->memory_file();
    fds[layout::space_bell_fd] = by.space_bell;
    std::size_t next = layout::first_ring_fd;
    by.stream.each([&](const layout::ring_place &, int file) { fds[next++] = file; });
    fds[next] = by.own.pid.get();

    int socket = r.socket.get();
    std::uint32_t generation = links_.generation(link->index);
    // Watched before the hello goes out: a receiver that has it has a sender.
    int error = by.events.try_add(socket, {of::peer_socket, link->index, generation});
    if (error == 0 && link->pid) error = by.events.try_add(link->pid.get(), {of::peer_pid, link->index, generation});
    if (error == 0)
        error = send_with_fds(socket, std::as_bytes(std::span(&hello, 1)),
                              std::span(fds).first(layout::hello_fds(hello.rings, with_pid)));
    if (error < 0) {
        by.events.remove(socket);
        by.events.remove(link->pid.get());
        return error;
    }
    link->socket = std::move(r.socket);
    link->close_file();
    outgoing &linked = links_.add(std::move(link));
    if (r.successor) succession_.clear_vacancy(by.stream.head());  // taken: the link holds positions and bits now
    if (std::uint64_t position = by.awaited) linked.sleep_until(position);
    return 0;
}

// What is the same whoever it goes to, and where one starts that takes this place.
layout::hello audience::hello_for(const place &where, const speaker &by) {
    layout::hello hello{};
    hello.head = {layout::hello_magic, layout::version, sizeof hello};
    hello.sender = by.own.id;
    hello.start = std::max(where.released, by.stream.tail());
    if (by.end) hello.start = std::min(hello.start, *by.end);
    hello.start_sequence = by.sequence_at(hello.start);
    hello.oldest = std::min(by.stream.tail(), hello.start);
    hello.oldest_sequence = by.sequence_at(hello.oldest);
    hello.committed = by.stream.head();
    hello.membarrier = by.own.membarrier;
    hello.pid = getpid();
    by.stream.each([&](const layout::ring_place &ring, int) { hello.ring[hello.rings++] = ring; });
    return hello;
}

// ---- What receivers say ---------------------------------------------------------------------------------------------

void audience::read_socket(outgoing &link, events &e) {
    for (int times = 0, resets = 0; times < packets_a_look; ++times) {
        std::array<fd, most_fds> fds;
        union {
            layout::answer answer;
            layout::notice notice;
        } said{};
        received got = receive_with_fds(link.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -EAGAIN || got.size == -EINTR) return;
        if (got.size == -ECONNRESET && ++resets < most_resets) continue;
        if (got.size <= 0) return lose(link);
        bool good = is_answer(said.answer, got)   ? hear(link, said.answer, std::span(fds).first(got.count), e)
                    : is_notice(said.notice, got) ? hear(link, said.notice, e)
                                                  : false;
        if (!good) return refuse(link);
    }
}

// False if the link is to be refused: this is a second answer, or a refusal.
bool audience::hear(outgoing &link, const layout::answer &answer, std::span<fd> fds, events &e) {
    if (link.at != outgoing::stage::connecting || answer.refused) return false;
    link.at = outgoing::stage::up;
    if (!fds.empty() && is_doorbell(fds[0].get())) link.data_bell = std::move(fds[0]);
    link.receiver_membarrier = answer.membarrier != 0;
    if (!link.pid && fds.size() > 1 && is_anon_inode(fds[1].get(), "anon_inode:[pidfd]") &&
        e.try_add(fds[1].get(), {of::peer_pid, link.index, links_.generation(link.index)}) == 0)
        link.pid = std::move(fds[1]);
    return true;
}

bool audience::hear(outgoing &link, const layout::notice &notice, events &e) {
    switch (notice.what) {
        case layout::notice_kind::moved:
            scan_due_ = true;
            name_.check(e);
            return true;
        case layout::notice_kind::leaving:
            if (std::exchange(link.at, outgoing::stage::left) != outgoing::stage::left) gone_due_ = true;
            return true;
        default:
            return false;
    }
}

void audience::lose(outgoing &link) {
    link.lose();
    gone_due_ = true;
}

// Lets the link go, and counts it once: the receiver has refused us, or says or writes what no receiver does.
void audience::refuse(outgoing &link) {
    if (std::exchange(link.end, outgoing::ending::refused) != outgoing::ending::refused) ++refused_;
    gone_due_ = true;
}

// ---- Their going ----------------------------------------------------------------------------------------------------

// Takes off the links that are gone. If no receiver is left, the place of the last one becomes vacant.
void audience::drop_gone(const speaker &by) {
    if (!gone_due_) return;
    no_cancel here;
    names all = name_.folder().names();
    auto &seen = succession_.seen();
    declined_.reserve(declined_.size() + all.size());
    seen.reserve(seen.size() + links_.size());  // from here on nothing asks for memory
    for (outgoing *link : links_) {
        if (!link->gone()) continue;
        if (!link->refresh(by.stream.head())) refuse(*link);
        succession_.note_served(by.end && link->released() > *by.end);
        if (is_to_be_met_again(*link, all, by.stream)) {
            succession_.see_again(*link);
            by.events.alarm_within(last_retry_ns);
        }
    }
    for (seen_receiver &r : seen) r.gone = is_dead(r, name_.folder(), all);
    choose_vacancy(succession_.give_up_gone(links_, by.stream.head()), by.stream);
    take_off_gone(all, by.events);
    gone_due_ = false;  // not before: if there was no memory for the names, the rest is due
}

// It hung up without an answer, and lives: it may have had no room for us yet.
bool audience::is_to_be_met_again(const outgoing &link, const names &all, const rings &stream) const {
    if (link.at != outgoing::stage::connecting || link.end != outgoing::ending::gone ||
        (link.pid && has_ended(link.pid.get())))
        return false;
    return listens(link.receiver, name_.folder(), all) &&
           stream.starts_frame(std::max(link.where().released, stream.tail()));
}

// Considers each link that has left or is gone, once. If nobody else is there, the place of the one furthest behind
// becomes the vacant one. `vacated`: that of a seen receiver has just become vacant; it stays, if it is further behind.
// A link whose `released` is no frame's start is refused, and its place not handed on.
void audience::choose_vacancy(bool vacated, const rings &stream) {
    bool others = links_.has_receiver() || !succession_.seen().empty();
    outgoing *hindmost = nullptr;
    std::uint64_t head = stream.head(), seen_until = 0;  // by any of them
    for (outgoing *link : links_) {
        if (!link->gone() && !link->left()) continue;
        if (!link->refresh(head)) refuse(*link);
        bool lied = !stream.starts_frame(std::max(link->where().released, stream.tail()));
        if (lied) {
            // Nobody knows what it had released: its successor starts with what comes next.
            refuse(*link);
            if (succession_.is_vacated_by(*link) || !others) succession_.vacate({head, head}, {}, head);
        }
        if (std::exchange(link->accounted_for, true) || lied) continue;
        if (!hindmost || link->where().released < hindmost->where().released) hindmost = link;
        if (place at = link->where(); at.released < at.delivered) seen_until = std::max(seen_until, at.delivered);
    }
    if (hindmost && !others && !(vacated && succession_.vacancy().released < hindmost->where().released)) {
        hindmost->mark_until(seen_until);
        succession_.vacate(*hindmost);
    }
    if (succession_.served() && !others) succession_.clear_vacancy(head);
    succession_.refresh();
}

void audience::take_off_gone(const names &all, events &e) {
    links_.take_off_gone([&](outgoing &link) {
        succession_.keep_place_of(link);
        // One that is known to be dead, or lives and wants no more of us.
        names_of(link.receiver, all, [&](const std::string &name) {
            if (!name_.folder().unlink_if_dead(name) && link.end != outgoing::ending::met_again)
                declined_.push_back(link.receiver);
        });
        e.remove(link.socket.get());
        if (link.pid) e.remove(link.pid.get());
        shutdown(link.socket.get(), SHUT_RDWR);
    });
}

// ---- Events ---------------------------------------------------------------------------------------------------------

void audience::handle(event_tag tag, events &e) {
    switch (tag.kind) {
        case of::knock:
            name_.hear_knocks();
            scan_due_ = true;
            return;
        case of::timer:
            e.drain_alarm();
            scan_due_ = true;
            if (!name_.watched()) name_.check(e);
            return;
        case of::folder:
            scan_due_ = true;
            return name_.hear_watch(e);
        case of::peer_socket:
            if (outgoing *link = links_.find(tag)) read_socket(*link, e);
            return;
        case of::peer_pid:
            if (outgoing *link = links_.find(tag)) lose(*link);
            return;
        default:
            return;  // an interrupt says all by its flag, the space bell by the receivers' words
    }
}

// ---- What is kept ---------------------------------------------------------------------------------------------------

namespace {

// A receiver's place, which may be at a `continued` that the tail has passed.
std::uint64_t released_by(const outgoing &link, const rings &stream) {
    return std::max(link.released(), stream.tail());
}

}  // namespace

std::uint64_t audience::refresh_gate(const speaker &by, bool thoroughly) {
    std::uint64_t head = by.stream.head(), least = head;
    for (outgoing *link : links_) {
        if (link->gone()) continue;
        if (!link->refresh(head) || (thoroughly && !by.stream.starts_frame(released_by(*link, by.stream)))) {
            refuse(*link);
            continue;
        }
        least = std::min(least, released_by(*link, by.stream));
    }
    if (gone_due_) {
        drop_gone(by);
        return refresh_gate(by, thoroughly);
    }
    succession_.refresh();
    return succession_.gate(links_, by.stream.tail(), least);
}

std::uint64_t audience::count_kept(const rings &stream) const {
    bool vacant = succession_.is_vacant(links_);
    std::uint64_t n = 0;
    stream.each_frame(stream.tail(), [&](std::uint64_t position, layout::kind kind) {
        if (kind != layout::kind::message) return;
        n += succession_.needs(position, vacant) ||
             std::ranges::any_of(links_, [&](outgoing *l) { return l->needs(position); });
    });
    return n;
}

std::int32_t audience::go_on_in(rings &stream, std::uint64_t capacity) const {
    if (stream.too_many_with(capacity)) return -EAGAIN;
    layout::ring_place next{stream.next_base(), capacity};
    // One that is closed reads no more, and one that is gone will not miss it.
    auto each = [&](auto f) {
        for (outgoing *link : links_)
            if (link->stays()) f(*link);
    };
    bool full = false;
    each([&](outgoing &link) { full |= link.full(); });
    if (full) return -EAGAIN;
    std::int32_t error = 0;
    try {
        shared_memory memory = make_ring(capacity);
        each([&](outgoing &link) { link.prepare(next); });
        each([&](outgoing &link) {
            int r = error == 0 ? link.announce(stream.now().base(), next, memory.file.get()) : 0;
            if (r < 0 && r != -EPIPE && r != -ECONNRESET) error = -EAGAIN;
        });
        if (error == 0) stream.go_on_in(std::move(memory), capacity);
    } catch (const failure &f) {
        error = f.code;
    } catch (const std::bad_alloc &) {
        error = -ENOMEM;
    }
    if (error != 0) each([&](outgoing &link) { link.withdraw(next); });
    return error;
}

void audience::leave() {
    name_.remove();
    // A forked child may hold copies of the sockets: only shutdown tells the receivers in any case.
    for (outgoing *link : links_) shutdown(link->socket.get(), SHUT_RDWR);
    for (seen_receiver &r : succession_.seen())
        if (r.socket) shutdown(r.socket.get(), SHUT_RDWR);
}

void audience::forget() {
    for (outgoing *link : links_) link->forget();
    succession_.forget();
}

// ---- Telling --------------------------------------------------------------------------------------------------------

void audience::show(shown_links &shown, std::uint64_t head) const {
    for (std::size_t i = 0; i < links_.size() && !shown.full(); ++i) shown.add(links_[i].shown(head));
    const auto &seen = succession_.seen();
    for (std::size_t i = 0; i < seen.size() && !shown.full(); ++i) {
        layout::status_link link = unlinked(seen[i].id, seen[i].process, seen[i].lack);
        link.committed = head;
        link.delivered = link.released = succession_.place_of(seen[i]).released;
        shown.add(link);
    }
}

std::size_t audience::fill(ipc_link *out, std::size_t room, const rings &stream) const {
    std::size_t n = 0;
    auto add = [&](auto f) {
        if (n < room) {
            f(out[n]);
            out[n].struct_size = out[0].struct_size;
            out[n].behind = stream.messages_from(std::max(out[n].delivered, stream.tail()));
        }
        ++n;
    };
    for (outgoing *link : links_) add([&](ipc_link &to) { link->fill(to, stream.head()); });
    for (const seen_receiver &r : succession_.seen())
        add([&](ipc_link &to) {
            show_unlinked(to, r.id, r.process, r.lack);
            to.committed = stream.head();
            to.delivered = to.released = std::max(succession_.place_of(r).released, stream.tail());
        });
    return n;
}

void audience::fill(ipc_sender_counters &out) const {
    out.links = links_.size();
    out.unlinked = succession_.seen().size();
    out.refused = refused_;
}

}  // namespace libipc
