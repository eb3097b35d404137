#include "connections.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "../failure.hpp"

namespace libipc::stream {

namespace {

constexpr std::size_t staging_bytes = 64 << 10;
constexpr std::int64_t fd_retry_ns = 100'000'000;
constexpr std::size_t most_past = 256;
// Whoever connects faster than we accept must not keep us here.
constexpr int accepted_a_turn = 64;
// Peers that have not said who they are. Some may always be on their way.
constexpr std::size_t most_silent = 32;

}  // namespace

connections::connections(site &s, intake &in) : site_(&s), intake_(&in), staging_(staging_bytes) {}
connections::~connections() = default;

void connections::resume(site &s, intake &in) {
    site_ = &s;
    intake_ = &in;
    staging_.resize(staging_bytes);
    if (listener_) point_.resume(*s.uv, listener_.get(), *this);
    for (auto &c : all_)
        if (c) c->resume(*this);
}

void connections::listen(fd listener) {
    listener_ = std::move(listener);
    point_ = watch_point(*site_->uv, listener_.get(), *this);
    point_.want(true, false);
}

void connections::adopt(fd connected) {
    adopted_ = true;
    take_in(std::move(connected));
}

void connections::take_in(fd socket) {
    std::size_t slot = 0;
    while (slot < all_.size() && all_[slot]) ++slot;
    if (slot == all_.size()) all_.emplace_back();
    int number = socket.get();
    all_[slot] = std::make_unique<connection>(*this, slot, std::move(socket));
    if (std::string why = admit(number); !why.empty()) {
        all_[slot]->refuse(why);
        return remove(slot);
    }
    all_[slot]->arrival = ++arrivals_;
    if (!site_->where.raw) return void(drop_silent(most_silent, arrivals_));
    try {
        all_[slot]->begin_raw();
    } catch (...) {
        remove(slot);
        throw;
    }
}

// A connection from the listening socket.
void connections::ready(bool, bool) {
    std::uint64_t before = arrivals_;
    for (int i = 0; i < accepted_a_turn; ++i) {
        int s = accept_from(listener_.get());
        if (s < 0) {
            if (s == -EINTR || s == -ECONNABORTED) continue;
            int error = s == -ENOBUFS ? -ENOMEM : s;
            if (error != -EMFILE && error != -ENFILE && error != -ENOMEM && !is_refusal(error)) return;
            if (drop_silent(0, before)) continue;  // not who came just now: what it says may be on its way
            return short_of_fds(error);
        }
        try {
            take_in(fd(s));
        } catch (const failure &) {
            ++intake_->counters.refused;  // no memory for it; it finds the connection closed, and tries again
        }
    }
}

// If more than so many of the first `arrivals` have not said yet who they are, the one that came first is let go: it
// had its time, and all can't wait for it. True if it is.
bool connections::drop_silent(std::size_t more_than, std::uint64_t arrivals) {
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

// Whoever waits to be accepted stays in the queue of the socket.
void connections::short_of_fds(int error) {
    if (!intake_->counters.waiting_for_fds) site_->fd_error = error;
    intake_->counters.waiting_for_fds = 1;
    point_.want(false, false);
    site_->alarm_in(fd_retry_ns);
}

void connections::alarm() {
    if (!intake_->counters.waiting_for_fds || !listener_) return;
    intake_->counters.waiting_for_fds = 0;
    std::int32_t told_before = site_->fd_error;
    ready(true, false);
    if (intake_->counters.waiting_for_fds)
        site_->fd_error = told_before;  // it is told once, until all have come in
    else
        point_.want(true, false);
}

void connections::remove(std::size_t slot) { all_[slot].reset(); }

connection *connections::of(std::uint32_t origin) {
    for (auto &c : all_)
        if (c && c->is_of(origin)) return c.get();
    return nullptr;
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

std::uint64_t connections::last_of(std::uint64_t sender) const {
    auto at = std::find_if(past_.begin(), past_.end(), [&](const past &p) { return p.sender == sender; });
    return at == past_.end() ? 0 : at->last;
}

void connections::remember(std::uint64_t sender, std::uint64_t last) {
    std::erase_if(past_, [&](const past &p) { return p.sender == sender; });
    if (past_.size() == most_past) past_.erase(past_.begin());
    past_.push_back({sender, last});
}

void connections::leave() {
    point_ = watch_point();
    listener_.reset();
    for (auto &c : all_)
        if (c) c->leave();
    all_.clear();
}

}  // namespace libipc::stream
