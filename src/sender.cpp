#include "sender.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "failure.hpp"

namespace libipc {

namespace {

using of = event_tag::of;

constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 100'000'000;
constexpr std::int64_t folder_look_ns = 1'000'000'000;
}  // namespace

sender::sender(endpoint where, std::uint64_t capacity)
    : where_(std::move(where)),
      id_(random_id()),
      owner_(ownership::take_new()),
      events_(owner_.page()),
      membarrier_(register_membarrier()),
      own_pid_(made(pidfd_of(getpid()), "a pidfd")),
      space_bell_(made(make_eventfd(), "an eventfd")),
      runtime_(runtime_folder()),
      status_(where_, id_, IPC_SENDER, runtime_),
      ring_memory_(make_ring(capacity)),
      ring_(ring_memory_.map.get(), capacity) {
    events_.add(space_bell_.get(), {of::space_bell}, true);
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
    try {
        hand_over(state);
        links_.reserve(slots_.size());
        for (auto &slot : slots_)
            if (slot) links_.push_back(slot.get());
        owner_.await(state.turn());
    } catch (...) {
        handoff::leaver leave;
        hand_over(leave);
        throw;
    }
}

sender::~sender() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        for (outgoing *link : links_) link->forget();
        vacancy_.memory.map.forget();
        ring_memory_.map.forget();
        status_.forget();
        return;
    }
    folder_.unlink(name_);
    folder_.remove_if_empty();
    // A forked child may hold copies of the sockets: only shutdown tells the receivers in any case.
    for (outgoing *link : links_) shutdown(link->socket.get(), SHUT_RDWR);
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

bool sender::name_is_there() const { return folder_.still_there() && folder_.has(name_); }

// A receiver made its name again, or we are alone and something in the folder changed: is ours still there?
void sender::check_own_name() {
    no_cancel here;
    scan_due_ = true;
    if (name_is_there()) return;
    unwatch();
    try {
        take_name();
    } catch (const std::exception &) {
        events_.set_alarm(folder_look_ns);
    }
}

void sender::unwatch() {
    if (!watch_) return;
    events_.remove(watch_.get());
    watch_ = folder_watch();
}

// A sender that waits without a receiver depends on its name, and on the folder, to be found.
void sender::watch_while_alone() {
    if (!links_.empty()) return unwatch();
    if (watch_) return;
    watch_ = folder_watch(folder_);
    if (watch_ && events_.try_add(watch_.get(), {of::folder}) < 0) watch_ = folder_watch();
    if (!watch_) events_.set_alarm(folder_look_ns);
    // What changed before the watch was there. Receivers are seen by their knock, which is waiting then.
    if (!name_is_there()) check_own_name();
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
    events_.set_alarm(folder_look_ns);
}

// ---- Links ----------------------------------------------------------------------------------------------------------

void sender::scan(const std::vector<std::string> &names) {
    unlinked_ = 0;
    // No name is used twice: those that are not there any more never come again.
    std::erase_if(declined_, [&](std::uint64_t id) {
        return std::none_of(names.begin(), names.end(), [&](const std::string &name) {
            auto r = parse_receiver_name(name);
            return r && r->id == id;
        });
    });
    for (const std::string &name : names) {
        auto r = parse_receiver_name(name);
        bool known = !r || std::find(declined_.begin(), declined_.end(), r->id) != declined_.end() ||
                     std::any_of(links_.begin(), links_.end(), [&](outgoing *l) { return l->receiver == r->id; });
        if (known) continue;
        if (r->version == layout::version)
            connect(name, r->id);
        else if (!folder_.unlink_if_dead(name))
            decline(r->id);
    }
    if (unlinked_ == 0) retry_ns_ = 0;
}

void sender::retry_later() { ++unlinked_; }

void sender::decline(std::uint64_t id) {
    ++counters_.refused;
    declined_.push_back(id);
}

// Connects, and hands the ring over in one message, without waiting to be accepted. What is in the way now but need not
// be for ever (a full backlog, too many descriptors in flight or open) is tried again.
void sender::connect(const std::string &name, std::uint64_t id) {
    libipc::fd socket(make_socket(SOCK_SEQPACKET));
    if (!socket) return retry_later();
    if (int r = folder_.connect(socket.get(), name); r < 0) {
        if (r == -ECONNREFUSED)
            folder_.unlink(name);  // dead for certain: nobody listens, and nobody will under this name
        else if (r == -EPROTOTYPE)
            decline(id);  // another kind of socket than ours
        else if (r != -ENOENT)
            retry_later();
        return;
    }
    ucred who = peer_of(socket.get());
    if (who.uid != geteuid()) return decline(id);
    refresh_tail(true);
    bool others = std::any_of(links_.begin(), links_.end(), [](outgoing *l) { return !l->left; });
    std::uint64_t head = ring_.head().position, tail = ring_.tail();
    std::uint64_t start = !others ? vacancy_.released : ended_ ? end_position_ : head;
    // The end is a frame like any other: each receiver gets it, also one that comes when all else is released.
    if (ended_) start = std::min(start, end_position_);
    tail = std::min(tail, start);
    std::unique_ptr<outgoing> link;
    try {
        link = std::make_unique<outgoing>(ring_.capacity(), tail, start, others ? nullptr : &vacancy_);
    } catch (const failure &) {
        return retry_later();
    }
    link->data_bell = libipc::fd(make_eventfd());
    // Whether a receiver lives that has not answered yet. Of another pid namespace there is the hang-up alone.
    if (who.pid > 0) {
        int pid = pidfd_of(who.pid);
        if (pid == -ESRCH) return;
        link->pid = libipc::fd(pid);
    }
    if (!link->data_bell || (who.pid > 0 && !link->pid)) return retry_later();
    link->process = who.pid;
    link->receiver = id;

    layout::hello hello{};
    hello.head = {layout::hello_magic, layout::version, sizeof hello};
    hello.sender = id_;
    hello.capacity = ring_.capacity();
    hello.start = start;
    hello.start_sequence = counters_.messages + 1 - messages_from(start);
    hello.oldest = tail;
    hello.oldest_sequence = counters_.messages + 1 - messages_from(tail);
    hello.redelivered_until = link->redelivered_until();
    hello.committed = head;
    hello.membarrier = membarrier_;
    hello.pid = getpid();
    std::array<int, layout::hello_fds> fds{};
    fds[layout::ring_fd] = ring_memory_.file.get();
    fds[layout::link_fd] = link->memory_file();
    fds[layout::data_bell_fd] = link->data_bell.get();
    fds[layout::space_bell_fd] = space_bell_.get();
    fds[layout::sender_pid_fd] = own_pid_.get();

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
    link->socket = std::move(socket);
    // Watched before the hello goes out: a receiver that has it has a sender.
    if (events_.try_add(link->socket.get(), {of::peer_socket, link->index, generations_[slot]}) < 0 ||
        (link->pid && events_.try_add(link->pid.get(), {of::peer_pid, link->index, generations_[slot]}) < 0) ||
        send_with_fds(link->socket.get(), std::as_bytes(std::span(&hello, 1)), fds) < 0) {
        events_.remove(link->socket.get());
        events_.remove(link->pid.get());
        return retry_later();
    }
    link->close_memory_file();
    links_.push_back(link.get());
    slots_[slot] = std::move(link);
    if (!others) {  // its link is the place now, bits and all
        vacancy_ = {};
        leaver_ = nullptr;
    }
    if (awaited_) links_.back()->sleep_until(awaited_);
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
        bool good = is(layout::answer_magic, sizeof said.answer)   ? hear(link, said.answer, std::move(fds[0]))
                    : is(layout::notice_magic, sizeof said.notice) ? hear(link, said.notice)
                                                                   : false;
        if (!good) return refuse(link);
    }
}

// False if that is none, or a refusal.
bool sender::hear(outgoing &link, const layout::answer &answer, libipc::fd pid) {
    if (std::exchange(link.answered, true) || answer.refused) return false;
    link.receiver_membarrier = answer.membarrier != 0;
    if (!link.pid && pid && is_anon_inode(pid.get(), "anon_inode:[pidfd]") &&
        events_.try_add(pid.get(), {of::peer_pid, link.index, generations_[link.index]}) == 0)
        link.pid = std::move(pid);
    return true;
}

bool sender::hear(outgoing &link, const layout::notice &notice) {
    switch (notice.what) {
        case layout::notice_kind::moved:
            check_own_name();
            return true;
        case layout::notice_kind::leaving:
            if (!std::exchange(link.left, true)) someone_gone_ = true;
            return true;
    }
    return false;
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
    bool others = std::any_of(links_.begin(), links_.end(), [](outgoing *l) { return !l->left && !l->gone; });
    std::uint64_t head = ring_.head().position;
    outgoing *last = nullptr;
    for (outgoing *link : links_) {
        if (!link->gone && !link->left) continue;
        if (!link->refresh(head)) refuse(*link);
        bool made_up = !ring_.starts_frame(link->where().released);
        if (made_up) {
            // Nobody knows what it had released: its successor starts with what comes next.
            refuse(*link);
            if (link == leaver_) leaver_ = nullptr;
            if (!others && !leaver_) vacancy_ = {head, head, {}, {}};
        }
        if (std::exchange(link->handed_over, true) || made_up) continue;
        if (!last || link->where().released < last->where().released) last = link;
    }
    if (last && !others) leaver_ = last;
    if (leaver_) vacancy_ = leaver_->where();

    std::vector<std::string> names = folder_.names();
    declined_.reserve(declined_.size() + names.size());  // from here on nothing asks for memory
    for (outgoing *&link : links_) {
        if (!link->gone) continue;
        if (link == leaver_) {
            vacancy_.memory = link->take_memory();
            leaver_ = nullptr;
        }
        for (const std::string &name : names) {
            auto r = parse_receiver_name(name);
            if (!r || r->id != link->receiver || folder_.unlink_if_dead(name)) continue;
            // Without an answer it may have had no room for us yet.
            if (link->answered || link->refused)
                declined_.push_back(r->id);
            else
                events_.set_alarm(last_retry_ns);
        }
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

// ---- Events ---------------------------------------------------------------------------------------------------------

void sender::handle(event_tag tag) {
    switch (tag.kind) {
        case of::knock: {
            char byte;
            for (int i = 0; i < 64 && recv(knocks_.get(), &byte, 1, MSG_DONTWAIT) >= 0; ++i) {
            }
            scan_due_ = true;
            return;
        }
        case of::timer:
            events_.drain_alarm();
            scan_due_ = true;
            if (links_.empty() && !watch_) check_own_name();
            return;
        case of::folder:
            watch_.take([](std::string_view) {});
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
        if (unlinked_) {
            retry_ns_ = std::clamp(2 * retry_ns_, first_retry_ns, last_retry_ns);
            events_.set_alarm(retry_ns_);
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
    std::uint64_t least = ring_.head().position;
    bool others = false;
    for (outgoing *link : links_) {
        if (link->gone) continue;
        if (!link->refresh(ring_.head().position) || (thoroughly && !ring_.starts_frame(link->released()))) {
            refuse(*link);
            continue;
        }
        others |= !link->left;
        least = std::min(least, link->released());
    }
    if (someone_gone_) {
        drop_gone();
        return refresh_tail(thoroughly);
    }
    if (leaver_) vacancy_ = leaver_->where();
    if (!others) least = std::min(least, vacancy_.released);
    if (least > ring_.tail()) ring_.reclaim(least);
}

bool sender::free_up_to(std::uint64_t position) {
    if (ring_.tail() >= position) return true;
    refresh_tail();
    return ring_.tail() >= position;
}

std::int32_t sender::reserve(std::size_t size, void *&data, std::int64_t timeout_ns) {
    if (ended_) return -EPIPE;
    if (reserved_) return -EINVAL;
    if (size > ring_.most()) return -EMSGSIZE;
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    bool due = events_.due();
    if (links_.empty()) {
        // Whoever comes next may wait for this very message, and no other call need follow.
        if (due && !watch_ && !name_is_there()) check_own_name();
        look(0);
    } else if (due) {
        look(0);
    }
    if (!ring_.fits(size)) {
        std::uint64_t needs = ring_.room_needs(size);
        if (!free_up_to(needs))
            if (std::int32_t r = wait(needs, timeout_ns); r < 0) return r;
    }
    forget_awaited();
    data = ring_.payload_for(size);
    reserved_ = true;
    reserved_size_ = size;
    return 0;
}

std::int32_t sender::commit(std::size_t size, std::uint64_t tag) {
    if (!reserved_ || size > reserved_size_) return -EINVAL;
    reserved_ = false;
    ring_.commit(layout::kind::message, size, tag);
    ++counters_.messages;
    counters_.bytes += size;
    ring_receivers();
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
    end_position_ = ring_.head().position;
    ring_.commit_end();  // its room is always kept back
    ring_receivers();
    look(0);  // whoever came since the last call may wait for it, and no other call need follow
}

// The waker's part of waking.hpp: one fence for all links, and a bell only where somebody sleeps.
void sender::ring_receivers() {
    bool fence = false;
    for (outgoing *link : links_) fence |= waker_must_fence(link->words().unfenced);
    if (fence) full_fence();
    for (outgoing *link : links_) {
        if (!waker_must_ring(link->words().asleep)) continue;
        ring_bell(link->data_bell.get());
        ++counters_.rings;
        events_.no_rush();
    }
    if (++awake_messages_ < fence_leave::after) return;
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
        events_.set_alarm(doubtful_sleep_ns);
    }
    for (outgoing *link : links_)
        if (link->released() < position) link->sleep_until(position);
    full_fence();  // pairs with the receiver's, see waking.hpp
    return !free_up_to(position);
}

void sender::wake() {
    for (outgoing *link : links_) link->set_awake();
}

// Until every receiver has released all before `position`.
std::int32_t sender::wait(std::uint64_t position, std::int64_t timeout_ns) {
    forget_awaited();
    awaited_ = awaited_ == 0 ? position : std::min(awaited_, position);
    if (timeout_ns == 0) {
        // Bytes may be held by a receiver that is gone: a look would tell.
        look(0);
        return free_up_to(position) ? 0 : -EAGAIN;
    }
    std::int64_t start = now_ns(), now = start;
    spin_.learn(start, counters_.messages);
    spin_.until([&] { return free_up_to(position) || events_.interrupted(); });
    for (;;) {
        if (free_up_to(position)) {
            forget_awaited();
            return 0;
        }
        if (events_.take_interrupt()) return -ECANCELED;
        std::int64_t left = timeout_ns < 0 ? -1 : timeout_ns - (now - start);
        if (timeout_ns > 0 && left <= 0) return -ETIMEDOUT;
        // To settle may be to look, and so to take the bell of an interrupt.
        if (!settle(position) || events_.interrupted()) continue;
        ++counters_.waits;
        show();
        int r = look(left);
        wake();
        now = now_ns();
        if (r < 0) return events_.take_interrupt() ? -ECANCELED : r;  // the handler may have called interrupt
    }
}

std::int32_t sender::flush(std::int64_t timeout_ns) {
    if (timeout_ns != 0 && events_.take_interrupt()) return -ECANCELED;
    armed_ = false;
    look(0);
    // The end frame is no message: a receiver need not have taken it.
    std::uint64_t until = ended_ ? end_position_ : ring_.head().position;
    if (free_up_to(until)) {
        forget_awaited();
        return 0;
    }
    std::int32_t r = wait(until, timeout_ns);
    if (r != -EAGAIN && r != -ETIMEDOUT) return r;
    return static_cast<std::int32_t>(std::min<std::uint64_t>(unreleased(), INT32_MAX));
}

std::int32_t sender::arm() {
    armed_ = false;
    wake();
    look(0);
    stay_findable();
    bool nothing = awaited_ == 0 || settle(awaited_);
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
    ring_.each_frame(position, [&](std::uint64_t, layout::kind kind) { n += kind == layout::kind::message; });
    return n;
}

std::uint64_t sender::unreleased() {
    refresh_tail(true);
    bool vacant = std::all_of(links_.begin(), links_.end(), [](outgoing *l) { return l->left; });
    std::uint64_t n = 0;
    ring_.each_frame(ring_.tail(), [&](std::uint64_t position, layout::kind kind) {
        if (kind != layout::kind::message) return;
        n += (vacant && vacancy_.needs(position)) ||
             std::any_of(links_.begin(), links_.end(), [&](outgoing *l) { return l->needs(position); });
    });
    return n;
}

void sender::show() {
    std::uint64_t head = ring_.head().position;
    shown_links shown;
    for (std::size_t i = 0; i < links_.size() && !shown.full(); ++i) shown.add(links_[i]->shown(head));
    status_.show({counters_.messages, counters_.bytes, head - ring_.tail(), ring_.capacity(), 0, 0, links_.size()},
                 shown);
}

std::int32_t sender::stats(ipc_sender_counters &out) {
    look(0);
    refresh_tail(true);
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.id = id_;
    out.capacity = ring_.capacity();
    out.used = ring_.head().position - ring_.tail();
    out.unreleased = unreleased();
    out.links = links_.size();
    out.unlinked = unlinked_;
    return 0;
}

std::int32_t sender::links(ipc_link *out, std::size_t count) {
    look(0);
    refresh_tail(true);
    for (std::size_t i = 0; i < links_.size() && i < count; ++i) {
        out[i].struct_size = out[0].struct_size;
        links_[i]->fill(out[i], ring_.head().position);
        out[i].behind = messages_from(std::max(out[i].delivered, ring_.tail()));
    }
    return static_cast<std::int32_t>(links_.size());
}

}  // namespace libipc
