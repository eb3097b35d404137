// What a receiver gets that comes: the receivers that were seen and have no link yet, and the place that is vacant
// while nobody has it. It makes no system call.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "early.hpp"
#include "outgoing.hpp"
#include "outgoing_links.hpp"
#include "seen.hpp"

namespace libipc {

class succession {
  public:
    std::vector<seen_receiver> &seen() { return seen_; }
    const std::vector<seen_receiver> &seen() const { return seen_; }
    bool has_seen(std::uint64_t id) const;
    // Nobody has taken the place of the last receiver yet, or of a first one.
    bool is_vacant(const outgoing_links &links) const;
    // From now on nothing is given up that this receiver is to have; it joins at `start`, if it takes nobody's place.
    // Room for it is reserved.
    void see(std::uint64_t id, std::uint64_t start, const outgoing_links &links);
    // A link's receiver has hung up, and lives: it keeps its place. Room for it is reserved.
    void see_again(outgoing &link);
    // Takes off those seen that are dead, closed, or none of ours. True if the place of one of them is vacant now: that
    // of the one furthest behind.
    bool give_up_gone(const outgoing_links &links, std::uint64_t head);

    const place &place_of(const seen_receiver &r) const { return r.successor ? vacancy_ : r.where; }
    const early_bits &early_of(const seen_receiver &r) const { return r.successor ? vacant_early() : r.early; }

    // The place that the next receiver takes.
    const place &vacancy() const { return vacancy_; }
    void vacate(const place &where, early_bits early, std::uint64_t head);
    // The vacant place was taken, or nothing is kept there: until another is, it is at 0, or at `head` once served().
    void clear_vacancy(std::uint64_t head) { vacate({}, {}, head); }
    // This link has closed, or is gone: its place is the vacant one, and goes on while it releases what it holds.
    void vacate(outgoing &left) { leaver_ = &left; }
    bool is_vacated_by(const outgoing &link) const { return leaver_ == &link; }
    // The link that it is taken from is taken off: what is to be known of it is kept.
    void keep_place_of(outgoing &link);
    // Somebody has had all, and the end: nothing is kept for who might come.
    void note_served(bool had_all) { served_ |= had_all; }
    bool served() const { return served_; }
    // The vacant place as it is by now.
    void refresh() {
        if (leaver_) vacancy_ = leaver_->where();
    }

    // The first position that is kept for anybody who has no link; `most` if none before it is.
    std::uint64_t gate(const outgoing_links &links, std::uint64_t tail, std::uint64_t most) const;
    // Whether the message at `position` is kept for any of them. `vacant`: as is_vacant() says.
    bool needs(std::uint64_t position, bool vacant) const;
    // The rings before `base` are gone.
    void drop_before(std::uint64_t base) { vacant_early_.drop_before(base); }

    void forget();
    template <class Archive>
    void hand_over(Archive &a) {
        a(seen_, vacancy_, vacant_early_, served_);
        a.rebuilt(leaver_);
    }
    // For a handoff: the index of the link whose place is vacant.
    std::uint32_t leaver() const { return leaver_ ? leaver_->index : outgoing_links::none; }
    void rebuild(std::uint32_t leaver, const outgoing_links &links) {
        leaver_ = leaver == outgoing_links::none ? nullptr : links.at(leaver);
    }

  private:
    const early_bits &vacant_early() const { return leaver_ ? leaver_->early() : vacant_early_; }

    std::vector<seen_receiver> seen_;
    place vacancy_;
    early_bits vacant_early_;     // what was released out of turn there, if its receiver is gone
    outgoing *leaver_ = nullptr;  // whose place that is, if it is closed and still holds messages
    bool served_ = false;
};

}  // namespace libipc
