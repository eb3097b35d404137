#include "receiver.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "litter.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

using of = event_tag::of;

// So many links are looked at in each call, whether something comes from them or not; in a larger crowd, those from
// which nothing comes are armed, and cost nothing until they ring.
constexpr std::size_t always_active = 8;
constexpr std::uint32_t idle_looks_before_rest = 3;

// So many messages of one sender are taken in a row before the next one has its turn: enough to run along a few cache
// lines, too few for the others to notice.
constexpr std::uint32_t messages_a_turn = 16;

constexpr std::int64_t fd_retry_ns = 100'000'000;
constexpr std::int64_t folder_look_ns = 1'000'000'000;
constexpr std::int64_t folder_retry_ns = 1'000'000;

// A sender connects and says its hello at once. Of those that have not, so many are kept: one that is dropped though it
// was honest tries again.
constexpr std::size_t most_silent = 32;

// Each that waits to be accepted has descriptors on their way, of which a user may have 1,024: a receiver that makes no
// call takes a fifth of them at most, and leaves some for others.
constexpr int most_unaccepted = 64;

constexpr std::uint64_t most_position = std::uint64_t{1} << 62;  // far from where counting would start again
static_assert(most_fds == layout::hello_fds(layout::most_rings, true));

// A forked child may hold a copy of the socket: only shutdown tells the sender in any case.
void hang_up(fd &socket) {
    if (socket) shutdown(socket.get(), SHUT_RDWR);
    socket.reset();
}

// How many descriptors belong to what says that it is a hello.
std::size_t fds_of(const layout::hello &h) {
    return layout::hello_fds(std::min<std::uint64_t>(h.rings, layout::most_rings), h.with_pid == 1);
}

void check_place(const layout::ring_place &place) {
    if (place.capacity < layout::least_capacity || place.capacity > layout::most_capacity || place.capacity % 4096 != 0)
        fail(-EINVAL, "a ring of {} bytes is none of ours", place.capacity);
    if (place.base % layout::frame_align != 0 || place.base > most_position)
        fail(-EINVAL, "a ring that begins at {} is none of ours", place.base);
}

// Throws words for the sender.
void check_head(const layout::preamble &head, const received &got, std::uint64_t magic, const char *what,
                std::size_t size) {
    auto heard = static_cast<std::size_t>(got.size);
    if (heard < sizeof(layout::preamble) || head.magic != magic)
        fail(-EINVAL, "these are not the first bytes of a libipc sender's {}", what);
    if (head.version != layout::version)
        fail(IPC_EVERSION,
             "the sender has memory layout {}, this receiver has {}: build both with the same version of libipc",
             head.version, layout::version);
    if (heard != size || head.size != size) fail(-EINVAL, "the {} has {} bytes instead of {}", what, heard, size);
}

void check_fds(const received &got, const char *what, std::size_t count) {
    if (got.count != count || got.fds_cut)
        fail(-EINVAL, "the {} came with {}{} descriptors instead of {}", what, got.fds_cut ? "more than " : "",
             got.count, count);
}

void check_hello(const layout::hello &h, const received &got) {
    check_head(h.head, got, layout::hello_magic, "hello", sizeof h);
    if (h.rings == 0 || h.rings > layout::most_rings)
        fail(-EINVAL, "{} rings are none of ours; a sender has 1 to {}", h.rings, layout::most_rings);
    check_fds(got, "hello", fds_of(h));
    bool good = (h.start | h.oldest | h.redelivered_until | h.committed) % layout::frame_align == 0 &&
                h.oldest <= h.start && h.start <= h.committed && h.redelivered_until <= h.committed &&
                h.committed <= most_position && h.start_sequence >= h.oldest_sequence && h.sender != 0 &&
                h.ring[0].base <= h.oldest;
    for (std::size_t i = 0; i < h.rings; ++i) {
        check_place(h.ring[i]);
        // Its part of the stream from `oldest` on lies in it. Only the first can begin before that.
        std::uint64_t from = i == 0 ? h.oldest : h.ring[i].base;
        std::uint64_t until = i + 1 < h.rings ? h.ring[i + 1].base : h.committed;
        good = good && from <= until && until - from <= h.ring[i].capacity && (i + 1 == h.rings || from < until);
    }
    if (!good) fail(-EINVAL, "the positions in the hello contradict each other");
}

void check_notice(const layout::ring_notice &n, const received &got) {
    check_head(n.head, got, layout::ring_magic, "ring", sizeof n);
    check_fds(got, "ring", layout::ring_fds);
    check_place(n.place);
}

// It has no data bell, and rings so.
bool is_wake(const layout::notice &n, const received &got) {
    return got.size == sizeof n && n.head.magic == layout::notice_magic && n.head.version == layout::version &&
           n.head.size == sizeof n && n.what == layout::notice_kind::wake;
}

// Throws words for the sender.
read_ring map_ring(const layout::ring_place &place, const fd &memory, int link_file, std::uint64_t bits_at) {
    return {place, map_peer_ring(memory.get(), place.capacity),
            map_link_part(link_file, bits_at, layout::bits_bytes(place.capacity))};
}

// What a process may lack now and have later, and not a fault of the peer's.
bool is_lack(int code) {
    return code == -EAGAIN || code == -ENOMEM || code == -ENOSPC || code == -EMFILE || code == -ENFILE;
}

}  // namespace

receiver::receiver(endpoint where, std::int32_t from)
    : where_(std::move(where)),
      from_(from),
      id_(random_id()),
      owner_(ownership::take_new()),
      events_(owner_.page()),
      membarrier_(register_membarrier()),
      own_pid_(own_pidfd()),
      runtime_(runtime_folder()),
      status_(where_, id_, IPC_RECEIVER, runtime_) {
    clear_litter(runtime_);
    try {
        listen();
        for (const std::string &name : folder_.names())
            if (auto s = parse_sender_name(name); s && s->version != layout::version)
                fail(IPC_EVERSION,
                     "a sender on {} has memory layout {}, this receiver has {}: build both with the same version of "
                     "libipc",
                     where_.url, s->version, layout::version);
    } catch (...) {
        if (!name_.empty()) {
            folder_.unlink(name_);
            folder_.remove_if_empty();
        }
        throw;
    }
}

receiver::receiver(handoff::reader &state) {
    handoff::adopt(*this, state, [&] {
        make_room_for(peers_.size());
        for (auto &p : peers_)
            if (p->link) p->link->make_room();
    });
}

receiver::~receiver() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        for (auto &p : peers_)
            if (p->link) p->link->forget();
        status_.forget();
        return;
    }
    shut();
}

// ---- Names ----------------------------------------------------------------------------------------------------------

void receiver::listen() {
    libipc::fd knuckle(made(make_socket(SOCK_DGRAM), "a socket"));  // not last: unheard, we would not be found
    libipc::fd socket;
    channel_folder folder;
    std::string temporary, name = receiver_name({layout::version, id_, times_});
    // Whoever leaves last removes the folder, perhaps between our opening and our binding; a cleaner of /tmp deletes
    // what it finds, perhaps between our binding and our renaming.
    for (int tries = 0;; ++tries) {
        socket = libipc::fd(made(make_socket(SOCK_SEQPACKET), "a socket"));
        folder = channel_folder::open(runtime_, where_.name);
        temporary = fmt::format(".new-{:016x}", random_id());
        const char *attempt = "make a socket";
        int r = folder.bind(socket.get(), temporary);
        try {
            if (r == 0) {
                attempt = "rename a socket";
                if (::listen(socket.get(), most_unaccepted) != 0) folder.fail("listen", -errno);
                events_.add(socket.get(), {of::listener});
                // Told before the name is there, so that a sender is not linked twice.
                for (auto &p : peers_) tell(*p, layout::notice_kind::moved);
                r = folder.rename(temporary, name);
            }
            if (r == 0) break;
            if (r != -ENOENT || tries == 100) folder.fail(attempt, r);
        } catch (...) {
            folder.unlink(temporary);
            throw;
        }
    }
    if (listener_) {
        take_newcomers();  // whoever had connected to the old name
        events_.remove(listener_.get());
    }
    watch_.stop(events_);
    listener_ = std::move(socket);
    folder_ = std::move(folder);
    name_ = std::move(name);
    ++times_;
    findable_ = true;
    watch();
    tell_unnamed();  // of names that went before this watch was there, it does not tell
    knock(knuckle.get());
}

void receiver::knock(int socket) {
    for (const std::string &name : folder_.names()) {
        if (parse_sender_name(name)) {
            // Full: it has been knocked on already. Refused: its owner is gone, and the name will never be used again.
            if (folder_.knock(socket, name) == -ECONNREFUSED) folder_.unlink(name);
        } else if (name != name_) {
            folder_.unlink_if_dead(name);
        }
    }
}

void receiver::tell(const peer &p, layout::notice_kind what) {
    if (!p.link || !p.socket) return;
    layout::notice notice{{layout::notice_magic, layout::version, sizeof notice}, what, 0};
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&notice, 1)), {});
}

void receiver::watch() {
    watch_ = folder_watch(folder_, events_);
    counters_.watching = static_cast<bool>(watch_);
    set_alarm(watch_ && !folder_.finds(name_) ? folder_retry_ns : 0);  // it went before the watch was there
}

// A sender does not watch the folder while it has a link: we do it for ours.
void receiver::tell_unnamed() {
    std::vector<std::uint64_t> named;
    for (const std::string &name : folder_.names())
        if (auto s = parse_sender_name(name)) named.push_back(s->id);
    for (auto &p : peers_)
        if (p->link && std::find(named.begin(), named.end(), p->link->sender()) == named.end())
            tell(*p, layout::notice_kind::moved);
}

// Of senders that were linked just now: the watch may have told of a name while nobody was there to be told.
void receiver::look_for_names() try {
    tell_unnamed();
    names_due_ = false;
} catch (const std::bad_alloc &) {
    // At the next look.
}

// `told`: the watch, if there is one, has told of each name that went.
void receiver::look_at_folder(bool told) try {
    bool watched = static_cast<bool>(watch_);
    check_names();
    if (!watch_) watch();  // perhaps there may be one by now
    if (!watched || !told) tell_unnamed();
} catch (const std::bad_alloc &) {
    // Not thrown: other events are waiting to be handled.
}

void receiver::check_names() {
    if (folder_.finds(name_)) {
        if (!std::exchange(findable_, true)) set_alarm();  // it was moved away, and has come back
        return;
    }
    try {
        // Those who wait for the old name to be accepted would be hung up on.
        if (paused_) fail(-EMFILE, "nobody can be accepted now");
        listen();
    } catch (const std::exception &) {
        // The folder's parent may be gone, or neither descriptor nor memory be free. Links go on; newcomers have to
        // wait.
        findable_ = false;
        set_alarm();
    }
}

// For what no event tells.
void receiver::set_alarm(std::int64_t first_ns) {
    std::int64_t period = lacks() ? fd_retry_ns : !watch_ || !findable_ ? folder_look_ns : 0;
    events_.set_alarm(first_ns != 0 ? first_ns : period, period);
}

// ---- Links ----------------------------------------------------------------------------------------------------------

// Nobody is accepted until there is a descriptor, or memory, for one more.
void receiver::pause_accepting(int error) {
    paused_ = true;
    lack_ = error;
    watch_listener(0);
    set_alarm();
}

// Nothing that is done with a link later asks for memory.
void receiver::make_room_for(std::size_t peers) {
    for (auto *list : {&free_, &silent_, &active_, &settled_, &resting_}) list->reserve(peers);
}

// A place for one more. Throws bad_alloc.
void receiver::make_place() {
    make_room_for(peers_.size() + 1);
    peers_.push_back(std::make_unique<peer>());
    // Each receiver starts at one of its own, so that another's messages are rarely taken for ours.
    peers_.back()->generation = 1 + static_cast<std::uint32_t>(id_ % generations);
    free_.push_back(static_cast<std::uint32_t>(peers_.size() - 1));
}

// 0, or what there is not enough of for one more.
int receiver::accept() try {
    // The rest is taken at the next look: whoever connects without end keeps nobody up.
    for (int times = 0; times < 64; ++times) {
        if (free_.empty()) {
            if (peers_.size() > index_mask) return 0;
            make_place();
        }
        int s = accept_from(listener_.get());
        if (s < 0) {
            if (s == -EINTR || s == -ECONNABORTED) continue;
            if (s == -ENOMEM || s == -ENOBUFS) return -ENOMEM;
            return s == -EMFILE || s == -ENFILE || is_refusal(s) ? s : 0;
        }
        std::uint32_t index = free_.back();
        free_.pop_back();
        peer &p = *peers_[index];
        p.used = true;
        p.socket = libipc::fd(s);
        silent_.push_back(index);
        ucred who = peer_of(s);
        p.process = who.pid;
        if (who.uid != geteuid()) {
            char words[sizeof layout::answer{}.words];  // whether there is memory or not: it must not come in
            auto end = fmt::format_to_n(words, sizeof words,
                                        "this receiver belongs to user {}, and takes no sender of user {}", geteuid(),
                                        who.uid);
            refuse(index, std::string_view(words, end.out));
        } else if (int r = events_.try_add(s, {of::peer_socket, index, p.generation}); r < 0) {
            set_aside(index, r);
        } else {
            greet(index);
        }
        // Nobody needs fewer descriptors than a hello of one ring.
        if (p.waits && p.fds_needed != 0 && p.fds_needed <= layout::hello_fds(1, true)) return p.lack;
        // Its hello may have come this moment.
        if (silent_.size() > most_silent) {
            std::uint32_t oldest = silent_.front();
            greet(oldest);
            if (!silent_.empty() && silent_.front() == oldest) drop(oldest);
        }
    }
    return 0;
} catch (const std::bad_alloc &) {
    return -ENOMEM;
}

void receiver::greet(std::uint32_t index) {
    peer &p = *peers_[index];
    layout::hello hello;
    std::array<libipc::fd, most_fds> fds;
    received got = peek_greeting(index, hello, fds);
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
    ++counters_.links;
    take_in(index);
    p.announced = 0;
    std::erase(silent_, index);
    heard more = heard::all;
    auto hear_more = [&] { more = hear(index); };
    p.link->start(hello, from_, std::ref(hear_more));  // by reference it takes no memory
    counters_.skipped += p.link->skipped();
    answer(p, hello.with_pid && own_pid_);
    names_due_ = names_gone_;
    activate(index);
    act_on(index, more == heard::all ? hear(index) : more);
    if (dead && p.used) lost(index);
}

// The hello, or what is there instead of it; before it a sender may have said that it waits.
received receiver::peek_greeting(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds) {
    peer &p = *peers_[index];
    for (int resets = 0;;) {
        union {
            layout::hello hello;
            layout::waiting waiting;
        } said{};
        received got = peek_with_fds(p.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -ECONNRESET && ++resets < 3) continue;  // comes once, before what is still queued
        hello = said.hello;
        const layout::waiting &w = said.waiting;
        if (p.announced != 0 || got.size != sizeof w || w.head.magic != layout::waiting_magic ||
            w.head.version != layout::version || w.head.size != sizeof w)
            return got;
        drop_message(p.socket.get());
        p.announced = w.sender;
        p.lack = w.lack < 0 && w.lack > -4096 ? w.lack : 0;
        std::erase(silent_, index);
    }
}

// Makes a link of what came with a hello that is as it must be. Throws, and then undo_link() is to be called. True if
// the sender is known to be dead.
bool receiver::link_with(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds) {
    peer &p = *peers_[index];
    if (!is_anon_inode(fds[layout::space_bell_fd].get(), "anon_inode:[eventfd]"))
        fail(-EINVAL, "the doorbell is not an eventfd");
    if (!is_nonblocking(fds[layout::space_bell_fd].get())) fail(-EINVAL, "the doorbell would block whoever rings it");
    int link_file = fds[layout::link_fd].get();
    check_peer_link(link_file, layout::link_bytes(hello.ring, hello.rings));
    std::vector<read_ring> rings;
    for (std::size_t i = 0; i < hello.rings; ++i)
        rings.push_back(
            map_ring(hello.ring[i], fds[layout::first_ring_fd + i], link_file, layout::link_bytes(hello.ring, i)));
    mapping words = map_link_part(link_file, 0, layout::link_words_bytes);
    libipc::fd data_bell(made(make_eventfd(), "an eventfd"));
    int bell = data_bell.get();
    hello.pid = peer_of(p.socket.get()).pid;
    p.link.emplace(hello, std::move(rings), std::move(words), std::move(data_bell),
                   std::move(fds[layout::space_bell_fd]), membarrier_);
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
    peer &p = *peers_[index];
    if (p.pid) events_.remove(p.pid.get());
    p.pid.reset();
    if (p.link) events_.remove(p.link->data_bell());
    p.link.reset();
}

// If the sender is gone already, its hang-up tells. It can do without our descriptors, and not without the answer.
void receiver::answer(const peer &p, bool with_pid) {
    layout::answer yes{};
    yes.head = {layout::answer_magic, layout::version, sizeof yes};
    yes.receiver = id_;
    yes.membarrier = membarrier_;
    const int fds[] = {p.link->data_bell(), own_pid_.get()};
    auto bytes = std::as_bytes(std::span(&yes, 1));
    if (send_with_fds(p.socket.get(), bytes, std::span(fds).first(with_pid && own_pid_ ? 2 : 1)) == -ETOOMANYREFS)
        send_with_fds(p.socket.get(), bytes, {});
}

void receiver::say_no(const peer &p, std::string_view words) {
    layout::answer no{};
    no.head = {layout::answer_magic, layout::version, sizeof no};
    no.receiver = id_;
    no.refused = 1;
    words.copy(no.words, sizeof no.words - 1);
    send_with_fds(p.socket.get(), std::as_bytes(std::span(&no, 1)), {});
    ++counters_.refused;
}

void receiver::refuse(std::uint32_t index, std::string_view words) {
    say_no(*peers_[index], words);
    drop(index);
}

// What it has said stays in its socket, which would be ready all the time: it is looked at again now and then.
void receiver::set_aside(std::uint32_t index, int error) {
    peer &p = *peers_[index];
    p.lack = error;
    if (std::exchange(p.waits, true)) return;
    lack_ = error;
    ++waiting_;
    std::erase(silent_, index);
    events_.remove(p.socket.get());
    set_alarm();
}

void receiver::take_in(std::uint32_t index) {
    peer &p = *peers_[index];
    if (std::exchange(p.waits, false)) --waiting_;
    p.lack = 0;
    p.fds_needed = 0;
}

void receiver::read_socket(std::uint32_t index) {
    if (!peers_[index]->link) return greet(index);
    act_on(index, hear(index));
    if (peers_[index]->link) follow(index);  // whoever receives no more must not keep the ring before
}

// Reads what a sender has said after its hello: in which rings its stream may go on, and that we are to wake.
receiver::heard receiver::hear(std::uint32_t index) {
    peer &p = *peers_[index];
    int resets = 0;
    // More than a socket holds. The rest is read at the next look: whoever talks without end keeps nobody up.
    for (int times = 0; times < 512; ++times) {
        union {
            layout::ring_notice ring;
            layout::notice notice;
        } said{};
        layout::ring_notice &notice = said.ring;
        std::array<libipc::fd, most_fds> fds;
        received got = peek_with_fds(p.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -EAGAIN || got.size == -EINTR) return heard::all;
        if (got.size == -ECONNRESET && ++resets < 3) continue;
        if (got.size <= 0) return heard::hang_up;
        if (is_wake(said.notice, got)) {
            drop_message(p.socket.get());
            activate(index);
            continue;
        }
        if (got.fds_cut && got.count < layout::ring_fds) return set_aside(index, -EMFILE), heard::part;
        try {
            check_notice(notice, got);
            check_peer_link(fds[1].get(), layout::bits_bytes(notice.place.capacity));
            if (!p.link->announce(notice.after, map_ring(notice.place, fds[0], fds[1].get(), 0)))
                fail(-EINVAL, "a ring that begins at {}, after the one at {}, is in no place of the stream",
                     notice.place.base, notice.after);
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

void receiver::act_on(std::uint32_t index, heard what) {
    peer &p = *peers_[index];
    if (what != heard::part && p.waits) {
        take_in(index);
        if (!p.gone) events_.try_add(p.socket.get(), {of::peer_socket, index, p.generation});
        activate(index);
    }
    if (what == heard::hang_up || what == heard::nonsense || (p.gone && !p.waits)) lost(index);
}

// Goes on where the stream does. False if it is not known where. What it says is heard after that frame was seen, so
// that nothing is missed that was said before it.
bool receiver::follow(std::uint32_t index) {
    peer &p = *peers_[index];
    while (p.link->at_continued()) {
        if (p.socket && !p.waits) act_on(index, hear(index));
        if (!p.link) return true;  // done with
        if (p.waits || !p.link->go_on()) return false;
    }
    return true;
}

void receiver::lost(std::uint32_t index) {
    peer &p = *peers_[index];
    if (!p.link) return drop(index);
    p.gone = true;
    events_.remove(p.pid.get());
    p.pid.reset();
    if (!p.waits) {  // what is in the socket still is needed
        events_.remove(p.socket.get());
        hang_up(p.socket);
    }
    if (p.told) return drop_if_done(index);
    activate(index);
}

void receiver::drop(std::uint32_t index) {
    peer &p = *peers_[index];
    if (!p.used) return;
    end_turn();
    std::erase(silent_, index);
    std::erase(active_, index);
    std::erase(settled_, index);
    take_in(index);
    if (p.link) {
        counters_.rings += p.link->rings();
        counters_.held -= p.link->held();
        --counters_.links;
        events_.remove(p.link->data_bell());
    }
    events_.remove(p.socket.get());
    events_.remove(p.pid.get());
    hang_up(p.socket);
    std::uint32_t generation = 1 + p.generation % generations;
    p = peer{};
    p.generation = generation;
    free_.push_back(index);
}

void receiver::drop_if_done(std::uint32_t index) {
    peer &p = *peers_[index];
    if (p.told && p.link->held() == 0) drop(index);
}

void receiver::activate(std::uint32_t index) {
    peer &p = *peers_[index];
    if (!p.link || p.told || p.active) return;
    p.link->set_awake();
    p.active = true;
    p.idle_looks = 0;
    active_.push_back(index);
}

// ---- Events ---------------------------------------------------------------------------------------------------------

void receiver::handle(event_tag tag) {
    switch (tag.kind) {
        case of::listener:
            return take_newcomers();
        case of::timer:
            events_.drain_alarm();
            return look_at_folder(true);
        case of::folder: {
            bool all = watch_.take([&](std::string_view name) {
                auto s = parse_sender_name(name);
                if (!s) return;
                bool linked = false;
                for (auto &p : peers_) {
                    if (!p->link || p->link->sender() != s->id) continue;
                    tell(*p, layout::notice_kind::moved);
                    linked = true;
                }
                names_gone_ |= !linked;
            });
            return look_at_folder(all);
        }
        case of::data_bell:
        case of::peer_socket:
        case of::peer_pid: {
            if (tag.index >= peers_.size()) return;
            peer &p = *peers_[tag.index];
            if (!p.used || p.generation != tag.generation) return;
            if (tag.kind == of::data_bell) return activate(tag.index);
            if (tag.kind == of::peer_socket) return read_socket(tag.index);
            if (!p.waits) hear(tag.index);  // a forked child may keep the socket open, but nothing more comes
            return lost(tag.index);
        }
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
    if (lacks()) {
        retry_those_aside();
        came = true;  // perhaps somebody that no event of his own tells of any more
    }
    if (names_due_) look_for_names();
    if (active_.size() > always_active) rest_idle();
    // Stats or links between arm and the wait: what they took was to wake the host.
    if (armed_ && (came || something_there())) events_.stay_ready();
    show();
    return r;
}

void receiver::take_newcomers() {
    if (paused_) return;
    if (int lack = accept(); lack < 0) pause_accepting(lack);
}

// Each on its own: a small one may fit where a large one does not.
void receiver::retry_those_aside() {
    for (std::uint32_t i = 0; i < peers_.size() && waiting_ != 0; ++i)
        if (peers_[i]->used && peers_[i]->waits) read_socket(i);
    if (paused_ && accept() == 0) {
        paused_ = false;
        watch_listener(EPOLLIN);
        if (!findable_) check_names();
    }
    if (lacks()) return;
    lack_ = 0;  // over before it was asked for
    set_alarm();
}

// ---- Waking ---------------------------------------------------------------------------------------------------------

// Arms the bells of all active links. True if nothing is there: the caller may sleep. The others are active still.
bool receiver::settle() {
    bool barrier = false;
    for (std::uint32_t i : active_) barrier |= peers_[i]->link->take_back();
    if (barrier && !membarrier_global()) keep_fences();
    for (std::uint32_t i : active_) peers_[i]->link->set_asleep();
    full_fence();  // pairs with the sender's, see waking.hpp
    bool nothing = true;
    for (std::uint32_t i : active_) {
        peer &p = *peers_[i];
        if (!p.gone && !p.link->waiting()) continue;
        p.link->set_awake();
        nothing = false;
    }
    if (!nothing) return false;
    for (std::uint32_t i : active_) peers_[i]->active = false;
    serving_ = nullptr;
    settled_.swap(active_);
    active_.clear();
    return true;
}

// See doubtful_sleep_ns.
void receiver::keep_fences() {
    membarrier_ = false;
    for (auto &p : peers_)
        if (p->link) p->link->keep_fences();
    set_alarm(doubtful_sleep_ns);
}

// After a sleep: looks again at those that were looked at before it. In a crowd, those that ring are enough.
void receiver::wake() {
    if (settled_.size() <= always_active)
        for (std::uint32_t i : settled_) activate(i);
    settled_.clear();
}

void receiver::rest_idle() {
    resting_.clear();
    bool barrier = false;
    for (std::uint32_t i : active_) {
        peer &p = *peers_[i];
        if (p.gone || ++p.idle_looks < idle_looks_before_rest) continue;
        barrier |= p.link->take_back();
        resting_.push_back(i);
    }
    if (barrier && !membarrier_global()) keep_fences();
    for (std::uint32_t i : resting_) peers_[i]->link->set_asleep();
    full_fence();
    for (std::uint32_t i : resting_) {
        peer &p = *peers_[i];
        if (p.link->waiting()) {
            p.link->set_awake();
            p.idle_looks = 0;
        } else {
            p.active = false;
        }
    }
    end_turn();
    std::erase_if(active_, [&](std::uint32_t i) { return !peers_[i]->active; });
}

bool receiver::something_there() const {
    for (std::uint32_t i : active_)
        if (peers_[i]->gone || peers_[i]->link->waiting()) return true;
    return false;
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

// The next message, end or death of one active link; 0 if there is none.
inline std::int32_t receiver::take_from(std::uint32_t index, peer &p, ipc_message &out) {
    incoming::next what = p.link->take_in_order(out) ? incoming::next::message : p.link->take(out);
    if (what == incoming::next::message) {
        count_message(out, index, p);
        return IPC_MESSAGE;
    }
    if (what == incoming::next::nothing && !p.gone) return 0;
    if (what == incoming::next::continued) return go_on(index, p, out);
    return finish(index, what == incoming::next::end, what == incoming::next::broken, out);
}

// Its stream goes on in a ring of which it has told us.
std::int32_t receiver::go_on(std::uint32_t index, peer &p, ipc_message &out) {
    no_cancel here;
    if (follow(index)) return take_from(index, p, out);
    if (!p.waits) return finish(index, false, !p.gone, out);
    p.active = false;
    serving_ = nullptr;
    std::erase(active_, index);
    return 0;
}

// Nothing more comes from this sender.
std::int32_t receiver::finish(std::uint32_t index, bool end, bool broken, ipc_message &out) {
    no_cancel here;
    peer &p = *peers_[index];
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.sender = p.link->sender();
    ++(end ? counters_.ends : counters_.deaths);
    if (broken) {
        // Foreign bytes in the ring: nothing after them can be trusted.
        ++counters_.refused;
        if (!p.gone) lost(index);
    }
    p.told = true;
    p.active = false;
    serving_ = nullptr;
    std::erase(active_, index);
    drop_if_done(index);
    return end ? IPC_END : IPC_DIED;
}

// Whatever cuts a turn short, the next sender comes next: else one could be heard again and again.
inline void receiver::end_turn() {
    if (std::exchange(serving_, nullptr)) ++turn_;
}

// The next message, end or death of the active links, in turn; 0 if there is none.
std::int32_t receiver::take(ipc_message &out) {
    end_turn();
    for (std::size_t looked = 0; looked < active_.size();) {
        if (turn_ >= active_.size()) turn_ = 0;
        std::uint32_t index = active_[turn_];
        peer &p = *peers_[index];
        std::int32_t r = take_from(index, p, out);
        if (r == 0) {
            if (!p.active) continue;  // it waits for descriptors: the next is in its place
            ++looked;
            ++turn_;
            continue;
        }
        if (r == IPC_MESSAGE) {
            serving_ = &p;
            turn_left_ = messages_a_turn - 1;
        }
        return r;
    }
    return 0;
}

std::int32_t receiver::receive_any(ipc_message &out, std::int64_t timeout_ns) {
    bool due = events_.due();
    if (serving_ && turn_left_ != 0 && !due && !events_.interrupted()) {
        --turn_left_;
        if (std::int32_t r = take_from(active_[turn_], *serving_, out)) return r;
    }
    armed_ = false;
    if (!settled_.empty()) wake();
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    if (due || active_.empty()) look(0);
    if (std::int32_t r = take(out)) return r;
    if (lack_) return std::exchange(lack_, 0);
    if (timeout_ns != 0) return wait(out, timeout_ns);
    // It may have been a rush up to now; it is none any more. Those that rest tell by their bells alone.
    bool rush = events_.skips();
    if (rush) events_.no_rush();
    if (!due && ((rush && events_.due()) || counters_.links > active_.size())) {
        look(0);
        if (std::int32_t r = take(out)) return r;
    }
    return -EAGAIN;
}

std::int32_t receiver::wait(ipc_message &out, std::int64_t timeout_ns) {
    std::int64_t start = now_ns(), now = start;
    spin_.learn(start, counters_.messages);
    spin_.until([&] { return something_there() || events_.interrupted(); }, timeout_ns);
    if (timeout_ns > 0) now = now_ns();
    for (bool looked = false;; looked = true) {
        if (std::int32_t r = take(out)) return r;
        if (events_.take_interrupt()) return -ECANCELED;
        if (lack_) return std::exchange(lack_, 0);
        std::int64_t left = timeout_ns < 0 ? -1 : timeout_ns - (now - start);
        if (timeout_ns > 0 && left <= 0) {
            if (looked) return -ETIMEDOUT;
            left = 0;  // the look before the sleep was at those only who were at work
        }
        if (!settle()) continue;
        ++counters_.waits;
        show();
        int r = look(left);
        wake();
        now = now_ns();
        if (r < 0) return events_.take_interrupt() ? -ECANCELED : r;  // the handler may have called interrupt
    }
}

std::int32_t receiver::release_any(const ipc_message &message) {
    std::uint32_t index = message.link & index_mask;
    if (index >= peers_.size()) return -EINVAL;
    peer &p = *peers_[index];
    // A link that is dropped had all its messages released.
    if (!p.link || p.generation != message.link >> index_bits) return -ESTALE;
    std::int32_t r = p.link->release(message.position);
    if (r == 0) --counters_.held;
    if (r == 0 && (p.told || shut_) && p.link->held() == 0) {
        no_cancel here;
        drop(index);
    }
    return r;
}

std::int32_t receiver::arm() {
    armed_ = false;
    wake();
    look(0);
    // After the look, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (events_.take_interrupt()) return -ECANCELED;
    if (something_there() || lack_ || !settle()) return 0;
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
    for (std::uint32_t i : active_) add(*peers_[i]->link);
    for (std::uint32_t i : settled_) add(*peers_[i]->link);
    if (held != counters_.held) {  // others, which are idle or have ended, have some: seldom, and then all are asked
        backlog = 0;
        for (const auto &p : peers_)
            if (p->link) add(*p->link);
    }
    shown_links shown;
    for (std::size_t i = 0; i < peers_.size() && !shown.full(); ++i)
        if (peer &p = *peers_[i]; p.link)
            shown.add(p.link->shown(p.gone));
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
    out.id = id_;
    out.waiting_for_fds = lacks();
    for (const auto &p : peers_)
        if (p->link) out.rings += p->link->rings();
    return 0;
}

std::int32_t receiver::links(ipc_link *out, std::size_t count) {
    look(0);
    std::size_t n = 0;
    for (const auto &p : peers_) {
        if (!p->link && p->announced == 0) continue;
        if (n < count) {
            show_unlinked(out[n], p->announced, p->process, p->lack);
            out[n].struct_size = out[0].struct_size;
            if (p->link) p->link->fill(out[n]);
            if (p->link && p->gone) out[n].state = IPC_LINK_ENDED;
        }
        ++n;
    }
    return static_cast<std::int32_t>(n);
}

std::uint64_t receiver::shut() {
    if (!shut_) {
        shut_ = true;
        end_turn();
        events_.remove(listener_.get());
        listener_.reset();
        folder_.unlink(name_);
        folder_.remove_if_empty();
        for (std::uint32_t i = 0; i < peers_.size(); ++i) {
            peer &p = *peers_[i];
            if (!p.used) continue;
            if (!p.link || p.link->held() == 0)
                drop(i);
            else
                tell(p, layout::notice_kind::leaving);
        }
    }
    return counters_.held;
}

}  // namespace libipc
