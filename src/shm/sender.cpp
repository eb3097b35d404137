#include "sender.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "litter.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

using of = event_tag::of;

constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 100'000'000;
constexpr std::int64_t folder_look_ns = 1'000'000'000;
constexpr std::int64_t name_check_ns = 500'000'000;

// A ring that is full, and of which nothing is released for so long, grows. A receiver that is only slower than we are
// frees room all the time: a larger ring would be as full, and out of the cache it is slower.
constexpr std::int64_t stall_ns = 10'000'000;
// Where processors are short, a receiver may be kept from running for so long now and then, and a sender that is faster
// finds its ring full each time. So a ring that has become large already waits for longer.
constexpr std::int64_t large_stall_ns = 100'000'000;
constexpr std::uint64_t large_factor = 16;
// A receiver that takes its time for each message has been seen to: it is slow, and not gone to do something else.
constexpr std::int64_t most_stall_ns = 10'000'000'000;
constexpr std::int64_t large_retry_ns = 100'000'000;
constexpr std::int64_t growth_retry_ns = 1'000'000'000;
// A ring that is made for a large message holds three of them, so that one is filled while another is read; but it
// takes no more than this for it, nor more than there may be beside the others.
constexpr std::uint64_t most_for_overlap = 256 << 20;
// A ring that was not needed for so long is given up for the small one.
constexpr std::int64_t large_for_ns = 1'000'000'000;

// The time-out of a call that waits more than once; it runs from the first wait.
class patience {
  public:
    explicit patience(std::int64_t timeout_ns) : timeout_ns_(timeout_ns) {}
    std::int64_t left() {
        if (timeout_ns_ <= 0) return timeout_ns_;
        std::int64_t now = now_ns();
        if (start_ == 0) start_ = now;
        return std::max<std::int64_t>(timeout_ns_ - (now - start_), 1);  // start + time-out may be more than 64 bits
    }

  private:
    std::int64_t timeout_ns_, start_ = 0;
};

// Calls f(name) for each name of the receiver. False if there is none.
template <class F>
bool names_of(std::uint64_t receiver, const std::vector<std::string> &names, F f) {
    bool any = false;
    for (const std::string &name : names) {
        auto r = parse_receiver_name(name);
        if (!r || r->id != receiver) continue;
        any = true;
        f(name);
    }
    return any;
}

}  // namespace

sender::sender(endpoint where, ring_sizes sizes)
    : where_(std::move(where)),
      id_(random_id()),
      owner_(ownership::take_new()),
      events_(owner_.page()),
      membarrier_(register_membarrier()),
      own_pid_(own_pidfd()),
      space_bell_(made(make_eventfd(), "an eventfd")),
      runtime_(runtime_folder()),
      status_(where_, id_, IPC_SENDER, runtime_),
      sizes_(sizes),
      rings_(sizes.first) {
    events_.add(space_bell_.get(), {of::space_bell}, true);
    clear_litter(runtime_);
    take_name();
    try {
        for (const std::string &name : folder_.names())
            if (auto r = parse_receiver_name(name); r && r->version != layout::version && !folder_.unlink_if_dead(name))
                fail(IPC_EVERSION,
                     "a receiver on {} has memory layout {}, this sender has {}: build both with the same "
                     "version of libipc",
                     where_.url, r->version, layout::version);
        scan_due_ = true;
        look(0);
    } catch (...) {
        folder_.unlink(name_);
        folder_.remove_if_empty();
        throw;
    }
}

sender::sender(handoff::reader &state) {
    handoff::adopt(*this, state, [&] {
        links_.reserve(slots_.size());
        for (auto &slot : slots_)
            if (slot) links_.push_back(slot.get());
    });
}

sender::~sender() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        for (outgoing *link : links_) link->forget();
        for (seen_receiver &r : seen_) r.early.forget();
        vacant_early_.forget();
        rings_.forget();
        status_.forget();
        return;
    }
    folder_.unlink(name_);
    folder_.remove_if_empty();
    // A forked child may hold copies of the sockets: only shutdown tells the receivers in any case.
    for (outgoing *link : links_) shutdown(link->socket.get(), SHUT_RDWR);
    for (seen_receiver &r : seen_)
        if (r.socket) shutdown(r.socket.get(), SHUT_RDWR);
}

// ---- Names ----------------------------------------------------------------------------------------------------------

void sender::take_name() {
    libipc::fd socket(made(make_socket(SOCK_DGRAM), "a socket"));
    std::string name = sender_name({layout::version, id_, times_++});
    // Whoever leaves last removes the folder, perhaps between our opening and our binding.
    for (int tries = 0;; ++tries) {
        channel_folder folder = channel_folder::open(runtime_, where_.name);
        int r = folder.bind(socket.get(), name);
        if (r == 0) {
            folder_ = std::move(folder);
            break;
        }
        if (r != -ENOENT || tries == 100) folder.fail("make a socket", r);
    }
    name_ = std::move(name);  // a copy could find no memory, and leave the socket there
    try {
        events_.add(socket.get(), {of::knock});
    } catch (...) {
        folder_.unlink(name_);
        throw;
    }
    if (knocks_) events_.remove(knocks_.get());
    knocks_ = std::move(socket);
}

// Where nothing watches it. That is three system calls: not for each call that comes after a pause.
void sender::check_name_now_and_then() {
    if (events_.looked_at() < name_due_ns_) return;
    name_due_ns_ = events_.looked_at() + name_check_ns;
    check_own_name();
}

// Makes it again if it is not there.
void sender::check_own_name() {
    if (folder_.finds(name_)) return;
    no_cancel here;
    scan_due_ = true;
    watch_.stop(events_);
    try {
        take_name();
    } catch (const std::exception &) {
        events_.alarm_within(folder_look_ns);
    }
}

// A sender that waits without a receiver depends on its name, and on the folder, to be found.
void sender::watch_while_alone() {
    if (!links_.empty()) {
        // What the watch has not told yet, it tells no more. From here on the receivers tell.
        bool watched = static_cast<bool>(watch_);
        watch_.stop(events_);
        if (watched) check_own_name();
        return;
    }
    if (watch_) return;
    watch_ = folder_watch(folder_, events_);
    if (!watch_) events_.alarm_within(folder_look_ns);
    // What changed before the watch was there. Receivers are seen by their knock, which is waiting then.
    check_own_name();
}

// Before a sleep: who comes while it lasts must find us. Each look may take a link off or bring one, and a name that is
// made again has to be watched, and scanned for. More than a few times in a row means that something is in the way:
// then an alarm looks again.
void sender::stay_findable() {
    no_cancel here;
    for (int tries = 0; tries < 4; ++tries) {
        watch_while_alone();
        if (!scan_due_) return;
        look(0);
    }
    events_.alarm_within(folder_look_ns);
}

// ---- Links ----------------------------------------------------------------------------------------------------------

void sender::scan(const std::vector<std::string> &names) {
    // No name is used twice: those that are not there any more never come again.
    std::erase_if(declined_, [&](std::uint64_t id) { return !names_of(id, names, [](const std::string &) {}); });
    refresh_tail(true);
    seen_.reserve(seen_.size() + names.size());
    for (const std::string &name : names) {
        auto r = parse_receiver_name(name);
        if (!r || is_known(r->id)) continue;
        if (r->version == layout::version)
            see(r->id);
        else if (!folder_.unlink_if_dead(name))
            decline(r->id);
    }
    for (std::size_t i = 0; i < seen_.size();) {
        switch (meet(seen_[i], names)) {
            case meeting::linked:
                seen_.erase(seen_.begin() + static_cast<std::ptrdiff_t>(i));
                break;
            case meeting::foreign:
                decline(seen_[i].id);
                [[fallthrough]];
            case meeting::gone:
                seen_[i].gone = true;
                [[fallthrough]];
            case meeting::later:
                ++i;
        }
    }
    give_up_gone();
    if (seen_.empty()) retry_ns_ = 0;
}

bool sender::is_known(std::uint64_t id) const {
    return std::ranges::find(declined_, id) != declined_.end() ||
           std::ranges::any_of(links_, [&](outgoing *l) { return l->receiver == id; }) ||
           std::ranges::any_of(seen_, [&](const seen_receiver &r) { return r.id == id; });
}

// Somebody has a link, and is there to stay.
bool sender::has_receiver() const {
    return std::ranges::any_of(links_, [](outgoing *l) { return !l->left && !l->gone; });
}

// Nobody has taken the place of the last receiver yet, or of a first one.
bool sender::is_vacant() const {
    return std::ranges::any_of(seen_, &seen_receiver::successor) || (seen_.empty() && !has_receiver());
}

// From now on nothing is given up that it is to have. Room for it is reserved.
void sender::see(std::uint64_t id) {
    // The end is a frame like any other: each receiver gets it, also one that comes when all else is released.
    std::uint64_t start = ended_ ? end_position_ : rings_.head();
    bool first = seen_.empty() && !has_receiver();
    seen_.emplace_back(id, first, place{start, start});
}

void sender::decline(std::uint64_t id) {
    ++counters_.refused;
    declined_.push_back(id);
}

// Those are dead, closed, or none of ours. True if the place of one of them is vacant now: that of the one furthest
// behind.
bool sender::give_up_gone() {
    auto first = std::stable_partition(seen_.begin(), seen_.end(), [](const seen_receiver &r) { return !r.gone; });
    if (first == seen_.end()) return false;
    bool place_awaited = std::any_of(first, seen_.end(), [](const seen_receiver &r) { return r.successor; });
    bool others = has_receiver() || first != seen_.begin(), vacated = false;
    if (others && place_awaited) {
        // The next one takes what it would have taken: that one has got nothing yet, and misses less.
        auto next = std::find_if(seen_.begin(), first, [](const seen_receiver &r) { return r.joined(); });
        if (next != first)
            next->successor = true;
        else
            vacate({}, {});
    } else if (!others && !place_awaited) {
        auto last = std::min_element(first, seen_.end(), [](const seen_receiver &a, const seen_receiver &b) {
            return a.where.released < b.where.released;
        });
        vacate(last->where, std::move(last->early));
        vacated = true;
    }
    seen_.erase(first, seen_.end());
    return vacated;
}

// This is the place that the next receiver takes.
void sender::vacate(const place &where, early_bits early) {
    vacancy_ = served_ ? place{rings_.head(), rings_.head()} : where;
    vacant_early_ = std::move(early);
    leaver_ = nullptr;
}

// Makes a link with a receiver, if that can be. What is in the way now need not be for ever: its backlog is full, or
// there are too many descriptors open, or on their way.
sender::meeting sender::meet(seen_receiver &r, const std::vector<std::string> &names) try {
    bool first_time = r.lack == 0;
    if (int error = reach(r, names); error < 0) {
        r.lack = error;
        if (error == -ECONNREFUSED) return meeting::gone;   // dead for certain: nobody listens
        if (error == -EACCES) return meeting::gone;         // its owner keeps us out: it is none of our user's
        if (error == -EPROTOTYPE) return meeting::foreign;  // another kind of socket than ours
        if (error != -ENOENT) return meeting::later;
        // Closed; or its name was deleted, which it makes again within a second.
        if (r.missing_since_ns == 0) r.missing_since_ns = now_ns();
        return first_time || now_ns() - r.missing_since_ns > 2 * folder_look_ns ? meeting::gone : meeting::later;
    }
    r.missing_since_ns = 0;
    ucred who = peer_of(r.socket.get());
    if (who.uid != geteuid()) return meeting::foreign;
    r.process = who.pid;
    // Whether a receiver lives that has not answered yet. Without a pidfd there is the hang-up alone.
    int number = peer_pidfd(r.socket.get());
    bool told = number != -ENOPROTOOPT;
    if (!told && who.pid > 0) number = pidfd_of(who.pid);
    libipc::fd pid(number);
    if (number == -ESRCH || (pid && has_ended(number))) return meeting::gone;
    r.lack = number == -EMFILE || number == -ENFILE || number == -ENOMEM ? number
                                                                         : greet(r, std::move(pid), !told && own_pid_);
    if (r.lack == 0) return meeting::linked;
    say_waiting(r);
    return meeting::later;
} catch (const std::bad_alloc &) {
    r.lack = -ENOMEM;
    return meeting::later;
}

// Connects to a receiver under one of its names, if it is not connected. 0 or -errno.
int sender::reach(seen_receiver &r, const std::vector<std::string> &names) {
    if (r.socket && is_connected(r.socket.get())) return 0;
    bool hung_up = static_cast<bool>(r.socket);
    r.socket.reset();
    r.told = false;
    int error = hung_up ? -ECONNREFUSED : -ENOENT;
    bool stop = false;
    names_of(r.id, names, [&](const std::string &name) {
        if (stop) return;
        int number = make_socket(SOCK_SEQPACKET);
        libipc::fd socket(number);
        // Whether somebody is there a datagram tells, too.
        error = socket                                                ? folder_.connect(number, name)
                : folder_.knock(knocks_.get(), name) == -ECONNREFUSED ? -ECONNREFUSED
                                                                      : number;
        // Nobody will listen under this name again, but perhaps it has another one by now.
        if (error == -ECONNREFUSED) folder_.unlink(name);
        stop = error != -ECONNREFUSED && error != -ENOENT;
        if (error == 0) r.socket = std::move(socket);
    });
    return error;
}

// Hands the rings over in one message, without waiting to be accepted. 0: there is a link; or -errno. Throws bad_alloc.
int sender::greet(seen_receiver &r, libipc::fd pid, bool with_pid) {
    const place &where = r.successor ? vacancy_ : r.where;
    std::uint64_t start = std::max(where.released, rings_.tail());
    if (ended_) start = std::min(start, end_position_);
    std::uint64_t tail = std::min(rings_.tail(), start);
    layout::hello hello{};
    std::array<int, most_fds> fds{};
    rings_.each([&](const layout::ring_place &ring, int file) {
        fds[layout::first_ring_fd + hello.rings] = file;
        hello.ring[hello.rings++] = ring;
    });
    std::unique_ptr<outgoing> link;
    try {
        link = std::make_unique<outgoing>(std::span(hello.ring, hello.rings), tail, start);
    } catch (const failure &f) {
        return f.code;
    }
    link->succeed(where, r.successor ? vacant_early() : r.early);
    link->pid = std::move(pid);
    link->process = r.process;
    link->receiver = r.id;

    hello.head = {layout::hello_magic, layout::version, sizeof hello};
    hello.sender = id_;
    hello.start = start;
    hello.start_sequence = counters_.messages + 1 - messages_from(start);
    hello.oldest = tail;
    hello.oldest_sequence = counters_.messages + 1 - messages_from(tail);
    hello.redelivered_until = std::max(start, link->redelivered_until());
    hello.committed = rings_.head();
    hello.membarrier = membarrier_;
    hello.pid = getpid();
    hello.with_pid = with_pid;
    fds[layout::link_fd] = link->memory_file();
    fds[layout::space_bell_fd] = space_bell_.get();
    fds[layout::first_ring_fd + hello.rings] = own_pid_.get();

    std::size_t slot = 0;
    while (slot < slots_.size() && slots_[slot]) ++slot;
    if (slot == slots_.size()) {
        // Room everywhere before anything grows: if there is no memory for one more, all is as it was.
        links_.reserve(slot + 1);
        generations_.reserve(slot + 1);
        slots_.emplace_back();
        generations_.push_back(0);
    }
    link->index = static_cast<std::uint32_t>(slot);
    int socket = r.socket.get();
    // Watched before the hello goes out: a receiver that has it has a sender.
    int error = events_.try_add(socket, {of::peer_socket, link->index, generations_[slot]});
    if (error == 0 && link->pid)
        error = events_.try_add(link->pid.get(), {of::peer_pid, link->index, generations_[slot]});
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
    links_.push_back(link.get());
    slots_[slot] = std::move(link);
    if (r.successor) vacate({}, {});  // its link is the place now, bits and all
    if (awaited()) links_.back()->sleep_until(awaited());
    return 0;
}

// Once on each connection.
void sender::say_waiting(seen_receiver &r) {
    if (r.told) return;
    layout::waiting w{{layout::waiting_magic, layout::version, sizeof w}, id_, r.lack, 0};
    r.told = send_with_fds(r.socket.get(), std::as_bytes(std::span(&w, 1)), {}) == 0;
}

void sender::read_socket(outgoing &link) {
    // The rest is read at the next look: whoever talks without end keeps nobody up.
    for (int times = 0, resets = 0; times < 16; ++times) {
        std::array<libipc::fd, most_fds> fds;
        union {
            layout::preamble head;
            layout::answer answer;
            layout::notice notice;
        } said{};
        received got = receive_with_fds(link.socket.get(), std::as_writable_bytes(std::span(&said, 1)), fds);
        if (got.size == -EAGAIN || got.size == -EINTR) return;
        if (got.size == -ECONNRESET && ++resets < 3) continue;
        if (got.size <= 0) {
            link.gone = someone_gone_ = true;
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
        events_.try_add(fds[1].get(), {of::peer_pid, link.index, generations_[link.index]}) == 0)
        link.pid = std::move(fds[1]);
    return true;
}

bool sender::hear(outgoing &link, const layout::notice &notice) {
    switch (notice.what) {
        case layout::notice_kind::moved:
            scan_due_ = true;
            check_own_name();
            return true;
        case layout::notice_kind::leaving:
            if (!std::exchange(link.left, true)) someone_gone_ = true;
            return true;
        default:
            return false;
    }
}

// It refuses us, or what it says or writes is nothing that a receiver does. Counted once.
void sender::refuse(outgoing &link) {
    if (!std::exchange(link.refused, true)) ++counters_.refused;
    link.gone = someone_gone_ = true;
}

// Takes off the links that are gone. If no receiver is left, the place of the last one becomes vacant; of several that
// went at once, the one that was furthest behind counts.
void sender::drop_gone() {
    if (!someone_gone_) return;
    no_cancel here;
    std::vector<std::string> names = folder_.names();
    declined_.reserve(declined_.size() + names.size());
    seen_.reserve(seen_.size() + links_.size());  // from here on nothing asks for memory
    std::uint64_t head = rings_.head();
    for (outgoing *link : links_) {
        if (!link->gone) continue;
        if (!link->refresh(head)) refuse(*link);
        // Someone has all, and the end: then nothing is kept for who might come.
        served_ |= ended_ && link->released() > end_position_;
        if (is_to_be_met_again(*link, names)) see_again(*link);
    }
    for (seen_receiver &r : seen_) r.gone = is_dead(r, names);
    bool vacated = give_up_gone();
    bool others = has_receiver() || !seen_.empty();
    outgoing *last = nullptr;
    std::uint64_t seen_until = 0;  // by any of them
    for (outgoing *link : links_) {
        if (!link->gone && !link->left) continue;
        if (!link->refresh(head)) refuse(*link);
        bool made_up = !rings_.starts_frame(std::max(link->where().released, rings_.tail()));
        if (made_up) {
            // Nobody knows what it had released: its successor starts with what comes next.
            refuse(*link);
            if (link == leaver_ || !others) vacate({head, head}, {});
        }
        if (std::exchange(link->handed_over, true) || made_up) continue;
        if (!last || link->where().released < last->where().released) last = link;
        if (place at = link->where(); at.released < at.delivered) seen_until = std::max(seen_until, at.delivered);
    }
    if (last && !others && !(vacated && vacancy_.released < last->where().released)) {
        last->mark_until(seen_until);
        leaver_ = last;
    }
    if (served_ && !others) vacate({}, {});
    if (leaver_) vacancy_ = leaver_->where();

    for (outgoing *&link : links_) {
        if (!link->gone) continue;
        if (link == leaver_) {
            vacant_early_ = link->take_early();
            leaver_ = nullptr;
        }
        // One that is known to be dead, or lives and wants no more of us.
        names_of(link->receiver, names, [&](const std::string &name) {
            if (!folder_.unlink_if_dead(name) && !link->met_again) declined_.push_back(link->receiver);
        });
        events_.remove(link->socket.get());
        if (link->pid) events_.remove(link->pid.get());
        shutdown(link->socket.get(), SHUT_RDWR);
        std::uint32_t index = link->index;
        ++generations_[index];
        slots_[index].reset();
        link = nullptr;
    }
    std::erase(links_, nullptr);
    someone_gone_ = false;  // not before: if there was no memory for the names, the rest is due
}

bool sender::is_dead(const seen_receiver &r, const std::vector<std::string> &names) const {
    if (r.socket) return !is_connected(r.socket.get());
    bool refused = false, lives = false;
    names_of(r.id, names, [&](const std::string &name) { (folder_.unlink_if_dead(name) ? refused : lives) = true; });
    return refused && !lives;
}

// It hung up without an answer, and lives: it may have had no room for us yet.
bool sender::is_to_be_met_again(const outgoing &link, const std::vector<std::string> &names) const {
    if (link.answered || link.refused || link.handed_over || (link.pid && has_ended(link.pid.get()))) return false;
    bool lives = false;
    names_of(link.receiver, names, [&](const std::string &name) { lives |= !folder_.unlink_if_dead(name); });
    return lives && rings_.starts_frame(std::max(link.where().released, rings_.tail()));
}

// It keeps its place.
void sender::see_again(outgoing &link) {
    place where = link.where();
    seen_receiver &r = seen_.emplace_back(link.receiver, false, where);
    r.early = link.take_early();
    r.process = link.process;
    link.met_again = link.handed_over = true;
    events_.alarm_within(last_retry_ns);
}

// ---- Events ---------------------------------------------------------------------------------------------------------

void sender::handle(event_tag tag) {
    switch (tag.kind) {
        case of::knock: {
            std::byte byte;
            for (int i = 0; i < 64 && receive_bytes(knocks_.get(), {&byte, 1}) >= 0; ++i) {
            }
            scan_due_ = true;
            return;
        }
        case of::timer:
            events_.drain_alarm();
            scan_due_ = true;
            if (!watch_) check_own_name();
            return;
        case of::folder:
            watch_.take([](std::string_view) {});
            scan_due_ = true;
            return check_own_name();
        case of::peer_socket:
        case of::peer_pid:
            if (tag.index >= slots_.size() || !slots_[tag.index] ||
                (generations_[tag.index] & 0xffffff) != tag.generation)
                return;
            if (tag.kind == of::peer_socket) return read_socket(*slots_[tag.index]);
            slots_[tag.index]->gone = someone_gone_ = true;
            return;
        default:
            return;  // an interrupt says all by its flag, the space bell by the receivers' words
    }
}

int sender::look(std::int64_t timeout_ns) {
    no_cancel here;
    bool came = false;
    auto take = [&](std::int64_t timeout) {
        return events_.take(timeout, [&](event_tag tag) {
            came = true;
            handle(tag);
        });
    };
    int r = take(timeout_ns);
    drop_gone();
    if (scan_due_) {
        // All that went are taken off before a newcomer is placed: whoever had gone when it opened has done so by the
        // time that its name is read, and is heard of now.
        std::vector<std::string> names = folder_.names();
        scan_due_ = false;  // a knock that is heard now makes the next scan due
        try {
            take(0);
            drop_gone();
            scan(names);
        } catch (...) {
            scan_due_ = true;
            throw;
        }
        if (!seen_.empty()) {
            retry_ns_ = std::clamp(2 * retry_ns_, first_retry_ns, last_retry_ns);
            events_.alarm_within(retry_ns_);
        }
    }
    show();
    // Stats or links between arm and the wait: what they took was to wake the host.
    if (armed_ && came) events_.stay_ready();
    return r;
}

// ---- Writing --------------------------------------------------------------------------------------------------------

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
    if (someone_gone_) {
        drop_gone();
        return refresh_tail(thoroughly);
    }
    if (leaver_) vacancy_ = leaver_->where();
    for (const seen_receiver &r : seen_)
        if (!r.successor) least = std::min(least, std::max(r.where.released, rings_.tail()));
    if (is_vacant()) least = std::min(least, std::max(vacancy_.released, rings_.tail()));
    if (!rings_.reclaim(least)) return;
    vacant_early_.drop_before(rings_.oldest_base());
}

bool sender::free_up_to(std::uint64_t position) {
    if (rings_.tail() >= position) return true;
    refresh_tail();
    return rings_.tail() >= position;
}

std::int32_t sender::reserve_any(std::size_t size, void *&data, std::int64_t timeout_ns) {
    if (ended_) return -EPIPE;
    if (reserved_) return -EINVAL;
    bool large = size > sizes_.first / 2;
    if (large && size > sizes_.most / 2) return -EMSGSIZE;
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    bool due = events_.due();
    if (due && !watch_) check_name_now_and_then();
    // Without a link: whoever comes next may wait for this very message, and no other call need follow.
    if (due || links_.empty()) look(0);
    // Each wait may bring a receiver that can't be linked yet.
    patience patience(timeout_ns);
    do {
        if (!seen_.empty())
            if (std::int32_t r = await_links(patience.left()); r < 0) return r;
        if (large) {
            if (std::int32_t r = make_large(size, patience.left()); r < 0) return r;
        } else if (due) {
            shrink_if_idle();
        }
        // It may have grown meanwhile, and is empty then.
        while (!rings_.now().fits(size)) {
            std::uint64_t needs = rings_.now().room_needs(size);
            if (free_up_to(needs)) break;
            if (std::int32_t r = wait(needs, patience.left(), room_awaited_, true); r < 0) return r;
        }
    } while (!seen_.empty());
    forget_awaited();
    if (stalled_since_ns_ != 0) end_stall(now_ns());  // also where a look had found the room
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
    if (ended_) return;
    reserved_ = false;
    ended_ = true;
    end_position_ = rings_.head();
    rings_.now().commit_last(layout::kind::end);  // its room is always kept back
    ring_receivers();
    look(0);  // whoever came since the last call may wait for it, and no other call need follow
}

void sender::ring(outgoing &link) {
    no_cancel here;
    link.ring();
    ++counters_.rings;
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
    for (outgoing *link : links_) link->give_leave(membarrier_);
}

// ---- Waiting for room -----------------------------------------------------------------------------------------------

// Arms the space bell in each link that keeps `position`. True if it is still kept: the caller may sleep.
bool sender::settle(std::uint64_t position) {
    stay_findable();
    bool barrier = false;
    awake_messages_ = 0;
    for (outgoing *link : links_) barrier |= link->take_back();
    if (barrier && !membarrier_global()) {
        membarrier_ = false;
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

// Until every receiver has released all before `position`, or the stream has gone on in a larger ring. `awaited` is
// where it is noted if it has to be waited for elsewhere.
std::int32_t sender::wait(std::uint64_t position, std::int64_t timeout_ns, std::uint64_t &awaited, bool may_grow) {
    forget_awaited();
    awaited = awaited == 0 ? position : std::min(awaited, position);
    awaited_in_ = rings_.now().base();
    std::int64_t start = now_ns(), now = start;
    if (timeout_ns == 0) {
        // Bytes may be held by a receiver that is gone: a look would tell.
        look(0);
        if (free_up_to(position)) return 0;
        return may_grow && until_growth(now) == 0 && grow() ? 0 : -EAGAIN;
    }
    spin_.learn(start, counters_.messages);
    spin_.until([&] { return free_up_to(position) || events_.interrupted(); }, timeout_ns);
    if (timeout_ns > 0) now = now_ns();
    for (bool looked = false;; looked = true) {
        if (free_up_to(position)) {
            if (may_grow) end_stall(now);
            forget_awaited();
            return 0;
        }
        if (events_.take_interrupt()) return -ECANCELED;
        std::int64_t growth = may_grow ? until_growth(now) : -1;
        if (growth == 0) {
            if (grow()) return 0;
            growth = until_growth(now);
        }
        std::int64_t left = timeout_ns < 0 ? -1 : timeout_ns - (now - start);
        if (timeout_ns > 0 && left <= 0) {
            if (looked) return -ETIMEDOUT;
            left = 0;  // who holds the room may be gone
        }
        if (growth > 0) left = left < 0 ? growth : std::min(left, growth);
        // With as many rings as may be, it grows when the oldest has gone.
        std::uint64_t until = may_grow && ring_awaited_ > rings_.tail() ? std::min(position, ring_awaited_) : position;
        // To settle may be to look, and so to take the bell of an interrupt.
        if (!settle(until) || events_.interrupted()) {
            now = now_ns();
            continue;
        }
        ++counters_.waits;
        show();
        int r = look(left);
        wake();
        now = now_ns();
        if (r < 0) return events_.take_interrupt() ? -ECANCELED : r;  // the handler may have called interrupt
    }
}

// Until all receivers that were seen have a link: whoever goes on to wait elsewhere would never make it. Each wake-up
// is the alarm, by which it is tried again, or more of them.
std::int32_t sender::await_links(std::int64_t timeout_ns) {
    std::int64_t start = now_ns();
    for (bool looked = false; !seen_.empty(); looked = true) {
        if (timeout_ns == 0) {
            links_awaited_ = true;
            return -EAGAIN;
        }
        if (events_.take_interrupt()) return -ECANCELED;
        std::int64_t left = timeout_ns < 0 ? -1 : timeout_ns - (now_ns() - start);
        if (timeout_ns > 0 && left <= 0) {
            if (looked) return -ETIMEDOUT;
            left = 0;
        }
        ++counters_.waits;
        show();
        int r = look(left);
        if (r < 0) return events_.take_interrupt() ? -ECANCELED : r;
    }
    links_awaited_ = false;
    return 0;
}

// ---- Rings ----------------------------------------------------------------------------------------------------------

// Each of them is what it may be at the most, or smaller; but those that wait to be released add up.
bool sender::too_many_with(std::uint64_t capacity) const {
    return rings_.full() || rings_.bytes() + capacity > 2 * sizes_.most;
}

// The stream goes on in another ring, of which each receiver is told before. 0, or an error, and nothing has changed.
std::int32_t sender::go_on_in(std::uint64_t capacity) {
    no_cancel here;
    if (too_many_with(capacity)) return -EAGAIN;
    layout::ring_place next{rings_.next_base(), capacity};
    if (std::any_of(links_.begin(), links_.end(), [](outgoing *l) { return !l->left && !l->gone && l->full(); }))
        return -EAGAIN;
    std::int32_t error = 0;
    // One that is closed reads no more, and one that is gone will not miss it.
    auto each = [&](auto f) {
        for (outgoing *link : links_)
            if (!link->left && !link->gone) f(*link);
    };
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
    large_until_ns_ = coarse_now_ns() + large_for_ns;
    stalled_since_ns_ = 0;
    ring_receivers();  // whoever sleeps could not know that the ring before is done with
    return 0;
}

// A message of more than half the first ring.
std::int32_t sender::make_large(std::size_t size, std::int64_t timeout_ns) {
    large_until_ns_ = coarse_now_ns() + large_for_ns;
    retry_large_ns_ = 0;
    std::uint64_t least = std::min(std::bit_ceil(2 * std::uint64_t{size}), sizes_.most);
    std::uint64_t best = std::min(std::max(least, std::min(2 * least, most_for_overlap)), sizes_.most);
    std::int64_t start = now_ns();
    while (size > rings_.now().most()) {
        refresh_tail();
        std::uint64_t capacity = too_many_with(best) ? least : best;
        std::int32_t r = go_on_in(capacity);
        if (r != -EAGAIN) {
            if (r < 0) return r;
            break;
        }
        std::int64_t now = now_ns(), left = timeout_ns < 0 ? -1 : timeout_ns - (now - start);
        if (too_many_with(capacity)) {  // the oldest has to go first
            left = timeout_ns <= 0 ? timeout_ns : std::max<std::int64_t>(left, 1);
            if (r = wait(rings_.oldest_continued(), left, ring_awaited_); r < 0) return r;
            continue;
        }
        // Too much is on the way to receivers that have not looked. As with hellos, it is tried again.
        if (timeout_ns == 0) {
            forget_awaited();
            retry_large_ns_ = now + large_retry_ns;
            return -EAGAIN;
        }
        if (timeout_ns > 0 && left <= 0) return -ETIMEDOUT;
        r = look(left < 0 ? large_retry_ns : std::min(left, large_retry_ns));
        if (events_.take_interrupt()) return -ECANCELED;
        if (r < 0) return r;
    }
    forget_awaited();
    return 0;
}

// Something was released, for which a reserve has waited.
void sender::end_stall(std::int64_t now_ns) {
    if (stalled_since_ns_ != 0)
        stalled_for_ns_ = std::min(std::max(now_ns - stalled_since_ns_, stalled_for_ns_ * 7 / 8), most_stall_ns / 4);
    stalled_since_ns_ = 0;
}

// Nanoseconds until the ring, which has no room, is to grow; -1 if it is not.
std::int64_t sender::until_growth(std::int64_t now_ns) {
    if (rings_.now().capacity() >= sizes_.most) return -1;
    if (too_many_with(larger())) {
        ring_awaited_ = rings_.oldest_continued();
        return -1;
    }
    if (stalled_at_ != rings_.tail() || stalled_since_ns_ == 0) {
        end_stall(now_ns);
        stalled_at_ = rings_.tail();
        stalled_since_ns_ = now_ns;
    }
    bool large = rings_.now().capacity() >= large_factor * sizes_.first;
    std::int64_t stall = std::max(large ? large_stall_ns : stall_ns, 4 * stalled_for_ns_);
    std::int64_t due = std::max(stalled_since_ns_ + stall, growth_due_ns_);
    return std::max<std::int64_t>(due - now_ns, 0);
}

// If there is no memory for more, the sender is held up, as with a ring of a fixed size.
bool sender::grow() {
    if (go_on_in(larger()) < 0) {
        growth_due_ns_ = now_ns() + growth_retry_ns;
        return false;
    }
    forget_awaited();
    return true;
}

// True if a reserve that was refused is to be made again, which is told once: it may grow the ring. The host is woken
// when that will be so.
bool sender::retry_due() {
    std::int64_t now = now_ns(), left = -1;
    if (retry_large_ns_ != 0) {
        left = std::max<std::int64_t>(retry_large_ns_ - now, 0);
    } else if (ring_awaited_ != 0 && free_up_to(ring_awaited_)) {
        left = 0;
    } else if (room_awaited_ != 0) {
        if (free_up_to(room_awaited_) || awaited_in_ != rings_.now().base()) return true;
        left = until_growth(now);
    }
    if (left > 0) events_.alarm_within(left);
    if (left == 0) retry_large_ns_ = room_awaited_ = ring_awaited_ = 0;
    return left == 0;
}

// At a look, and never while somebody fills a reservation: it stays where it is.
void sender::shrink_if_idle() {
    if (rings_.now().capacity() <= sizes_.first || reserved_ || ended_) return;
    refresh_tail();
    std::int64_t now = coarse_now_ns();
    bool needed = rings_.head() - rings_.tail() > sizes_.first / 2;
    if (!needed && now < large_until_ns_) return;
    if (needed || go_on_in(sizes_.first) < 0) large_until_ns_ = now + large_for_ns;
}

std::int32_t sender::flush(std::int64_t timeout_ns) {
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    look(0);
    shrink_if_idle();
    // The end is no message, nor is a `continued`: a receiver need not have taken them.
    std::uint64_t until = rings_.before_continued(ended_ ? end_position_ : rings_.head());
    if (free_up_to(until)) {
        forget_awaited();
        return 0;
    }
    std::int32_t r = wait(until, timeout_ns, flush_awaited_);
    if (r != -EAGAIN && r != -ETIMEDOUT) return r;
    return static_cast<std::int32_t>(std::min<std::uint64_t>(unreleased(), INT32_MAX));
}

std::int32_t sender::arm() {
    armed_ = false;
    wake();
    look(0);
    shrink_if_idle();
    bool due = retry_due();
    if (links_awaited_ && seen_.empty()) due = !(links_awaited_ = false);
    stay_findable();
    bool nothing = !due && (awaited() == 0 || settle(awaited()));
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
    std::int64_t start = now_ns();
    std::int32_t r;
    do r = flush(linger_ns < 0 ? -1 : std::max<std::int64_t>(linger_ns - (now_ns() - start), 0));
    while (r == -EINTR);
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
    bool vacant = is_vacant();
    std::uint64_t n = 0;
    rings_.each_frame(rings_.tail(), [&](std::uint64_t position, layout::kind kind) {
        if (kind != layout::kind::message) return;
        n += (vacant && position >= vacancy_.released &&
              !(position < vacancy_.delivered && vacant_early().test(position))) ||
             std::ranges::any_of(links_, [&](outgoing *l) { return l->needs(position); }) ||
             std::ranges::any_of(seen_, [&](const seen_receiver &r) { return r.needs(position); });
    });
    return n;
}

void sender::show() {
    std::uint64_t head = rings_.head();
    shown_links shown;
    for (std::size_t i = 0; i < links_.size() && !shown.full(); ++i) shown.add(links_[i]->shown(head));
    for (std::size_t i = 0; i < seen_.size() && !shown.full(); ++i) {
        const seen_receiver &r = seen_[i];
        std::uint64_t at = place_of(r).released;
        layout::status_link link = unlinked(r.id, r.process, r.lack);
        link.committed = head;
        link.delivered = link.released = at;
        shown.add(link);
    }
    status_.show({counters_.messages, counters_.bytes, head - rings_.tail(), rings_.now().capacity(), 0, 0,
                  links_.size() + seen_.size()},
                 shown);
}

std::int32_t sender::stats(ipc_sender_counters &out) {
    look(0);
    shrink_if_idle();
    refresh_tail(true);
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.id = id_;
    out.capacity = rings_.now().capacity();
    out.used = rings_.head() - rings_.tail();
    out.unreleased = unreleased();
    out.links = links_.size();
    out.unlinked = seen_.size();
    out.largest = sizes_.most / 2;
    return 0;
}

std::int32_t sender::links(ipc_link *out, std::size_t count) {
    look(0);
    shrink_if_idle();
    refresh_tail(true);
    for (std::size_t i = 0; i < links_.size() && i < count; ++i) {
        out[i].struct_size = out[0].struct_size;
        links_[i]->fill(out[i], rings_.head());
        out[i].behind = messages_from(std::max(out[i].delivered, rings_.tail()));
    }
    std::size_t n = links_.size();
    for (const seen_receiver &r : seen_) {
        if (n < count) {
            std::uint64_t at = std::max(place_of(r).released, rings_.tail());
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
