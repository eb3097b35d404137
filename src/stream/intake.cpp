#include "intake.hpp"

#include <cerrno>

#include "handle/link_key.hpp"
#include "memory/layout.hpp"
#include "system/failure.hpp"

namespace libipc::stream {

namespace {

// As for shared memory: enough to run along a few cache lines, too few for the others to notice.
constexpr std::uint32_t messages_a_turn = 16;

}  // namespace

std::uint32_t intake::add(std::uint64_t sender, std::uint64_t capacity, std::int32_t pid, std::size_t spare) {
    if (all_.size() == most_origins) {
        if (bare_.empty()) fail(-ENOMEM, "this receiver has {} senders already", all_.size());
        std::uint32_t first = bare_.first();
        tell(*origins_[first]);
        source_->dropped(first);
        drop(first);
    }
    // Those of another receiver, and of another sender, are others: what is released by mistake is found.
    if (keys_ == 0) keys_ = random_id();
    inbox box(capacity, keys_ += 0x9e3779b97f4a7c15, spare);
    if (free_.empty()) {
        auto fresh = std::make_unique<origin>();
        fresh->generation = link_key::first_generation(keys_);
        origins_.push_back(std::move(fresh));
        free_.push_back(static_cast<std::uint32_t>(origins_.size() - 1), hooks<&origin::known>());
    }
    std::uint32_t index = free_.first();
    free_.remove(index, hooks<&origin::known>());
    all_.push_back(index, hooks<&origin::known>());
    origin &o = *origins_[index];
    o.generation = link_key::next_generation(o.generation);
    o.used = true;
    o.sender = sender;
    o.pid = pid;
    o.box = std::move(box);
    ++counters.links;
    return index;
}

template <class F>
void intake::change_box(origin &o, F f) {
    backlog_ -= o.box.kept();
    held_ -= o.box.held();
    f();
    backlog_ += o.box.kept();
    held_ += o.box.held();
}

void intake::keep(std::uint32_t index, std::uint64_t size, std::uint64_t tag, std::uint64_t sequence,
                  std::uint64_t sender, std::uint32_t flags) {
    origin &o = *origins_[index];
    change_box(o, [&] { o.box.keep(size, tag, sequence, sender, flags); });
    o.last_sequence = sequence;
    o.death_known = false;
    active_.push_back(index, hooks<&origin::active>());
}

void intake::finish(std::uint32_t index, bool ended) {
    origin &o = *origins_[index];
    if (!o.used || o.gone) return;
    if (o.box.placed()) o.box.give_up();
    o.gone = true;
    o.ended |= ended;
    o.told = o.ended ? o.end_known : o.death_known;
    if (!o.told) active_.push_back(index, hooks<&origin::active>());
    note_bare(index);
}

void intake::resume(std::uint32_t index, std::int32_t pid) {
    origin &o = *origins_[index];
    bare_.remove(index, hooks<&origin::bare>());
    if (!o.box.waiting()) retire(index);
    o.gone = o.told = o.starved = false;
    o.asked = 0;  // it asks again, if it still wants to know
    o.pid = pid;
}

// It has nothing more for the user.
void intake::retire(std::uint32_t index) {
    if (active_.first() == index) turn_left_ = 0;
    active_.remove(index, hooks<&origin::active>());
}

void intake::note_bare(std::uint32_t index) {
    origin &o = *origins_[index];
    if (o.gone && !o.told && !o.box.waiting() && o.box.held() == 0) bare_.push_back(index, hooks<&origin::bare>());
}

void intake::tell(origin &o) {
    (o.ended ? o.end_known : o.death_known) = true;
    o.told = true;
    ++(o.ended ? counters.ends : counters.deaths);
}

bool intake::finish_unknown() try {
    finish(add(0, layout::least_capacity, 0), false);
    return true;
} catch (const std::exception &) {
    return false;
}

void intake::drop(std::uint32_t index) {
    origin &o = *origins_[index];
    if (!o.used) return;
    retire(index);
    owed_.remove(index, hooks<&origin::owed>());
    bare_.remove(index, hooks<&origin::bare>());
    all_.remove(index, hooks<&origin::known>());
    change_box(o, [&] { o.box = inbox(); });
    std::uint32_t generation = o.generation;
    o = origin{};
    o.generation = generation;
    free_.push_back(index, hooks<&origin::known>());
    --counters.links;
}

// Its sender was forgotten, is here again under another index, and has something. What it sent before is given out
// first.
bool intake::comes_again(std::uint32_t index) const {
    for (std::uint32_t i = active_.first(); i != chain::none; i = origins_[i]->active.after)
        if (i != index && origins_[i]->sender == origins_[index]->sender) return true;
    return false;
}

std::int32_t intake::take(ipc_message &out, std::uint32_t &index) {
    if (active_.empty()) return 0;
    index = active_.first();
    origin &o = *origins_[index];
    if (turn_left_ == 0) turn_left_ = messages_a_turn;
    auto more = [&] { return o.box.waiting() || (o.gone && !o.told); };
    bool message = o.box.waiting();
    if (message) {
        o.box.take(out);
        out.link = link_key::pack(index, o.generation);
        ++held_;
        ++counters.messages;
        counters.bytes += out.size;
        --turn_left_;
        if (turn_left_ == 0 && o.gone && more() && comes_again(index)) turn_left_ = messages_a_turn;
        if (turn_left_ != 0 && more()) return IPC_MESSAGE;
    }
    // Its turn is over, or it has nothing more.
    turn_left_ = 0;
    active_.remove(index, hooks<&origin::active>());
    if (message) {
        if (more()) active_.push_back(index, hooks<&origin::active>());
        return IPC_MESSAGE;
    }
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.sender = o.sender;
    tell(o);
    bare_.remove(index, hooks<&origin::bare>());
    return o.ended ? IPC_END : IPC_DIED;
}

std::int64_t intake::release(const ipc_message &message) {
    if (!message.data || link_key::generation_of(message.link) == 0) return -EINVAL;
    std::uint32_t index = link_key::index_of(message.link);
    if (index >= origins_.size()) return -ESTALE;
    origin &o = *origins_[index];
    // One that is dropped had all its messages released.
    if (!o.used || o.generation != link_key::generation_of(message.link)) return -ESTALE;
    std::int32_t r = 0;
    change_box(o, [&] { r = o.box.release(message.position); });
    if (r < 0) return r;
    note_bare(index);
    return index;
}

std::uint32_t intake::take_owed() {
    std::uint32_t index = owed_.first();
    owed_.remove(index, hooks<&origin::owed>());
    return index;
}

std::int32_t intake::links(ipc_link *out, std::size_t count) const {
    std::size_t n = 0;
    for (std::uint32_t i = all_.first(); i != chain::none && n < count; i = origins_[i]->known.after) {
        const origin &o = *origins_[i];
        ipc_link &l = out[n++];
        std::size_t size = out[0].struct_size;
        l = {};
        l.struct_size = size;
        l.peer = o.sender;
        l.pid = o.pid;
        l.state = o.gone ? IPC_LINK_ENDED : IPC_LINK_UP;
        l.committed = o.box.received();
        l.delivered = o.box.delivered();
        l.released = o.box.released();
        l.behind = o.box.held();
        l.lost = o.lost;
    }
    return static_cast<std::int32_t>(all_.size());
}

void intake::show(shown_links &out) const {
    for (std::uint32_t i = all_.first(); i != chain::none && !out.full(); i = origins_[i]->known.after) {
        const origin &o = *origins_[i];
        out.add({o.sender, o.pid, static_cast<std::int16_t>(o.gone ? IPC_LINK_ENDED : IPC_LINK_UP), 0, o.box.received(),
                 o.box.delivered(), o.box.released(), 0, o.lost});
    }
}

}  // namespace libipc::stream
