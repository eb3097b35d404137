#include "connections.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "system/failure.hpp"

namespace libipc::stream {

namespace {

constexpr std::int64_t retry_ns = 100'000'000;
// Whoever connects faster than we accept must not keep us here.
constexpr int accepted_a_turn = 64;
// Peers that have not said who they are. Some may always be on their way.
constexpr std::size_t most_silent = 32;
constexpr std::size_t most_connections = intake::most_origins;
// Senders of which it is known what they sent before. All that are here are among them.
constexpr std::size_t most_past = 4 * most_connections;
// Who says nothing for so long is let go if another needs the place: it may come again.
constexpr std::int64_t idle_ns = 1'000'000'000;

}  // namespace

connections::connections(site &s, intake &in) : site_(&s), intake_(&in), staging_(staging_bytes), past_(most_past) {}
connections::~connections() = default;

void connections::resume(site &s, intake &in) {
    site_ = &s;
    intake_ = &in;
    staging_.resize(staging_bytes);
    point_.resume(*s.uv, *this, listener_.get());
    for (auto &c : all_)
        if (c) c->resume(*this);
}

void connections::listen(fd listener) {
    if (!listener_) point_ = watch_point(*site_->uv, *this);
    point_.end();
    std::swap(listener_, listener);
    point_.begin(listener_.get());
    point_.want(true, false);
}

void connections::adopt(fd connected) {
    adopted_ = true;
    take_in(prepare(), std::move(connected));
}

// A place for one more.
std::unique_ptr<connection> connections::prepare() {
    std::size_t slot = 0;
    while (slot < all_.size() && all_[slot]) ++slot;
    if (slot == all_.size()) all_.emplace_back();
    return std::make_unique<connection>(*this, slot);
}

void connections::take_in(std::unique_ptr<connection> fresh, fd socket) {
    std::size_t slot = fresh->slot;
    int number = socket.get();
    fresh->begin(std::move(socket));
    fresh->arrival = ++arrivals_;
    all_[slot] = std::move(fresh);
    ++count_;
    if (auto why = admit(number)) {
        all_[slot]->refuse(*why);
        return remove(slot);
    }
    let_go_of_a_silent_one(most_silent, arrivals_);
}

// A connection from the listening socket.
void connections::ready(bool, bool) {
    std::uint64_t before = arrivals_;
    for (int i = 0; i < accepted_a_turn; ++i) {
        if (count_ == most_connections && !let_go_of_a_silent_one(0, before) && !let_go_of_an_idle_one())
            return pause(0);
        std::unique_ptr<connection> fresh;
        try {
            fresh = prepare();
        } catch (const std::exception &) {
            return pause(-ENOMEM);
        }
        int accepted = accept_from(listener_.get());
        fd socket(accepted);
        if (!socket) {
            if (accepted == -EINTR || accepted == -ECONNABORTED) continue;
            int error = accepted == -ENOBUFS ? -ENOMEM : accepted;
            if (error != -EMFILE && error != -ENFILE && error != -ENOMEM && !is_refusal(error)) return;
            // Not who came just now: what it says may be on its way.
            if (let_go_of_a_silent_one(0, before) || let_go_of_an_idle_one()) continue;
            return pause(error);
        }
        try {
            take_in(std::move(fresh), std::move(socket));
        } catch (const std::exception &) {
            ++intake_->counters.refused;  // it can't be watched: it finds the connection closed, and tries again
        }
    }
}

// If more than so many of the first `arrivals` have not said yet who they are, the one that came first is let go: it
// had its time, and all can't wait for it. True if it is.
bool connections::let_go_of_a_silent_one(std::size_t more_than, std::uint64_t arrivals) {
    std::size_t n = 0;
    connection *first = nullptr;
    for (auto &c : all_)
        if (c && c->silent() && c->arrival <= arrivals) {
            ++n;
            if (!first || c->arrival < first->arrival) first = c.get();
        }
    if (n <= more_than) return false;
    std::size_t slot = first->slot;
    first->ready(true, false);  // it may have spoken since we listened
    if (all_[slot] && all_[slot]->silent()) remove(slot);
    return !all_[slot];
}

// Of those that have said who they are, the one that has said nothing more for longest.
bool connections::let_go_of_an_idle_one() {
    std::int64_t then = coarse_now_ns() - idle_ns;
    connection *idle = nullptr;
    for (auto &c : all_)
        if (c && (!idle || c->heard_ns() < idle->heard_ns()) && c->idle_since(then)) idle = c.get();
    if (!idle) return false;
    std::size_t slot = idle->slot;
    idle->hang_up(false);
    remove(slot);
    return true;
}

// Whoever waits to be accepted stays in the queue of the socket.
void connections::pause(int error) {
    paused_ = true;
    point_.want(false, false);
    if (error != 0) return wait(error);
    site_->alarm_in(retry_ns);
}

// ... or, if its user has not been told yet of all who have gone, in its connection.
void connections::short_of_memory() {
    somebody_waits_ = true;
    if (!intake_->full()) return wait(-ENOMEM);
    site_->alarm_in(retry_ns);
}

// It is told once, until all have come in.
void connections::wait(int error) {
    if (!intake_->counters.waiting_for_fds) site_->fd_error = error;
    intake_->counters.waiting_for_fds = 1;
    site_->alarm_in(retry_ns);
}

void connections::alarm() {
    if (std::exchange(owes_death_, false)) unknown_died();
    if (std::exchange(somebody_waits_, false))
        for (auto &c : all_)
            if (c && c->waits()) c->greet_again();
    if (std::exchange(paused_, false)) {
        ready(true, false);
        if (!paused_) point_.want(true, false);
    }
    if (!paused_ && !somebody_waits_) intake_->counters.waiting_for_fds = 0;
}

void connections::remove(std::size_t slot) {
    if (past *p = past_.find(all_[slot]->sender()); p && p->slot == slot) p->here = false;
    all_[slot].reset();
    --count_;
}

// The peer of the one connection went before it said who it is.
void connections::unknown_died() {
    owes_death_ = !intake_->finish_unknown();
    if (owes_death_) site_->alarm_in(retry_ns);
}

connection *connections::of(std::uint32_t origin) {
    std::size_t slot = (*intake_)[origin].way;
    return slot < all_.size() && all_[slot] && all_[slot]->is_of(origin) ? all_[slot].get() : nullptr;
}

void connections::room(std::uint32_t index) {
    if (connection *c = of(index)) c->room();
}

void connections::dropped(std::uint32_t index) {
    if (connection *c = of(index)) c->origin_dropped();
}

void connections::acknowledge(std::uint32_t index) {
    if (site_->where.raw) return;
    if (connection *c = of(index)) c->acknowledge();
}

connections::past &connections::meet(std::uint64_t sender) {
    past *p = past_.find(sender);
    if (p && p->here) all_[p->slot]->replace();
    if (!p && past_.full()) {
        auto in_use = [&](const past &o) { return o.here || intake_->is_of(o.origin, past_.oldest()); };
        while (in_use(past_.at_oldest())) past_.touch(past_.oldest());
        forgets_ |= past_.at_oldest().known;
        past_.erase(past_.oldest());
    }
    if (!p) p = &past_.add(sender);
    past_.touch(sender);
    return *p;
}

void connections::gone(std::uint64_t sender, std::uint64_t last, bool ended) {
    past *p = past_.find(sender);
    if (!p) return;  // bare bytes have no past
    p->last = std::max(p->last, last);
    p->ended |= ended;
    p->died |= !ended;
    past_.touch(sender);
}

void connections::leave() {
    point_.end();
    listener_.reset();
    for (auto &c : all_)
        if (c) c->leave();
    all_.clear();
    count_ = 0;
}

}  // namespace libipc::stream
