#include "receiver.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "handle/core.hpp"
#include "litter.hpp"
#include "packets.hpp"
#include "system/failure.hpp"
#include "waiting/patience.hpp"

namespace libipc {

static_assert(receiver_core<receiver>);

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

receiver::receiver(endpoint where, std::int32_t from)
    : self_(std::move(where)),
      from_(from),
      owner_(ownership::take_new()),
      events_(owner_.page()),
      name_(self_.runtime, self_.where.name, self_.id),
      status_(self_.where, self_.id, IPC_RECEIVER, self_.runtime) {
    clear_litter(self_.runtime);
    try {
        listen();
        for (const std::string &name : name_.folder().names())
            if (auto s = parse_sender_name(name); s && s->version != layout::version)
                fail(IPC_EVERSION,
                     "a sender on {} has memory layout {}, this receiver has {}: build both with the same version of "
                     "libipc",
                     self_.where.url, s->version, layout::version);
    } catch (...) {
        name_.remove(events_);
        throw;
    }
}

receiver::receiver(handoff::reader &state) {
    handoff::adopt(*this, state, [&] {
        peers_.make_room(peers_.size());
        turns_.make_room(peers_.size());
        for (std::uint32_t i = 0; i < peers_.size(); ++i)
            if (peers_[i].link) peers_[i].link->make_room();
    });
}

receiver::~receiver() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        for (std::uint32_t i = 0; i < peers_.size(); ++i)
            if (peers_[i].link) peers_[i].link->forget();
        status_.forget();
        return;
    }
    shut();
}

// ---- Being found ----------------------------------------------------------------------------------------------------

void receiver::listen() {
    // Made first: if it can't be, no name is made either, which no sender would hear of.
    libipc::fd knocker(made(make_socket(SOCK_DGRAM), "a socket"));
    // Senders are told before the name is there, so that none is linked twice.
    auto tell_all = [&] {
        for (std::uint32_t i = 0; i < peers_.size(); ++i) tell(peers_[i], layout::notice_kind::moved);
    };
    receiver_name::fresh name = name_.make(events_, tell_all);
    if (name_) take_newcomers();  // whoever had connected to the old one
    name_.become(std::move(name), events_);
    if (shortage_.paused) watch_listener(0);
    watch();
    tell_senders_without_name();  // the watch does not report names that went before it was there
    name_.knock_on_senders(knocker.get());
}

void receiver::tell(const peer &p, layout::notice_kind what) {
    if (!p.link || !p.socket) return;
    layout::notice notice{{layout::notice_magic, layout::version, sizeof notice}, what, 0};
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&notice, 1)), {});
}

void receiver::watch() {
    if (!name_.watched()) name_.watch(events_);
    counters_.watching = name_.watched();
    set_alarm(name_.watched() && !name_.is_there() ? folder_retry_ns : 0);  // it went before the watch was there
}

// A sender does not watch the folder while it has a link: we do it for ours.
void receiver::tell_senders_without_name() {
    std::vector<std::uint64_t> named;
    for (const std::string &name : name_.folder().names())
        if (auto s = parse_sender_name(name)) named.push_back(s->id);
    for (std::uint32_t i = 0; i < peers_.size(); ++i) {
        const peer &p = peers_[i];
        if (p.link && std::ranges::find(named, p.link->sender()) == named.end()) tell(p, layout::notice_kind::moved);
    }
}

// Of senders that were linked just now: the watch may have told of a name while nobody was there to be told.
void receiver::look_for_names() try {
    tell_senders_without_name();
    names_due_ = false;
} catch (const std::bad_alloc &) {
    // At the next look.
}

// `told`: the watch, if there is one, has told of each name that went.
void receiver::look_at_folder(bool told) try {
    bool watched = name_.watched();
    check_name();
    if (!name_.watched()) watch();  // perhaps there may be one by now
    if (!watched || !told) tell_senders_without_name();
} catch (const std::bad_alloc &) {
    // Not thrown: other events are waiting to be handled.
}

void receiver::hear_watch() {
    bool all = name_.hear_watch([&](std::string_view name) {
        auto s = parse_sender_name(name);
        if (!s) return;
        bool linked = false;
        for (std::uint32_t i = 0; i < peers_.size(); ++i) {
            if (!peers_[i].link || peers_[i].link->sender() != s->id) continue;
            tell(peers_[i], layout::notice_kind::moved);
            linked = true;
        }
        names_gone_ |= !linked;
    });
    look_at_folder(all);
}

// Makes it again if it is not there.
void receiver::check_name() {
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
void receiver::set_alarm(std::int64_t first_ns) {
    std::int64_t period = shortage_.any() ? fd_retry_ns : !name_.watched() || !name_.findable() ? folder_look_ns : 0;
    events_.set_alarm(first_ns != 0 ? first_ns : period, period);
}

// ---- Newcomers ------------------------------------------------------------------------------------------------------

void receiver::take_newcomers() {
    if (shortage_.paused) return;
    if (int lack = accept(); lack < 0) pause_accepting(lack);
}

// Nobody is accepted until there is a descriptor, or memory, for one more.
void receiver::pause_accepting(int error) {
    shortage_.paused = true;
    shortage_.to_tell = error;
    watch_listener(0);
    set_alarm();
}

// Accepts who has connected. 0, or -errno: what is lacking for one more.
int receiver::accept() try {
    for (int times = 0; times < accepted_a_look && !peers_.full(); ++times) {
        peers_.make_slot(self_.id);
        turns_.make_room(peers_.size());
        int s = accept_from(name_.listener());
        if (s < 0) {
            if (s == -EINTR || s == -ECONNABORTED) continue;
            if (s == -ENOMEM || s == -ENOBUFS) return -ENOMEM;
            return s == -EMFILE || s == -ENFILE || is_refusal(s) ? s : 0;
        }
        std::uint32_t index = peers_.add(libipc::fd(s));
        welcome(index);
        // Nobody needs fewer descriptors than a hello of one ring.
        const peer &p = peers_[index];
        if (p.waits && p.fds_needed != 0 && p.fds_needed <= layout::hello_fds(1, true)) return p.lack;
        // Its hello may have come this moment.
        if (peers_.silent().size() > most_silent) {
            std::uint32_t oldest = peers_.silent().front();
            take_hello(oldest);
            if (!peers_.silent().empty() && peers_.silent().front() == oldest) drop(oldest);
        }
    }
    return 0;
} catch (const std::bad_alloc &) {
    return -ENOMEM;
}

void receiver::welcome(std::uint32_t index) {
    peer &p = peers_[index];
    ucred who = peer_of(p.socket.get());
    p.process = who.pid;
    if (who.uid != geteuid()) {
        char words[sizeof layout::answer{}.words];  // whether there is memory or not: it must not come in
        auto end =
            fmt::format_to_n(words, sizeof words, "this receiver belongs to user {}, and takes no sender of user {}",
                             geteuid(), who.uid);
        refuse(index, std::string_view(words, end.out));
    } else if (int r = events_.try_add(p.socket.get(), {of::peer_socket, index, p.generation}); r < 0) {
        set_aside(index, r);
    } else {
        take_hello(index);
    }
}

void receiver::take_hello(std::uint32_t index) {
    peer &p = peers_[index];
    layout::hello hello;
    std::array<libipc::fd, most_fds> fds;
    received got = peek_hello(index, hello, fds);
    if (got.size == -EAGAIN) return;
    if (got.size <= 0) {
        if (p.announced != 0) ++counters_.unheard;
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
        dead = link_with(index, hello, fds);
    } catch (const failure &f) {
        undo_link(index);
        if (is_lack(f.code)) return set_aside(index, f.code);
        drop_message(p.socket.get());
        return refuse(index, f.words);
    } catch (const std::bad_alloc &) {
        undo_link(index);
        return set_aside(index, -ENOMEM);
    }
    drop_message(p.socket.get());
    begin(index, hello);
    if (dead && p.here()) lost(index);
}

// The hello, or what is there instead of it; before it a sender may have said that it waits.
received receiver::peek_hello(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds) {
    peer &p = peers_[index];
    for (int resets = 0;;) {
        union {
            layout::hello hello;
            layout::waiting waiting;
        } said{};
        received got = peek_with_fds(p.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -ECONNRESET && ++resets < most_resets) continue;
        hello = said.hello;
        if (p.announced != 0 || !is_waiting(said.waiting, got)) return got;
        drop_message(p.socket.get());
        p.announced = said.waiting.sender;
        p.lack = said.waiting.lack < 0 && said.waiting.lack > -4096 ? said.waiting.lack : 0;
        peers_.note_spoken(index);
    }
}

// Makes a link of what came with a hello that is as it must be. Throws, and then undo_link() is to be called. True if
// the sender is known to be dead.
bool receiver::link_with(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds) {
    peer &p = peers_[index];
    check_space_bell(fds[layout::space_bell_fd]);
    int link_file = fds[layout::link_fd].get();
    check_peer_link(link_file, layout::link_bytes(hello.ring, hello.rings));
    std::vector<read_ring> rings;
    for (std::size_t i = 0; i < hello.rings; ++i)
        rings.push_back(
            map_ring(hello.ring[i], fds[layout::first_ring_fd + i], link_file, layout::link_bytes(hello.ring, i)));
    mapping words = map_link_part(link_file, 0, layout::link_words_bytes);
    libipc::fd data_bell(made(make_eventfd(), "an eventfd"));
    int bell = data_bell.get();
    hello.pid = peer_of(p.socket.get()).pid;  // as the kernel says, in our namespace; not as the sender claims
    p.link.emplace(hello, std::move(rings), std::move(words), std::move(data_bell),
                   std::move(fds[layout::space_bell_fd]), self_.membarrier);
    events_.add(bell, {of::data_bell, index, p.generation}, true);
    int pid = -ENOPROTOOPT;
    if (hello.with_pid) {
        p.pid = std::move(fds[layout::first_ring_fd + hello.rings]);
        if (!is_anon_inode(p.pid.get(), "anon_inode:[pidfd]")) fail(-EINVAL, "the sender's pidfd is none");
    } else {
        pid = peer_pidfd(p.socket.get());
        if (is_lack(pid)) fail(pid, "no pidfd of the sender is to be had: {}", errno_words(-pid));
        p.pid = libipc::fd(pid);
    }
    if (p.pid) events_.add(p.pid.get(), {of::peer_pid, index, p.generation});
    if (p.waits) events_.add(p.socket.get(), {of::peer_socket, index, p.generation});
    return pid == -ESRCH;
}

void receiver::undo_link(std::uint32_t index) {
    peer &p = peers_[index];
    if (p.pid) events_.remove(p.pid.get());
    p.pid.reset();
    if (p.link) events_.remove(p.link->data_bell());
    p.link.reset();
}

// Chooses where it starts, answers, and hears what was said behind the hello.
void receiver::begin(std::uint32_t index, const layout::hello &hello) {
    peer &p = peers_[index];
    ++counters_.links;
    end_aside(index);
    p.at = stage::linked;
    p.announced = 0;
    peers_.note_spoken(index);
    heard more = heard::all;
    auto hear_more = [&] { more = hear(index); };
    p.link->start(hello, from_, std::ref(hear_more));  // by reference it takes no memory
    counters_.skipped += p.link->skipped();
    answer(p, hello.with_pid && self_.pid);
    names_due_ = names_gone_;
    activate(index);
    act_on(index, more == heard::all ? hear(index) : more);
}

// If the sender is gone already, its hang-up tells. It can do without our descriptors, and not without the answer.
void receiver::answer(const peer &p, bool with_pid) {
    layout::answer yes{};
    yes.head = {layout::answer_magic, layout::version, sizeof yes};
    yes.receiver = self_.id;
    yes.membarrier = self_.membarrier;
    const int fds[] = {p.link->data_bell(), self_.pid.get()};
    auto bytes = std::as_bytes(std::span(&yes, 1));
    if (send_with_fds(p.socket.get(), bytes, std::span(fds).first(with_pid ? 2 : 1)) == -ETOOMANYREFS)
        send_with_fds(p.socket.get(), bytes, {});
}

void receiver::say_no(const peer &p, std::string_view words) {
    layout::answer no{};
    no.head = {layout::answer_magic, layout::version, sizeof no};
    no.receiver = self_.id;
    no.refused = 1;
    words.copy(no.words, sizeof no.words - 1);
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&no, 1)), {});
    ++counters_.refused;
}

void receiver::refuse(std::uint32_t index, std::string_view words) {
    say_no(peers_[index], words);
    drop(index);
}

// ---- What senders say -----------------------------------------------------------------------------------------------

void receiver::read_socket(std::uint32_t index) {
    if (!peers_[index].link) return take_hello(index);
    act_on(index, hear(index));
    if (peers_[index].link) follow(index);  // now: a user that never receives again must not keep the finished ring
}

// Reads what a sender has said after its hello: in which rings its stream may go on, and that we are to wake.
receiver::heard receiver::hear(std::uint32_t index) {
    peer &p = peers_[index];
    for (int times = 0, resets = 0; times < packets_a_look; ++times) {
        union {
            layout::ring_notice ring;
            layout::notice notice;
        } said{};
        std::array<libipc::fd, most_fds> fds;
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
void receiver::take_ring(peer &p, const layout::ring_notice &notice, const received &got, std::span<libipc::fd> fds) {
    check_ring(notice, got);
    check_peer_link(fds[1].get(), layout::bits_bytes(notice.place.capacity));
    if (!p.link->announce(notice.after, map_ring(notice.place, fds[0], fds[1].get(), 0)))
        fail(-EINVAL, "a ring that begins at {}, after the one at {}, is in no place of the stream", notice.place.base,
             notice.after);
}

// After hear(): watches a peer again that was set aside and could be read now, and lets go of one that is done with.
void receiver::act_on(std::uint32_t index, heard what) {
    peer &p = peers_[index];
    if (what != heard::part && p.waits) {
        end_aside(index);
        if (p.socket && !p.gone()) events_.try_add(p.socket.get(), {of::peer_socket, index, p.generation});
        activate(index);
    }
    if (what == heard::hang_up || what == heard::nonsense || (p.at == stage::gone && !p.waits)) lost(index);
}

// Goes on where the stream does. False if it is not known where. What it says is heard after that frame was seen, so
// that nothing is missed that was said before it.
bool receiver::follow(std::uint32_t index) {
    peer &p = peers_[index];
    while (p.link->at_continued()) {
        if (p.socket && !p.waits) act_on(index, hear(index));
        if (!p.link) return true;  // done with
        if (p.waits || !p.link->go_on()) return false;
    }
    return true;
}

// ---- Want of something ----------------------------------------------------------------------------------------------

// What it has said stays in its socket, which would be ready all the time: it is looked at again now and then.
void receiver::set_aside(std::uint32_t index, int error) {
    peer &p = peers_[index];
    p.lack = error;
    if (std::exchange(p.waits, true)) return;
    shortage_.to_tell = error;
    ++shortage_.waiting;
    peers_.note_spoken(index);
    events_.remove(p.socket.get());
    set_alarm();
}

void receiver::end_aside(std::uint32_t index) {
    peer &p = peers_[index];
    if (std::exchange(p.waits, false)) --shortage_.waiting;
    p.lack = 0;
    p.fds_needed = 0;
}

// Each on its own: a small one may fit where a large one does not.
void receiver::retry_those_aside() {
    for (std::uint32_t i = 0; i < peers_.size() && shortage_.waiting != 0; ++i)
        if (peers_[i].waits) read_socket(i);
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

void receiver::lost(std::uint32_t index) {
    peer &p = peers_[index];
    if (!p.link) return drop(index);
    events_.remove(p.pid.get());
    p.pid.reset();
    if (!p.waits) {  // what is in the socket still is needed
        events_.remove(p.socket.get());
        hang_up(p.socket);
    }
    if (p.reported()) return drop_if_done(index);
    p.at = stage::gone;
    activate(index);
}

void receiver::drop(std::uint32_t index) {
    peer &p = peers_[index];
    if (!p.here()) return;
    turns_.drop(index);
    end_aside(index);
    if (p.link) {
        counters_.bells += p.link->bells();
        counters_.held -= p.link->held();
        --counters_.links;
        events_.remove(p.link->data_bell());
    }
    events_.remove(p.socket.get());
    events_.remove(p.pid.get());
    hang_up(p.socket);
    peers_.clear(index);
}

void receiver::drop_if_done(std::uint32_t index) {
    const peer &p = peers_[index];
    if (p.reported() && p.link->held() == 0) drop(index);
}

// ---- Looking and sleeping -------------------------------------------------------------------------------------------

void receiver::handle(event_tag tag) {
    peer *p = nullptr;
    switch (tag.kind) {
        case of::listener:
            return take_newcomers();
        case of::timer:
            events_.drain_alarm();
            return look_at_folder(true);
        case of::folder:
            return hear_watch();
        case of::data_bell:
            if (peers_.find(tag)) activate(tag.index);
            return;
        case of::peer_socket:
            if (peers_.find(tag)) read_socket(tag.index);
            return;
        case of::peer_pid:
            p = peers_.find(tag);
            if (!p) return;
            if (!p->waits) hear(tag.index);  // a forked child may keep the socket open, but nothing more comes
            return lost(tag.index);
        default:
            return;  // an interrupt says all by its flag
    }
}

int receiver::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    int r = events_.take(timeout_ns, [&](event_tag tag) {
        came = true;
        handle(tag);
    });
    if (shortage_.any()) {
        retry_those_aside();
        came = true;  // perhaps somebody that no event of his own tells of any more
    }
    if (names_due_) look_for_names();
    if (turns_.size() > turns::always_active) {
        if (turns_.choose_idle(peers_) && !membarrier_global()) keep_fences();
        turns_.rest(peers_);
    }
    // stats() or links() was called between arm() and the host's own wait: this look took the event that was to wake
    // the host, so the fd is made ready again.
    if (armed_ && (came || turns_.any_ready(peers_))) events_.stay_ready();
    show();
    return r;
}

void receiver::activate(std::uint32_t index) {
    peer &p = peers_[index];
    if (p.link && !p.reported() && !p.active) turns_.activate(index, p);
}

// True if nothing is there: the caller may sleep.
bool receiver::settle() {
    if (turns_.forbid_unfenced(peers_) && !membarrier_global()) keep_fences();
    return turns_.settle(peers_);
}

void receiver::set_awake() {
    turns_.end_sleep([&](std::uint32_t index) { activate(index); });
}

// See doubtful_sleep_ns.
void receiver::keep_fences() {
    self_.membarrier = false;
    for (std::uint32_t i = 0; i < peers_.size(); ++i)
        if (peers_[i].link) peers_[i].link->keep_fences();
    set_alarm(doubtful_sleep_ns);
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
    if (follow(index)) return take_from(index, p, out);
    if (!p.waits) return finish(index, false, !p.gone(), out);
    turns_.deactivate(index, p);
    return 0;
}

// Nothing more comes from this sender.
std::int32_t receiver::finish(std::uint32_t index, bool end, bool broken, ipc_message &out) {
    no_cancel here;
    peer &p = peers_[index];
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.sender = p.link->sender();
    ++(end ? counters_.ends : counters_.deaths);
    if (broken) {
        // Foreign bytes in the ring: nothing after them can be trusted.
        ++counters_.refused;
        if (!p.gone()) lost(index);
    }
    p.at = stage::reported;
    turns_.deactivate(index, p);
    drop_if_done(index);
    return end ? IPC_END : IPC_DIED;
}

// The next message, end or death of the active links, in turn; 0 if there is none.
std::int32_t receiver::take(ipc_message &out) {
    return turns_.each(peers_, [&](std::uint32_t index, peer &p) { return take_from(index, p, out); });
}

std::int32_t receiver::receive_any(ipc_message &out, std::int64_t timeout_ns) {
    bool due = events_.due();
    if (turns_.goes_on() && !due && !events_.interrupted()) {
        turns_.count_message();
        if (std::int32_t r = take_from(turns_.served(), *turns_.serving(), out)) return r;
    }
    armed_ = false;
    if (!turns_.settled().empty()) set_awake();
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    if (due || turns_.empty()) look(0);
    if (std::int32_t r = take(out)) return r;
    if (shortage_.to_tell) return std::exchange(shortage_.to_tell, 0);
    if (timeout_ns != 0) return wait(out, timeout_ns);
    // Nothing was there: if this was a rush, it is over. And links that rest are heard of by their bells alone: look.
    bool rush = events_.skips();
    if (rush) events_.no_rush();
    if (!due && ((rush && events_.due()) || counters_.links > turns_.size())) {
        look(0);
        if (std::int32_t r = take(out)) return r;
    }
    return -EAGAIN;
}

std::int32_t receiver::wait(ipc_message &out, std::int64_t timeout_ns) {
    patience patience(timeout_ns);
    spin_.learn(now_ns(), counters_.messages);
    spin_.until([&] { return turns_.any_ready(peers_) || events_.interrupted(); }, patience.left());
    auto ready = [&] {
        std::int32_t r = take(out);
        return r == 0 && !events_.interrupted() ? std::exchange(shortage_.to_tell, 0) : r;
    };
    return wait_until(events_, patience, ready, [&](std::int64_t left) {
        if (!settle()) return 0;
        ++counters_.waits;
        show();
        int r = look(left);
        set_awake();
        return r;
    });
}

std::int32_t receiver::release_any(const ipc_message &message) {
    std::uint32_t index = link_key::index_of(message.link);
    if (index >= peers_.size()) return -EINVAL;
    peer &p = peers_[index];
    // A link that is dropped had all its messages released.
    if (!p.link || p.generation != link_key::generation_of(message.link)) return -ESTALE;
    std::int32_t r = p.link->release(message.position);
    if (r == 0) --counters_.held;
    if (r == 0 && (p.reported() || shut_) && p.link->held() == 0) {
        no_cancel here;
        drop(index);
    }
    return r;
}

std::int32_t receiver::arm() {
    armed_ = false;
    set_awake();
    look(0);
    // After the look, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (events_.take_interrupt()) return -ECANCELED;
    if (turns_.any_ready(peers_) || shortage_.to_tell || !settle()) return 0;
    ++counters_.waits;
    show();
    armed_ = true;
    return 1;
}

// ---- Telling --------------------------------------------------------------------------------------------------------

void receiver::show() {
    std::uint64_t backlog = 0, held = 0;
    auto add = [&](const incoming &link) {
        backlog += link.held_bytes();
        held += link.held();
    };
    for (std::uint32_t i : turns_.active()) add(*peers_[i].link);
    for (std::uint32_t i : turns_.settled()) add(*peers_[i].link);
    if (held != counters_.held) {  // others, which are idle or have ended, have some: seldom, and then all are asked
        backlog = 0;
        for (std::uint32_t i = 0; i < peers_.size(); ++i)
            if (peers_[i].link) add(*peers_[i].link);
    }
    shown_links shown;
    for (std::uint32_t i = 0; i < peers_.size() && !shown.full(); ++i)
        if (peer &p = peers_[i]; p.link)
            shown.add(p.link->shown(p.gone()));
        else if (p.announced != 0)
            shown.add(unlinked(p.announced, p.process, p.lack));
    status_.show({counters_.messages, counters_.bytes, backlog, 0, counters_.skipped, 0,
                  std::max<std::size_t>(counters_.links, shown.get().size())},
                 shown);
}

std::int32_t receiver::stats(ipc_receiver_counters &out) {
    look(0);
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.id = self_.id;
    out.waiting_for_fds = shortage_.any();
    for (std::uint32_t i = 0; i < peers_.size(); ++i)
        if (peers_[i].link) out.bells += peers_[i].link->bells();
    return 0;
}

std::int32_t receiver::links(ipc_link *out, std::size_t count) {
    look(0);
    std::size_t n = 0;
    for (std::uint32_t i = 0; i < peers_.size(); ++i) {
        const peer &p = peers_[i];
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
    if (std::exchange(shut_, true)) return counters_.held;
    turns_.end_turn();
    name_.remove(events_);
    for (std::uint32_t i = 0; i < peers_.size(); ++i) {
        peer &p = peers_[i];
        if (!p.here()) continue;
        if (!p.link || p.link->held() == 0)
            drop(i);
        else
            tell(p, layout::notice_kind::leaving);
    }
    return counters_.held;
}

}  // namespace libipc
