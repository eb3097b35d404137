#include "sender.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>

#include "handle/core.hpp"
#include "waiting/patience.hpp"

namespace libipc::stream {

static_assert(sender_core<sender>);

sender::sender(any_endpoint where, std::uint64_t capacity)
    : owner_(ownership::take_new()),
      site_(std::move(where), owner_.page()),
      outbox_(capacity),
      status_(site_.where, site_.id, IPC_SENDER) {
    open_outlet(outlet_, site_, outbox_);
    look(0);
}

sender::sender(handoff::reader &state) {
    handoff::adopt(*this, state, [&] {
        site_.uv.emplace();
        outlet_->resume(site_, outbox_);
        site_.uv->enter(site_.waiting);
    });
}

sender::~sender() {
    if (owner_.forgotten()) return;
    if (owner_.forked()) {
        site_.uv->forked();
        outbox_.forget();
        status_.forget();
        return;
    }
    no_cancel here;
    outlet_->leave();
}

int sender::look(std::int64_t timeout_ns) {
    no_cancel here;
    int r = site_.look(timeout_ns, [&] { outlet_->alarm(); });
    show();
    return r;
}

std::int32_t sender::reserve(std::size_t size, void *&data, std::int64_t timeout_ns) {
    if (ended_) return -EPIPE;
    if (reserved_) return -EINVAL;
    if (size > largest()) return -EMSGSIZE;
    if (timeout_ns != 0 && site_.waiting.take_interrupt()) return -ECANCELED;
    site_.armed = false;
    if (site_.waiting.due()) look(0);
    if (outlet_->dead()) return -EPIPE;
    if (!outbox_.ring().fits(size)) {
        refused_reserve_ = true;
        refused_size_ = size;
        std::int32_t r = wait([&] { return outbox_.ring().fits(size) || outlet_->dead(); }, timeout_ns);
        if (r < 0) return r;
        if (outlet_->dead()) return -EPIPE;
    }
    refused_reserve_ = refused_flush_ = false;
    data = outbox_.ring().payload_for(size);
    reserved_ = true;
    reserved_size_ = size;
    return 0;
}

std::int32_t sender::commit(std::size_t size, std::uint64_t tag) {
    if (!reserved_ || size > reserved_size_) return -EINVAL;
    reserved_ = false;
    outbox_.ring().commit(layout::kind::message, size, tag);
    ++counters_.messages;
    counters_.bytes += size;
    pump();
    return 0;
}

void sender::pump() {
    no_cancel here;
    site_.keep_ready();
    outlet_->pump();
}

void sender::end() {
    if (ended_) return;
    reserved_ = false;
    ended_ = true;
    outbox_.ring().commit_last(layout::kind::end);  // its room is always kept back
    pump();
}

// Until done() is true: 0. Else -EAGAIN, -ETIMEDOUT, -EINTR, -ECANCELED.
template <class Done>
std::int32_t sender::wait(Done done, std::int64_t timeout_ns) {
    if (timeout_ns == 0) {
        look(0);
        return done() ? 0 : -EAGAIN;
    }
    patience patience(timeout_ns);
    auto ready = [&] { return done() ? 1 : 0; };
    std::int32_t r = wait_until(site_.waiting, patience, ready, [&](std::int64_t left) {
        ++counters_.waits;
        show();
        return look(left);
    });
    return std::min(r, 0);
}

bool sender::drained() {
    if (outlet_->dead()) return true;
    // An end that nobody is there to hear is not waited for.
    if (outlet_->settled() >= counters_.messages) return outbox_.empty() || !outlet_->linked();
    if (!outbox_.empty()) return false;
    no_cancel here;
    outlet_->ask();
    return outlet_->settled() >= counters_.messages;
}

std::int32_t sender::flush(std::int64_t timeout_ns) {
    if (timeout_ns != 0 && site_.waiting.take_interrupt()) return -ECANCELED;
    site_.armed = false;
    look(0);
    std::int32_t r = drained() ? 0 : wait([&] { return drained(); }, timeout_ns);
    refused_flush_ = r != 0;
    if (r != 0 && r != -EAGAIN && r != -ETIMEDOUT) return r;
    return static_cast<std::int32_t>(std::min<std::uint64_t>(unreleased(), INT32_MAX));
}

std::int32_t sender::arm() {
    site_.armed = false;
    look(0);
    bool there =
        outlet_->dead() || (refused_reserve_ && outbox_.ring().fits(refused_size_)) || (refused_flush_ && drained());
    // After the looks, which may have taken the bell of an interrupt: nothing else would make the fd ready for it.
    if (site_.waiting.take_interrupt()) return -ECANCELED;
    if (there) return 0;
    site_.armed = true;
    return 1;
}

std::uint64_t sender::finish(std::int64_t linger_ns) {
    end();
    linger(site_.waiting, linger_ns, [&](std::int64_t left) { return flush(left); });
    return unreleased();
}

std::uint64_t sender::largest() const { return std::min(outbox_.ring().most(), outlet_->most()); }

std::uint64_t sender::unreleased() const {
    return counters_.messages - std::min(outlet_->settled(), counters_.messages);
}

void sender::show() {
    std::uint64_t head = outbox_.ring().head().position, tail = outbox_.ring().tail();
    shown_links shown;
    auto peer = outlet_->peer();
    if (outlet_->linked()) shown.add({peer.id, peer.pid, IPC_LINK_UP, 0, head, tail, tail, 0, outlet_->lost()});
    status_.show({counters_.messages, counters_.bytes, head - tail, outbox_.ring().capacity(), 0, outlet_->lost(),
                  shown.get().size()},
                 shown);
}

std::int32_t sender::stats(ipc_sender_counters &out) {
    look(0);
    if (outbox_.empty() && outlet_->settled() < counters_.messages) {
        // The answer is for the next time: nothing waits here.
        no_cancel here;
        outlet_->ask();
    }
    std::size_t size = out.struct_size;
    out = counters_;
    out.struct_size = size;
    out.id = site_.id;
    out.capacity = outbox_.ring().capacity();
    out.used = outbox_.ring().head().position - outbox_.ring().tail();
    out.unreleased = unreleased();
    out.links = outlet_->linked();
    out.refused = outlet_->refused();
    out.lost = outlet_->lost();
    out.largest = largest();
    return 0;
}

std::int32_t sender::links(ipc_link *out, std::size_t count) {
    look(0);
    if (!outlet_->linked()) return 0;
    if (count != 0) {
        std::size_t size = out->struct_size;
        *out = {};
        out->struct_size = size;
        out->state = IPC_LINK_UP;
        out->committed = outbox_.ring().head().position;
        out->delivered = out->released = outbox_.ring().tail();
        out->behind = outlet_->behind(unreleased());
        out->lost = outlet_->lost();
        out->peer = outlet_->peer().id;
        out->pid = outlet_->peer().pid;
    }
    return 1;
}

}  // namespace libipc::stream
