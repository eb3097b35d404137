#include "succession.hpp"

#include <algorithm>

namespace libipc {

bool succession::has_seen(std::uint64_t id) const {
    return std::ranges::any_of(seen_, [&](const seen_receiver &r) { return r.id == id; });
}

bool succession::is_vacant(const outgoing_links &links) const {
    return std::ranges::any_of(seen_, &seen_receiver::successor) || (seen_.empty() && !links.has_receiver());
}

void succession::see(std::uint64_t id, std::uint64_t start, const outgoing_links &links) {
    bool first = seen_.empty() && !links.has_receiver();
    seen_.emplace_back(id, first, place{start, start});
}

void succession::see_again(outgoing &link) {
    seen_receiver &r = seen_.emplace_back(link.receiver, false, link.where());
    r.early = link.take_early();
    r.process = link.process;
    link.end = outgoing::ending::met_again;
    link.accounted_for = true;
}

bool succession::give_up_gone(const outgoing_links &links, std::uint64_t head) {
    auto first = std::stable_partition(seen_.begin(), seen_.end(), [](const seen_receiver &r) { return !r.gone; });
    if (first == seen_.end()) return false;
    bool place_awaited = std::any_of(first, seen_.end(), [](const seen_receiver &r) { return r.successor; });
    bool others = links.has_receiver() || first != seen_.begin(), vacated = false;
    if (others && place_awaited) {
        // The next one takes what it would have taken: that one has got nothing yet, and misses less.
        auto next = std::find_if(seen_.begin(), first, [](const seen_receiver &r) { return r.joined(); });
        if (next != first)
            next->successor = true;
        else
            clear_vacancy(head);
    } else if (!others && !place_awaited) {
        auto last = std::min_element(first, seen_.end(), [](const seen_receiver &a, const seen_receiver &b) {
            return a.where.released < b.where.released;
        });
        vacate(last->where, std::move(last->early), head);
        vacated = true;
    }
    seen_.erase(first, seen_.end());
    return vacated;
}

void succession::vacate(const place &where, early_bits early, std::uint64_t head) {
    vacancy_ = served_ ? place{head, head} : where;
    vacant_early_ = std::move(early);
    leaver_ = nullptr;
}

void succession::keep_place_of(outgoing &link) {
    if (leaver_ != &link) return;
    vacant_early_ = link.take_early();
    leaver_ = nullptr;
}

std::uint64_t succession::gate(const outgoing_links &links, std::uint64_t tail, std::uint64_t most) const {
    for (const seen_receiver &r : seen_)
        if (!r.successor) most = std::min(most, std::max(r.where.released, tail));
    return is_vacant(links) ? std::min(most, std::max(vacancy_.released, tail)) : most;
}

bool succession::needs(std::uint64_t position, bool vacant) const {
    if (vacant && position >= vacancy_.released && !(position < vacancy_.delivered && vacant_early().test(position)))
        return true;
    return std::ranges::any_of(seen_, [&](const seen_receiver &r) { return r.needs(position); });
}

void succession::forget() {
    for (seen_receiver &r : seen_) r.early.forget();
    vacant_early_.forget();
}

}  // namespace libipc
