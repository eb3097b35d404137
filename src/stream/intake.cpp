#include "intake.hpp"

#include <algorithm>
#include <cerrno>

#include "../failure.hpp"
#include "../layout.hpp"

namespace libipc::stream {

namespace {

constexpr unsigned index_bits = 20;  // of ipc_message.link; the rest is the generation
constexpr std::uint32_t index_mask = (1u << index_bits) - 1;
constexpr std::uint32_t generation_mask = (1u << (32 - index_bits)) - 1;

// As for shared memory: enough to run along a few cache lines, too few for the others to notice.
constexpr std::uint32_t messages_a_turn = 16;

}  // namespace

std::uint32_t intake::add(std::uint64_t sender, std::uint64_t capacity, std::int32_t pid) {
    inbox box(capacity);
    if (free_.empty()) {
        if (origins_.size() > index_mask) fail(-ENOMEM, "this receiver has {} senders already", origins_.size());
        origins_.push_back(std::make_unique<origin>());
        free_.reserve(origins_.size());
        free_.push_back(static_cast<std::uint32_t>(origins_.size() - 1));
    }
    std::uint32_t index = free_.back();
    free_.pop_back();
    origin &o = *origins_[index];
    o.used = true;
    o.sender = sender;
    o.pid = pid;
    o.box = std::move(box);
    ++counters.links;
    return index;
}

void intake::activate(std::uint32_t index) {
    if (std::exchange(origins_[index]->active, true)) return;
    if (first_ != 0 && active_.size() == active_.capacity()) {
        active_.erase(active_.begin(), active_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }
    active_.push_back(index);
}

void intake::keep(std::uint32_t index, std::uint64_t size, std::uint64_t tag, std::uint64_t sequence,
                  std::uint64_t sender, std::uint32_t flags) {
    origin &o = *origins_[index];
    o.box.keep(size, tag, sequence, sender, flags);
    o.last_sequence = sequence;
    activate(index);
}

void intake::finish(std::uint32_t index, bool ended) {
    origin &o = *origins_[index];
    if (!o.used || o.gone) return;
    if (o.box.placed()) o.box.give_up();
    o.gone = true;
    o.ended = ended;
    activate(index);
}

void intake::finish_unknown() try { finish(add(0, layout::least_capacity, 0), false); } catch (const failure &) {
    // No memory to tell it with.
}

void intake::drop(std::uint32_t index) {
    origin &o = *origins_[index];
    if (!o.used) return;
    if (o.active) {
        auto at = std::find(active_.begin() + static_cast<std::ptrdiff_t>(first_), active_.end(), index);
        if (at == active_.begin() + static_cast<std::ptrdiff_t>(first_)) turn_left_ = 0;
        active_.erase(at);
    }
    std::uint32_t generation = (o.generation + 1) & generation_mask;
    o = origin{};
    o.generation = generation;
    free_.push_back(index);
    --counters.links;
}

std::int32_t intake::take(ipc_message &out, std::uint32_t &index) {
    if (first_ == active_.size()) return 0;
    index = active_[first_];
    origin &o = *origins_[index];
    if (turn_left_ == 0) turn_left_ = messages_a_turn;
    bool message = o.box.waiting();
    if (message) {
        o.box.take(out);
        out.link = index | o.generation << index_bits;
        ++counters.messages;
        counters.bytes += out.size;
        --turn_left_;
        if (turn_left_ != 0 && (o.box.waiting() || o.gone)) return IPC_MESSAGE;
    }
    // Its turn is over, or it has nothing more.
    turn_left_ = 0;
    o.active = false;
    if (++first_ == active_.size()) {
        active_.clear();
        first_ = 0;
    }
    if (message) {
        if (o.box.waiting() || o.gone) activate(index);
        return IPC_MESSAGE;
    }
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.sender = o.sender;
    o.told = true;
    std::int32_t what = o.ended ? IPC_END : IPC_DIED;
    ++(o.ended ? counters.ends : counters.deaths);
    return what;
}

std::int64_t intake::release(const ipc_message &message) {
    std::uint32_t index = message.link & index_mask;
    if (index >= origins_.size()) return -EINVAL;
    origin &o = *origins_[index];
    // One that is dropped had all its messages released.
    if (!o.used || o.generation != message.link >> index_bits) return -ESTALE;
    if (std::int32_t r = o.box.release(message.position); r < 0) return r;
    return index;
}

std::uint64_t intake::held() const {
    std::uint64_t n = 0;
    for (auto &o : origins_)
        if (o->used) n += o->box.held();
    return n;
}

std::uint64_t intake::backlog() const {
    std::uint64_t n = 0;
    for (auto &o : origins_)
        if (o->used) n += o->box.received() - o->box.released();
    return n;
}

std::int32_t intake::links(ipc_link *out, std::size_t count) const {
    std::size_t n = 0;
    for (auto &o : origins_) {
        if (!o->used) continue;
        if (n < count) {
            ipc_link &l = out[n];
            std::size_t size = out[0].struct_size;
            l = {};
            l.struct_size = size;
            l.peer = o->sender;
            l.pid = o->pid;
            l.state = o->gone ? IPC_LINK_ENDED : IPC_LINK_UP;
            l.committed = o->box.received();
            l.delivered = o->box.delivered();
            l.released = o->box.released();
            l.behind = o->box.held();
            l.lost = o->lost;
        }
        ++n;
    }
    return static_cast<std::int32_t>(n);
}

void intake::show(shown_links &out) const {
    for (auto &o : origins_) {
        if (out.full()) return;
        if (!o->used) continue;
        out.add({o->sender, o->pid, static_cast<std::int16_t>(o->gone ? IPC_LINK_ENDED : IPC_LINK_UP), 0,
                 o->box.received(), o->box.delivered(), o->box.released(), 0, o->lost});
    }
}

}  // namespace libipc::stream
