#include "reception.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <vector>

#include "greeting.hpp"
#include "litter.hpp"
#include "packets.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

using of = event_tag::of;
using stage = peer::stage;

constexpr std::int64_t fd_retry_ns = 100'000'000;
constexpr std::int64_t folder_retry_ns = 1'000'000;

// A sender connects and says its hello at once. Of those that have not, so many are kept: one that is dropped though it
// was honest tries again.
constexpr std::size_t most_silent = 32;

// Whoever connects or talks without end keeps nobody up: the rest is taken at the next look. Packets are more than a
// socket holds.
constexpr int accepted_a_look = 64;
constexpr int packets_a_look = 512;

// A forked child may hold a copy of the socket: only shutdown tells the sender in any case.
void hang_up(fd &socket) {
    if (socket) shutdown(socket.get(), SHUT_RDWR);
    socket.reset();
}

}  // namespace

reception::reception(endpoint where, std::int32_t from, handle_words *words)
    : own(std::move(where)), events(words), from_(from), name_(own.runtime, own.where.name, own.id) {}

void reception::open() try {
    clear_litter(own.runtime);
    listen();
    for (const std::string &name : name_.folder().names())
        if (auto s = parse_sender_name(name); s && s->version != layout::version)
            fail(IPC_EVERSION,
                 "a sender on {} has memory layout {}, this receiver has {}: build both with the same version of "
                 "libipc",
                 own.where.url, s->version, layout::version);
} catch (...) {
    name_.remove(events);
    throw;
}

void reception::forget() {
    for (std::uint32_t i = 0; i < peers.size(); ++i)
        if (peers[i].link) peers[i].link->forget();
}

void reception::rebuild() {
    peers.make_room(peers.size());
    turns.make_room(peers.size());
    for (std::uint32_t i = 0; i < peers.size(); ++i)
        if (peers[i].link) peers[i].link->make_room();
}

// ---- Being found ----------------------------------------------------------------------------------------------------

void reception::listen() {
    // Made first: if it can't be, no name is made either, which no sender would hear of.
    fd knocker(made(make_socket(SOCK_DGRAM), "a socket"));
    // Senders are told before the name is there, so that none is linked twice.
    auto tell_all = [&] {
        for (std::uint32_t i = 0; i < peers.size(); ++i) tell(peers[i], layout::notice_kind::moved);
    };
    receiver_name::fresh name = name_.make(events, tell_all);
    if (name_) take_newcomers();  // whoever had connected to the old one
    name_.become(std::move(name), events);
    if (shortage_.paused) watch_listener(0);
    watch();
    tell_senders_without_name();  // the watch does not report names that went before it was there
    name_.knock_on_senders(knocker.get());
}

void reception::watch() {
    if (!name_.watched()) name_.watch(events);
    counters.watching = name_.watched();
    set_alarm(name_.watched() && !name_.is_there() ? folder_retry_ns : 0);  // it went before the watch was there
}

// A sender does not watch the folder while it has a link: we do it for ours.
void reception::tell_senders_without_name() {
    std::vector<std::uint64_t> named;
    for (const std::string &name : name_.folder().names())
        if (auto s = parse_sender_name(name)) named.push_back(s->id);
    for (std::uint32_t i = 0; i < peers.size(); ++i) {
        const peer &p = peers[i];
        if (p.link && std::ranges::find(named, p.link->sender()) == named.end()) tell(p, layout::notice_kind::moved);
    }
}

// Of senders that were linked just now: the watch may have told of a name while nobody was there to be told.
void reception::look_for_names() try {
    tell_senders_without_name();
    names_due_ = false;
} catch (const std::bad_alloc &) {
    // At the next look.
}

// `told`: the watch, if there is one, has told of each name that went.
void reception::look_at_folder(bool told) try {
    bool watched = name_.watched();
    check_name();
    if (!name_.watched()) watch();  // perhaps there may be one by now
    if (!watched || !told) tell_senders_without_name();
} catch (const std::bad_alloc &) {
    // Not thrown: other events are waiting to be handled.
}

void reception::hear_watch() {
    bool all = name_.hear_watch([&](std::string_view name) {
        auto s = parse_sender_name(name);
        if (!s) return;
        bool linked = false;
        for (std::uint32_t i = 0; i < peers.size(); ++i) {
            if (!peers[i].link || peers[i].link->sender() != s->id) continue;
            tell(peers[i], layout::notice_kind::moved);
            linked = true;
        }
        names_gone_ |= !linked;
    });
    look_at_folder(all);
}

// Makes it again if it is not there.
void reception::check_name() {
    if (name_.is_there()) {
        if (!name_.note_findable(true)) set_alarm();  // it was moved away, and has come back
        return;
    }
    try {
        // Those who wait for the old name to be accepted would be hung up on.
        if (shortage_.paused) fail(-EMFILE, "nobody can be accepted now");
        listen();
    } catch (const std::exception &) {
        // The folder's parent may be gone, or neither descriptor nor memory be free. Links go on; newcomers have to
        // wait.
        name_.note_findable(false);
        set_alarm();
    }
}

// For what no event tells.
void reception::set_alarm(std::int64_t first_ns) {
    std::int64_t period = shortage_.any() ? fd_retry_ns : !name_.watched() || !name_.findable() ? folder_look_ns : 0;
    events.set_alarm(first_ns != 0 ? first_ns : period, period);
}

// ---- Newcomers ------------------------------------------------------------------------------------------------------

void reception::take_newcomers() {
    if (shortage_.paused) return;
    if (int lack = accept(); lack < 0) pause_accepting(lack);
}

// Nobody is accepted until there is a descriptor, or memory, for one more.
void reception::pause_accepting(int error) {
    shortage_.paused = true;
    shortage_.to_tell = error;
    watch_listener(0);
    set_alarm();
}

// Accepts who has connected. 0, or -errno: what is lacking for one more.
int reception::accept() try {
    for (int times = 0; times < accepted_a_look && !peers.full(); ++times) {
        peers.make_slot(own.id);
        turns.make_room(peers.size());
        int s = accept_from(name_.listener());
        if (s < 0) {
            if (s == -EINTR || s == -ECONNABORTED) continue;
            if (s == -ENOMEM || s == -ENOBUFS) return -ENOMEM;
            return s == -EMFILE || s == -ENFILE || is_refusal(s) ? s : 0;
        }
        std::uint32_t index = peers.add(fd(s));
        welcome(index);
        // Nobody needs fewer descriptors than a hello of one ring.
        const peer &p = peers[index];
        if (p.waits && p.fds_needed != 0 && p.fds_needed <= layout::hello_fds(1, true)) return p.lack;
        // Its hello may have come this moment.
        if (peers.silent().size() > most_silent) {
            std::uint32_t oldest = peers.silent().front();
            take_hello(oldest);
            if (!peers.silent().empty() && peers.silent().front() == oldest) drop(oldest);
        }
    }
    return 0;
} catch (const std::bad_alloc &) {
    return -ENOMEM;
}

void reception::welcome(std::uint32_t index) {
    peer &p = peers[index];
    ucred who = peer_of(p.socket.get());
    p.process = who.pid;
    if (who.uid != geteuid()) {
        char words[sizeof layout::answer{}.words];  // whether there is memory or not: it must not come in
        auto end =
            fmt::format_to_n(words, sizeof words, "this receiver belongs to user {}, and takes no sender of user {}",
                             geteuid(), who.uid);
        refuse(index, std::string_view(words, end.out));
    } else if (int r = events.try_add(p.socket.get(), {of::peer_socket, index, p.generation}); r < 0) {
        set_aside(index, r);
    } else {
        take_hello(index);
    }
}

void reception::take_hello(std::uint32_t index) {
    peer &p = peers[index];
    layout::hello hello;
    std::array<fd, most_fds> fds;
    received got = peek_hello(p, hello, fds);
    if (p.announced != 0) peers.note_spoken(index);
    if (got.size == -EAGAIN) return;
    if (got.size <= 0) {
        if (p.announced != 0) ++counters.unheard;
        return drop(index);
    }
    if (got.fds_cut && got.count < fds_of(hello)) {
        p.fds_needed = fds_of(hello);
        return set_aside(index, -EMFILE);
    }
    bool dead;
    try {
        check_hello(hello, got);
        p.announced = hello.sender;
        dead = make_link(p, index, hello, fds, events, own.membarrier);
    } catch (const failure &f) {
        unmake_link(p, events);
        if (is_lack(f.code)) return set_aside(index, f.code);
        drop_message(p.socket.get());
        return refuse(index, f.words);
    } catch (const std::bad_alloc &) {
        unmake_link(p, events);
        return set_aside(index, -ENOMEM);
    }
    drop_message(p.socket.get());
    begin(index, hello);
    if (dead && p.here()) lost(index);
}

// Chooses where it starts, answers, and hears what was said behind the hello.
void reception::begin(std::uint32_t index, const layout::hello &hello) {
    peer &p = peers[index];
    ++counters.links;
    end_aside(index);
    p.at = stage::linked;
    p.announced = 0;
    peers.note_spoken(index);
    heard more = heard::all;
    auto hear_more = [&] { more = hear(index); };
    p.link->start(hello, from_, std::ref(hear_more));  // by reference it takes no memory
    counters.skipped += p.link->skipped();
    answer(p, own, hello.with_pid && own.pid);
    names_due_ = names_gone_;
    activate(index);
    act_on(index, more == heard::all ? hear(index) : more);
}

void reception::say_no(const peer &p, std::string_view words) {
    libipc::say_no(p, own, words);
    ++counters.refused;
}

void reception::refuse(std::uint32_t index, std::string_view words) {
    say_no(peers[index], words);
    drop(index);
}

// ---- What senders say -----------------------------------------------------------------------------------------------

void reception::read_socket(std::uint32_t index) {
    if (!peers[index].link) return take_hello(index);
    act_on(index, hear(index));
    if (peers[index].link) follow(index);  // now: a user that never receives again must not keep the finished ring
}

// Reads what a sender has said after its hello: in which rings its stream may go on, and that we are to wake.
reception::heard reception::hear(std::uint32_t index) {
    peer &p = peers[index];
    for (int times = 0, resets = 0; times < packets_a_look; ++times) {
        union {
            layout::ring_notice ring;
            layout::notice notice;
        } said{};
        std::array<fd, most_fds> fds;
        received got = peek_with_fds(p.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -EAGAIN || got.size == -EINTR) return heard::all;
        if (got.size == -ECONNRESET && ++resets < most_resets) continue;
        if (got.size <= 0) return heard::hang_up;
        if (is_wake(said.notice, got)) {
            drop_message(p.socket.get());
            activate(index);
            continue;
        }
        if (got.fds_cut && got.count < layout::ring_fds) return set_aside(index, -EMFILE), heard::part;
        try {
            take_ring(p, said.ring, got, fds);
        } catch (const failure &f) {
            if (is_lack(f.code)) return set_aside(index, f.code), heard::part;
            say_no(p, f.words);
            return heard::nonsense;
        } catch (const std::bad_alloc &) {
            return set_aside(index, -ENOMEM), heard::part;
        }
        drop_message(p.socket.get());
    }
    return heard::part;
}

// Throws failure and bad_alloc.
void reception::take_ring(peer &p, const layout::ring_notice &notice, const received &got, std::span<fd> fds) {
    check_ring(notice, got);
    check_peer_link(fds[1].get(), layout::bits_bytes(notice.place.capacity));
    if (!p.link->announce(notice.after, map_ring(notice.place, fds[0], fds[1].get(), 0)))
        fail(-EINVAL, "a ring that begins at {}, after the one at {}, is in no place of the stream", notice.place.base,
             notice.after);
}

// After hear(): watches a peer again that was set aside and could be read now, and lets go of one that is done with.
void reception::act_on(std::uint32_t index, heard what) {
    peer &p = peers[index];
    if (what != heard::part && p.waits) {
        end_aside(index);
        if (p.socket && !p.gone()) events.try_add(p.socket.get(), {of::peer_socket, index, p.generation});
        activate(index);
    }
    if (what == heard::hang_up || what == heard::nonsense || (p.at == stage::gone && !p.waits)) lost(index);
}

// Goes on where the stream does. False if it is not known where. What it says is heard after that frame was seen, so
// that nothing is missed that was said before it.
bool reception::follow(std::uint32_t index) {
    peer &p = peers[index];
    while (p.link->at_continued()) {
        if (p.socket && !p.waits) act_on(index, hear(index));
        if (!p.link) return true;  // done with
        if (p.waits || !p.link->go_on()) return false;
    }
    return true;
}

// ---- Want of something ----------------------------------------------------------------------------------------------

// What it has said stays in its socket, which would be ready all the time: it is looked at again now and then.
void reception::set_aside(std::uint32_t index, int error) {
    peer &p = peers[index];
    p.lack = error;
    if (std::exchange(p.waits, true)) return;
    shortage_.to_tell = error;
    ++shortage_.waiting;
    peers.note_spoken(index);
    events.remove(p.socket.get());
    set_alarm();
}

void reception::end_aside(std::uint32_t index) {
    peer &p = peers[index];
    if (std::exchange(p.waits, false)) --shortage_.waiting;
    p.lack = 0;
    p.fds_needed = 0;
}

// Each on its own: a small one may fit where a large one does not.
void reception::retry_those_aside() {
    for (std::uint32_t i = 0; i < peers.size() && shortage_.waiting != 0; ++i)
        if (peers[i].waits) read_socket(i);
    if (shortage_.paused && accept() == 0) {
        shortage_.paused = false;
        watch_listener(EPOLLIN);
        if (!name_.findable()) check_name();
    }
    if (shortage_.any()) return;
    shortage_.to_tell = 0;  // over before it was asked for
    set_alarm();
}

// ---- Their going ----------------------------------------------------------------------------------------------------

void reception::lost(std::uint32_t index) {
    peer &p = peers[index];
    if (!p.link) return drop(index);
    events.remove(p.pid.get());
    p.pid.reset();
    if (!p.waits) {  // what is in the socket still is needed
        events.remove(p.socket.get());
        hang_up(p.socket);
    }
    if (p.reported()) return drop_if_done(index);
    p.at = stage::gone;
    activate(index);
}

void reception::drop(std::uint32_t index) {
    peer &p = peers[index];
    if (!p.here()) return;
    turns.drop(index);
    end_aside(index);
    if (p.link) {
        counters.bells += p.link->bells();
        counters.held -= p.link->held();
        --counters.links;
        events.remove(p.link->data_bell());
    }
    events.remove(p.socket.get());
    events.remove(p.pid.get());
    hang_up(p.socket);
    peers.clear(index);
}

void reception::drop_if_done(std::uint32_t index) {
    const peer &p = peers[index];
    if (p.reported() && p.link->held() == 0) drop(index);
}

void reception::dismiss() {
    turns.end_turn();
    name_.remove(events);
    for (std::uint32_t i = 0; i < peers.size(); ++i) {
        peer &p = peers[i];
        if (!p.here()) continue;
        if (!p.link || p.link->held() == 0)
            drop(i);
        else
            tell(p, layout::notice_kind::leaving);
    }
}

// ---- Events ---------------------------------------------------------------------------------------------------------

void reception::handle(event_tag tag) {
    peer *p = nullptr;
    switch (tag.kind) {
        case of::listener:
            return take_newcomers();
        case of::timer:
            events.drain_alarm();
            return look_at_folder(true);
        case of::folder:
            return hear_watch();
        case of::data_bell:
            if (peers.find(tag)) activate(tag.index);
            return;
        case of::peer_socket:
            if (peers.find(tag)) read_socket(tag.index);
            return;
        case of::peer_pid:
            p = peers.find(tag);
            if (!p) return;
            if (!p->waits) hear(tag.index);  // a forked child may keep the socket open, but nothing more comes
            return lost(tag.index);
        default:
            return;  // an interrupt says all by its flag
    }
}

bool reception::catch_up() {
    bool lacked = shortage_.any();
    if (lacked) retry_those_aside();
    if (names_due_) look_for_names();
    rest_idle();
    return lacked;
}

// ---- Turns ----------------------------------------------------------------------------------------------------------

void reception::activate(std::uint32_t index) {
    peer &p = peers[index];
    if (p.link && !p.reported() && !p.active) turns.activate(index, p);
}

// In a crowd, those from which nothing comes are not looked at in each call.
void reception::rest_idle() {
    if (turns.size() <= turns::always_active) return;
    if (turns.choose_idle(peers) && !membarrier_global()) keep_fences();
    turns.rest(peers);
}

bool reception::settle() {
    if (turns.forbid_unfenced(peers) && !membarrier_global()) keep_fences();
    return turns.settle(peers);
}

void reception::set_awake() {
    turns.end_sleep([&](std::uint32_t index) { activate(index); });
}

// See doubtful_sleep_ns.
void reception::keep_fences() {
    own.membarrier = false;
    for (std::uint32_t i = 0; i < peers.size(); ++i)
        if (peers[i].link) peers[i].link->keep_fences();
    set_alarm(doubtful_sleep_ns);
}

}  // namespace libipc
