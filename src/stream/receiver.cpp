#include "receiver.hpp"

#include <cerrno>
#include <utility>

#include "handle/core.hpp"
#include "waiting/patience.hpp"

namespace libipc::stream {

static_assert(receiver_core<receiver>);

namespace {

// A sender that waits for nothing is told at most this often what is released, and once more when nothing more comes:
// what its death or ours then makes of its counters is exact.
constexpr std::int64_t acknowledge_gap_ns = 10'000'000;
// ... and at the latest when so much is.
constexpr std::uint64_t acknowledge_bytes = 256 << 10;

}  // namespace

receiver::receiver(any_endpoint where)
    : owner_(ownership::take_new()),
      site_(std::move(where), owner_.page()),
      status_(site_.where, site_.id, IPC_RECEIVER) {
    open_source(source_, site_, intake_);
    intake_.serve(*source_);
    if (std::string url = source_->url(); !url.empty()) {
        site_.where.url = url;
        status_.rename(url);
    }
    look(0);
}

receiver::receiver(handoff::reader &state) {
    handoff::adopt(*this, state, [&] {
        site_.uv.emplace();
        source_->resume(site_, intake_);
        intake_.serve(*source_);
        site_.uv->enter(site_.waiting);
    });
}

receiver::~receiver() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        site_.uv->forked();
        status_.forget();
        return;
    }
    shut();
}

std::int32_t receiver::take(ipc_message &out) {
    std::uint32_t index;
    std::int32_t r = intake_.take(out, index);
    if (r == IPC_END || r == IPC_DIED) {
        no_cancel here;
        source_->acknowledge(index);
        drop_if_done(index);
    }
    return r;
}

void receiver::drop_if_done(std::uint32_t index) {
    if (!intake_.done(index)) return;
    source_->dropped(index);
    intake_.drop(index);
}

std::int32_t receiver::receive(ipc_message &out, std::int64_t timeout_ns) {
    site_.armed = false;
    bool due = site_.waiting.due();
    if (!due && !site_.waiting.interrupted())
        if (std::int32_t r = take(out)) return r;
    if (timeout_ns != 0) {
        if (site_.waiting.take_interrupt()) return -ECANCELED;
        if (site_.where.scheme == transport::tcp || site_.where.scheme == transport::udp) {
            spin_.learn(now_ns(), intake_.counters.messages);
            spin_.hang_back(timeout_ns);
        }
    }
    look(0);
    if (std::int32_t r = take(out)) return r;
    if (site_.fd_error) return std::exchange(site_.fd_error, 0);
    return timeout_ns == 0 ? -EAGAIN : wait(out, timeout_ns);
}

std::int32_t receiver::wait(ipc_message &out, std::int64_t timeout_ns) {
    patience patience(timeout_ns);
    auto ready = [&] {
        std::int32_t r = take(out);
        return r == 0 && !site_.waiting.interrupted() ? std::exchange(site_.fd_error, 0) : r;
    };
    return wait_until(site_.waiting, patience, ready, [&](std::int64_t left) {
        settle();
        if (intake_.anything()) return 0;
        ++intake_.counters.waits;
        return look(left);
    });
}

// Before a sleep: what is released is told.
void receiver::settle() {
    no_cancel here;
    if (!intake_.owes()) return;
    std::int64_t since = now_ns() - acknowledged_at_ns_;
    if (since >= acknowledge_gap_ns)
        acknowledge_all();
    else
        site_.alarm_in(acknowledge_gap_ns - since);
}

void receiver::acknowledge_all() {
    while (intake_.owes()) {
        std::uint32_t index = intake_.take_owed();
        origin &o = intake_[index];
        if (o.box.released_sequence() > o.acknowledged) source_->acknowledge(index);
    }
    acknowledged_at_ns_ = now_ns();
}

int receiver::look(std::int64_t timeout_ns) {
    no_cancel here;
    int r = site_.look(timeout_ns, [&] {
        acknowledge_all();
        source_->alarm();
    });
    show();
    return r;
}

std::int32_t receiver::release(const ipc_message &message) {
    // A sender that wants to know what is released may have asked while the user was at work. First, as this may fail,
    // and a release that has failed can be tried again.
    if (!shut_ && site_.waiting.due()) look(0);
    std::int64_t r = intake_.release(message);
    if (r < 0) return static_cast<std::int32_t>(r);
    auto index = static_cast<std::uint32_t>(r);
    origin &o = intake_[index];
    if (shut_) return 0;
    if (o.starved) {
        no_cancel here;
        site_.keep_ready();
        source_->room(index);
    }
    if (source_->acknowledges() && o.box.released_sequence() > o.acknowledged) {
        // After the end there may be no other occasion.
        if (o.told || o.asked > o.acknowledged || o.box.released() - o.acknowledged_at >= acknowledge_bytes) {
            no_cancel here;
            source_->acknowledge(index);
        } else {
            intake_.owe(index);
        }
    }
    drop_if_done(index);
    return 0;
}

std::int32_t receiver::arm() {
    site_.armed = false;
    look(0);
    if (!intake_.anything()) settle();
    // After the looks, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (site_.waiting.take_interrupt()) return -ECANCELED;
    if (intake_.anything() || site_.fd_error) return 0;
    ++intake_.counters.waits;
    site_.armed = true;
    return 1;
}

void receiver::show() {
    shown_links shown;
    intake_.show(shown);
    status_.show({intake_.counters.messages, intake_.counters.bytes, intake_.backlog(), 0, 0, intake_.counters.lost,
                  intake_.counters.links},
                 shown);
}

std::int32_t receiver::stats(ipc_receiver_counters &out) {
    look(0);
    std::size_t size = out.struct_size;
    out = intake_.counters;
    out.struct_size = size;
    out.id = site_.id;
    out.held = intake_.held();
    return 0;
}

std::int32_t receiver::links(ipc_link *out, std::size_t count) {
    look(0);
    return intake_.links(out, count);
}

std::uint64_t receiver::shut() {
    if (!std::exchange(shut_, true)) try {
            acknowledge_all();
            source_->leave();
        } catch (const std::exception &) {
            // No memory to say it with: that the sockets close says enough, and what is held is still the user's.
        }
    return intake_.held();
}

}  // namespace libipc::stream
