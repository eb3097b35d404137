#include "fifo.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "memory/layout.hpp"
#include "memory/limits.hpp"
#include "system/failure.hpp"

namespace libipc::stream {

namespace {

constexpr int reads_a_turn = 16;
constexpr std::size_t raw_bytes = 64 << 10;
constexpr std::size_t most_writers = 1024;
// Of each sender; memory is taken as it is filled.
constexpr std::uint64_t default_capacity = 64 << 20;

// What could not be had, a descriptor or the FIFO, is tried again.
constexpr std::int64_t retry_ns = 100'000'000;
constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 200'000'000;

// A write into a pipe without a reader raises SIGPIPE. From Linux 6.18 on there is a flag against it.
constexpr int without_signal = 0x100;  // RWF_NOSIGNAL of linux/fs.h

}  // namespace

// Before that it is blocked for the time of the call, and taken away unless one was pending before; whatever the
// program has set for it stays. That is two calls more: 64 B take 1.0 us instead of 0.7.
class fifo_outlet::no_sigpipe {
  public:
    no_sigpipe() {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
        sigset_t pending;
        was_pending_ = sigismember(&before_, SIGPIPE) && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
    }
    ~no_sigpipe() {
        if (raised_ && !was_pending_) {
            timespec now{};
            while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
            }
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    void raised() { raised_ = true; }

  private:
    sigset_t pipe_, before_;
    bool raised_ = false, was_pending_ = false;
};

fifo_source::writer::writer(fifo_source &home, const chunk &c, std::uint32_t index)
    : sender(c.sender), origin(index), home_(&home), point_(*home.site_->uv, *this) {
    if (c.pid_namespace != home.own_namespace_) return;  // its number means another process here, or none
    pid = static_cast<std::int32_t>(c.pid);
    watch();
}

void fifo_source::writer::watch() {
    if (pid == 0) return;
    int r = pidfd_of(pid), error = r < 0 ? -r : 0;
    fd process(r);
    if (process) try {
            point_.begin(process.get());
            point_.want(true, false);
            process_ = std::move(process);
        } catch (const failure &) {
            error = ENOMEM;
        }
    if (error == EMFILE || error == ENFILE || error == ENOMEM) return home_->site_->alarm_in(retry_ns);
    if (error == ESRCH) dead = home_->somebody_died_ = true;
    pid = 0;
}

void fifo_source::writer::resume(fifo_source &home) {
    home_ = &home;
    point_.resume(*home.site_->uv, *this, process_.get());
}

void fifo_source::writer::ready(bool, bool) {
    point_.want(false, false);
    dead = home_->somebody_died_ = true;
    home_->serve();  // what it has written comes first
}

fifo_source::fifo_source(site &s, intake &in)
    : site_(&s), intake_(&in), writers_(most_writers), own_namespace_(own_pid_namespace()) {}
fifo_source::~fifo_source() = default;

void fifo_source::resume(site &s, intake &in) {
    site_ = &s;
    intake_ = &in;
    for (auto &w : ways_) w->resume(*this, s);
    writers_.each([&](auto &w) { w->resume(*this); });
}

void fifo_source::read_from(fd pipe) {
    if (ways_.empty()) add_way();
    way &w = *ways_[0];
    w.point.end();
    w.pipe = std::move(pipe);
    w.point.begin(w.pipe.get());
    want();
}

void fifo_source::add_way() { ways_.insert(ways_.begin(), std::make_unique<way>(*this, *site_)); }

// For reading only, it shows when its writers have gone.
void fifo_source::await_end_of(way &last) try {
    std::string itself = fmt::format("/proc/self/fd/{}", last.pipe.get());
    fd pipe(::open(itself.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!pipe) return;
    last.point.end();
    last.pipe = std::move(pipe);
    last.point.begin(last.pipe.get());
    want();
} catch (const std::exception &) {
    // Then it is read for as long as the handle lives.
}

void fifo_source::want() {
    for (auto &w : ways_) w->point.want(!starved_ && !full_, false);
}

// Each of those there are now.
void fifo_source::serve() {
    for (std::size_t i = ways_.size(); i-- != 0;)
        if (i < ways_.size()) serve(*ways_[i]);
}

void fifo_source::serve(way &from) {
    if (starved_ || full_ || !from.pipe) return;
    for (int i = 0; i < reads_a_turn; ++i)
        if (!(site_->where.raw ? read_raw(from) : read(from))) return;
    // An empty pipe tells nothing more.
    if (somebody_died_) bury();
}

void fifo_source::alarm() {
    writers_.each([&](auto &w) { w->watch(); });
    if (std::exchange(owes_death_, false)) unknown_died();
    if (std::exchange(full_, false)) read_again();
    if (somebody_died_) serve();
    if (ways_.empty() || ways_[0]->point.begun()) return;
    if (fd pipe = std::move(ways_[0]->pipe); pipe || reopen(pipe)) read_on(std::move(pipe));
}

// False: nothing more for now.
bool fifo_source::read(way &from) {
    std::span<std::byte> free = from.in.free();
    int n = read_bytes(from.pipe.get(), free);
    if (n == -EINTR) return true;
    if (n < 0) {
        bury();
        return false;
    }
    if (n == 0) {
        all_gone(from);
        return false;
    }
    from.in.filled(static_cast<std::size_t>(n));
    return each_chunk(from);
}

bool fifo_source::each_chunk(way &from) {
    bool all = from.in.each([&](const chunk &c, std::span<const std::byte> payload) { return take(c, payload); });
    intake_->counters.foreign += from.in.take_passed_over();
    return all;
}

bool fifo_source::read_raw(way &from) {
    if (!has_raw_origin_) try {
            std::uint64_t capacity = site_->where.capacity.value_or(layout::default_capacity);
            raw_origin_ = intake_->add(random_id(), capacity, 0);
            has_raw_origin_ = true;
        } catch (const std::exception &) {
            short_of_memory();
            wait_for_a_place();  // what is in the pipe waits there
            return false;
        }
    origin &o = (*intake_)[raw_origin_];
    std::uint64_t size = std::min<std::uint64_t>(raw_bytes, o.box.most());
    std::byte *room = o.box.place(size);
    if (!room) {
        starve(raw_origin_);
        return false;
    }
    int n = read_bytes(from.pipe.get(), {room, size});
    if (n <= 0) o.box.give_up();
    if (n < 0) return n == -EINTR;
    if (n == 0) {
        all_gone(from);
        return false;
    }
    intake_->keep(raw_origin_, static_cast<std::uint64_t>(n), 0, o.last_sequence + 1, o.sender);
    return true;
}

void fifo_source::starve(std::uint32_t index) {
    (*intake_)[index].starved = starved_ = true;
    want();
}

void fifo_source::room(std::uint32_t index) {
    (*intake_)[index].starved = false;
    starved_ = false;
    read_again();
}

void fifo_source::read_again() {
    for (auto &w : ways_)
        if (starved_ || full_ || (!site_->where.raw && !each_chunk(*w))) return;
    want();
    if (somebody_died_) serve();
}

// Until the user has been told of some who have gone, or there is memory.
void fifo_source::wait_for_a_place() {
    full_ = true;
    want();
    site_->alarm_in(retry_ns);
}

// It is told once, until somebody has come in again.
void fifo_source::short_of_memory() {
    if (!std::exchange(short_, true)) site_->fd_error = -ENOMEM;
}

void fifo_source::unknown_died() {
    owes_death_ = !intake_->finish_unknown();
    if (owes_death_) site_->alarm_in(retry_ns);
}

// For its messages: as much as others have, or as much as there is.
std::uint32_t fifo_source::add(const chunk &c) {
    std::uint64_t capacity =
        site_->where.capacity.value_or(std::min<std::uint64_t>(default_capacity, most_ring_capacity()));
    for (;; capacity /= 2) try {
            return intake_->add(c.sender, capacity, static_cast<std::int32_t>(c.pid));
        } catch (const std::exception &) {
            if (capacity / 2 < layout::least_capacity) throw;
        }
}

// Throws if there is no memory for it.
fifo_source::writer *fifo_source::writer_of(const chunk &c) {
    if (auto *w = writers_.find(c.sender)) {
        writers_.touch(c.sender);
        return w->get();
    }
    if (writers_.full()) {
        // Most have died where that can't be seen: the one that was silent for longest is told to have.
        intake_->finish(writers_.at_oldest()->origin, false);
        writers_.erase(writers_.oldest());
    }
    std::uint32_t index = add(c);
    try {
        auto fresh = std::make_unique<writer>(*this, c, index);
        writer *w = fresh.get();
        writers_.add(c.sender) = std::move(fresh);
        (*intake_)[index].last_sequence = c.sequence - (c.what == kind::message ? 1 : 0);
        heard_ = true;
        short_ = false;
        return w;
    } catch (...) {
        intake_->drop(index);
        throw;
    }
}

// False: there is no room for it now.
bool fifo_source::take(const chunk &c, std::span<const std::byte> payload) {
    writer *w;
    if (intake_->full() && !writers_.find(c.sender)) {
        wait_for_a_place();
        return false;
    }
    try {
        w = writer_of(c);
    } catch (const std::exception &) {
        // Whoever has its memory is not held up by this one.
        if (c.what == kind::message && c.offset + c.bytes == c.size) ++intake_->counters.lost;
        short_of_memory();
        return true;
    }
    origin &o = (*intake_)[w->origin];
    if (o.gone) return true;
    if (c.what == kind::end) {
        if (c.sequence > o.last_sequence) {
            intake_->lose(w->origin, c.sequence - o.last_sequence);
        }
        intake_->finish(w->origin, true);
        return true;
    }
    if (c.offset == 0) {
        if (o.box.placed()) o.box.give_up();
        w->place = nullptr;
        w->sequence = c.sequence;
        w->size = c.size;
        w->have = 0;
        if (c.sequence <= o.last_sequence) return true;
        if (c.size <= o.box.most()) {
            w->place = o.box.place(c.size);
            if (!w->place) {
                starve(w->origin);
                return false;
            }
        }
    }
    // Whoever writes other things than we do gets no more room than its first chunk has asked for.
    if (!w->place || c.sequence != w->sequence || c.size != w->size || c.offset != w->have) return true;
    if (!payload.empty()) std::memcpy(w->place + c.offset, payload.data(), payload.size());
    w->have += payload.size();
    if (w->have != c.size) return true;
    w->place = nullptr;
    intake_->lose(w->origin, c.sequence - o.last_sequence - 1);
    intake_->keep(w->origin, c.size, c.tag, c.sequence, c.sender);
    return true;
}

// If the pipes are empty: whoever is dead has nothing in them any more.
void fifo_source::bury() {
    if (!somebody_died_) return;
    for (auto &w : ways_)
        if (int left = 0; w->pipe && ioctl(w->pipe.get(), FIONREAD, &left) == 0 && left != 0) return;
    somebody_died_ = false;
    writers_.each([&](auto &w) {
        if (w->dead) intake_->finish(w->origin, false);
    });
}

void fifo_source::all_gone(way &from) {
    if (&from != ways_[0].get()) {  // it had no name any more
        std::erase_if(ways_, [&](auto &w) { return w.get() == &from; });
        if (std::exchange(has_raw_origin_, false)) intake_->finish(raw_origin_, true);
        return bury();
    }
    writers_.each([&](auto &w) { intake_->finish(w->origin, false); });
    from.point.end();
    fd pipe = std::move(from.pipe);
    bool others_may_come = reopen(pipe);
    if (has_raw_origin_) {
        // One that came and went without a byte is nothing to tell of, unless it was the only one.
        if ((*intake_)[raw_origin_].last_sequence == 0 && others_may_come)
            intake_->drop(raw_origin_);
        else
            intake_->finish(raw_origin_, true);
        has_raw_origin_ = false;
    }
    if (others_may_come) return read_on(std::move(pipe));
    if (!site_->where.raw && !heard_) unknown_died();
}

void fifo_source::read_on(fd pipe) {
    if (pipe) try {
            return read_from(std::move(pipe));
        } catch (const failure &) {
            // It can't be watched now, and is kept: else its writers would die.
        }
    site_->alarm_in(retry_ns);
}

void fifo_source::dropped(std::uint32_t index) {
    // One that was forgotten may have come again since, and have another origin.
    std::uint64_t sender = (*intake_)[index].sender;
    if (auto *w = writers_.find(sender); w && (*w)->origin == index) writers_.erase(sender);
    if (has_raw_origin_ && raw_origin_ == index) has_raw_origin_ = false;
}

void fifo_source::leave() {
    ways_.clear();
    writers_.clear();
}

// ---- Writing --------------------------------------------------------------------------------------------------------

// What a receiver takes that says nothing of its capacity: it can't say what it takes here.
std::uint64_t fifo_outlet::most() const { return site_->where.raw ? ~std::uint64_t{0} : default_capacity / 2; }

fifo_outlet::fifo_outlet(site &s, outbox &out) : site_(&s), outbox_(&out), point_(*s.uv, *this) {
    sign(signature_);
    signature_.sender = s.id;
}

void fifo_outlet::resume(site &s, outbox &out) {
    site_ = &s;
    outbox_ = &out;
    point_.resume(*s.uv, *this, pipe_.get());
}

void fifo_outlet::write_to(fd pipe) {
    adopted_ = true;
    pipe_ = std::move(pipe);
    point_.begin(pipe_.get());
    point_.want(true, false);
}

void fifo_outlet::begin() {
    fd pipe;
    if (open(pipe) < 0) {
        return site_->alarm_in(retry_.next(first_retry_ns, last_retry_ns));
    }
    retry_.succeeded();
    point_.begin(pipe.get());
    pipe_ = std::move(pipe);
    // A pipe that is written to is never readable; but that its reader goes is told to whoever waits for anything.
    point_.want(true, false);
    pump();
}

void fifo_outlet::alarm() {
    if (pipe_ || over_) return;
    try {
        begin();
    } catch (const std::exception &) {
        site_->alarm_in(last_retry_ns);  // there may be memory later, and what has become impossible may be mended
    }
}

void fifo_outlet::lost() {
    point_.end();
    pipe_.reset();
    blocked_ = false;
    done_ = 0;
    if (adopted_)
        over_ = true;
    else
        site_->alarm_in(first_retry_ns);
}

void fifo_outlet::ready(bool readable, bool) {
    if (readable) return lost();
    blocked_ = false;
    point_.want(true, false);
    pump();
}

bool fifo_outlet::write(std::optional<no_sigpipe> &here, std::span<const iovec> parts, std::uint64_t &wrote) {
    auto count = static_cast<int>(parts.size());
    ssize_t n;
    do
        n = here ? writev(pipe_.get(), parts.data(), count)
                 : pwritev2(pipe_.get(), parts.data(), count, -1, without_signal);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !here && errno != EAGAIN && errno != EPIPE) {  // an older system, or a sandbox: the plain way may do
        flag_known_ = false;
        here.emplace();
        return write(here, parts, wrote);
    }
    if (n < 0 && errno == EAGAIN) {
        blocked_ = true;
        point_.want(false, true);
        return false;
    }
    if (n < 0) {
        if (errno == EPIPE && here) here->raised();
        lost();
        return false;
    }
    wrote = static_cast<std::uint64_t>(n);
    return true;
}

void fifo_outlet::pump() {
    if (!pipe_ || blocked_ || outbox_->empty()) return;
    std::optional<no_sigpipe> here;
    if (!flag_known_) here.emplace();
    while (pipe_ && !blocked_) {
        outbox::item next{};
        bool any = false;
        outbox_->each([&](const outbox::item &i) {
            next = i;
            any = true;
            return false;
        });
        if (!any) return;
        if (site_->where.raw) {
            if (next.end) {
                outbox_->pop();
                point_.end();
                pipe_.reset();  // the end is end-of-file
                over_ = true;
                return;
            }
            iovec part{next.payload + done_, next.size - done_};
            std::uint64_t wrote = 0;
            if (part.iov_len != 0 && !write(here, {&part, 1}, wrote)) return;
            done_ += wrote;
        } else {
            chunk c = signature_;
            c.what = next.end ? kind::end : kind::message;
            c.bytes = static_cast<std::uint16_t>(std::min<std::uint64_t>(most_chunk_payload, next.size - done_));
            c.sequence = next.sequence;
            c.tag = next.tag;
            c.size = next.size;
            c.offset = done_;
            std::byte front[chunk_header_bytes + most_copied];
            put(c, front);
            bool copied = c.bytes <= most_copied;
            if (copied && c.bytes != 0) std::memcpy(front + chunk_header_bytes, next.payload + done_, c.bytes);
            iovec parts[2] = {{front, chunk_header_bytes + (copied ? c.bytes : 0)}, {next.payload + done_, c.bytes}};
            std::uint64_t wrote = 0;  // all of it, as it is at most PIPE_BUF
            if (!write(here, std::span(parts).first(copied ? 1 : 2), wrote)) return;
            done_ += wrote - chunk_header_bytes;
        }
        if (done_ < next.size) continue;
        done_ = 0;
        outbox_->pop();
    }
}

void fifo_outlet::leave() { pump(); }

}  // namespace libipc::stream
