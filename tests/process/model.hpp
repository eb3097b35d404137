// A model of ipc.h, for one channel of shm://, whose senders and receivers are all in this process: told of each call,
// it says what that may return. Where ipc.h leaves open what happens, it keeps all that may, and forgets what is seen
// not to be so. It knows nothing of the library.
#pragma once

#include <ipc/ipc.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "course.hpp"
#include "random_calls.hpp"

namespace model {

struct receiver {
    std::uint64_t id = 0;
    std::int32_t from = IPC_FROM_DEFAULT;
    bool open = true;
    std::uint64_t messages = 0, bytes = 0, ends = 0;
    range skipped;
};

// One receiver, and one sender that was there with it.
struct link {
    // A sender that made no call since the receiver came knows nothing of it; one that made a call may. Once it has
    // seen it, it keeps what is for it, linked or not.
    enum class seen { no, perhaps, yes };
    receiver *to = nullptr;
    seen phase = seen::no;
    bool linked = false;
    bool heard = false;                          // the receiver has looked since
    bool told = false;                           // ... and was given the end
    bool perhaps_left = false;                   // the sender may know that it has closed, or taken the end,
    bool left = false;                           // ... and knows it for certain,
    bool off = false;                            // ... and has nothing of it any more
    std::uint64_t opened_at = 0, tail_then = 0;  // messages that were committed, the first that was kept, when it came
    std::uint64_t given = 0;                     // the last message that it was given
    std::vector<course> courses;                 // one of these is so
    std::set<std::uint64_t> held;

    bool connected() const { return phase == seen::yes && (to->open ? !(told && held.empty()) : !held.empty()); }
    bool alive() const { return connected() && to->open; }
    bool waits() const { return to->open && phase == seen::yes && !linked; }
    // The receiver has looked: so it has begun, at a message from `low` to `high`.
    void begins(std::uint64_t low, std::uint64_t high) {
        if (std::exchange(heard, true) || to->from != IPC_FROM_LATEST) return;
        range skipped{~std::uint64_t{0}, 0};
        for (course &c : courses) {
            c.first = std::max(c.first, low);
            c.last = std::min(c.last, high);
            std::uint64_t released_already = c.passed.size();  // whether these were skipped is left open
            skipped.least = std::min(skipped.least, c.first - std::min(c.first, c.until + released_already));
            skipped.most = std::max(skipped.most, c.last - std::min(c.last, c.from));
        }
        to->skipped.least += skipped.least;
        to->skipped.most += skipped.most;
    }
    template <class F>
    bool all(F f) const {
        return !courses.empty() && std::all_of(courses.begin(), courses.end(), f);
    }
    template <class F>
    bool any(F f) const {
        return std::any_of(courses.begin(), courses.end(), f);
    }
    bool must_get(std::uint64_t n) const {
        return to->open && !told && all([=](const course &c) { return c.must_come_yet(n); });
    }
    // Until it has looked, the sender keeps for it whatever it may ask for.
    bool may_get(std::uint64_t n) const {
        return to->open && !told &&
               ((!heard && n >= tail_then) || any([=](const course &c) { return c.may_come_yet(n); }));
    }
    bool place_has(std::uint64_t n) const {
        return any([=](const course &c) { return c.may_come_yet(n) || n >= c.from; });
    }
    bool must_keep(std::uint64_t n) const { return held.contains(n) || must_get(n); }
    bool may_keep(std::uint64_t n) const { return held.contains(n) || may_get(n); }
};

struct sent {
    std::uint64_t tag;
    std::size_t size;
};

struct sender {
    std::uint64_t id = 0;
    bool open = true, ended = false;
    std::vector<sent> messages;  // by sequence, from 1
    std::uint64_t bytes = 0;
    std::uint64_t tail = 1;  // all before are released, for certain
    std::list<link> links;
    std::vector<const link *> leavers;  // those that went last; one's place is for the next, if there is none now
    bool one_by_one = false;            // they may have gone so, and not at once
    bool served = false;                // somebody has had all, and the end: nothing is kept for whoever comes

    std::uint64_t committed() const { return messages.size(); }
    link *of(const receiver &r) {
        for (link &l : links)
            if (l.to == &r) return &l;
        return nullptr;
    }
    bool anybody() const {
        return std::any_of(links.begin(), links.end(), [](const link &l) { return l.alive(); });
    }
    // It knows of no receiver, and so looks in each call.
    bool alone() const {
        return std::all_of(links.begin(), links.end(),
                           [](const link &l) { return l.phase == link::seen::no || l.off; });
    }
    // Somebody that it has seen, or is about to see, is not linked.
    bool may_wait() const {
        return std::any_of(links.begin(), links.end(), [](const link &l) { return l.to->open && !l.linked; });
    }
    std::size_t connected() const {
        return static_cast<std::size_t>(
            std::count_if(links.begin(), links.end(), [](const link &l) { return l.connected(); }));
    }
    bool must_come(const link &l) const {
        return l.to->open && !l.told && l.linked &&
               l.all([&](const course &c) { return ended || c.must_come(committed()); });
    }
    bool may_come(const link &l) const {
        return l.to->open && !l.told && l.phase == link::seen::yes &&
               (ended || l.any([&](const course &c) { return c.may_come(committed()); }));
    }
    bool must_keep(std::uint64_t n) const {
        if (std::any_of(links.begin(), links.end(), [=](const link &l) { return l.connected() && l.must_keep(n); }))
            return true;
        if (anybody()) return false;
        auto places = vacancy();
        return std::all_of(places.begin(), places.end(), [=](auto &c) { return c.must_come_yet(n); });
    }
    bool may_keep(std::uint64_t n) const {
        // One that has gone keeps its place until that is noticed: all that went by then may have gone at once.
        if (std::any_of(links.begin(), links.end(), [=](const link &l) {
                return l.connected() ? l.may_keep(n)
                                     : l.phase == link::seen::yes && !l.left && !l.told && l.place_has(n);
            }))
            return true;
        if (anybody()) return false;
        auto places = vacancy();
        return std::any_of(places.begin(), places.end(), [=](auto &c) { return c.may_come_yet(n); });
    }
    void advance_tail() {
        std::uint64_t place = first_place();
        while (tail < place && !may_keep(tail)) ++tail;
    }
    // The first that is kept for certain.
    std::uint64_t first_kept() const {
        std::uint64_t n = tail;
        while (n <= committed() && !must_keep(n)) ++n;
        return n;
    }
    // Where the first stands of those that are there, whether the next in line is for it or was released before.
    std::uint64_t first_place() const {
        std::uint64_t n = committed() + 1;
        auto before = [&](const course &c) { n = std::min(n, c.first); };
        for (const link &l : links) {
            if (l.to->open && !l.told && !l.heard && l.phase != link::seen::no) n = std::min(n, l.tail_then);
            if (l.connected()) std::for_each(l.courses.begin(), l.courses.end(), before);
        }
        if (anybody()) return n;
        auto places = vacancy();
        std::for_each(places.begin(), places.end(), before);
        return n;
    }
    range unreleased() const {
        range r;
        for (std::uint64_t n = tail; n <= committed(); ++n) r.least += must_keep(n), r.most += may_keep(n);
        return r;
    }
    // Of the ring: what a message takes besides its bytes is at most this.
    range used() const {
        range r{0, 17 * 16};
        std::uint64_t kept = first_kept();
        for (std::uint64_t n = tail; n <= committed(); ++n) {
            if (n >= kept) r.least += messages[n - 1].size;
            r.most += messages[n - 1].size + 96;
        }
        return r;
    }

    void came(receiver &r) {
        advance_tail();
        links.push_back({&r, link::seen::no, false, false, false, false, false, false, committed(), tail, 0, {}, {}});
    }
    void may_have_looked() {
        for (link &l : links) {
            if (l.phase == link::seen::no) l.phase = link::seen::perhaps;
            if (l.phase == link::seen::yes && !l.alive()) l.perhaps_left = true;
        }
    }
    // It looks for certain: whoever left since is off, and whoever came is seen, and linked. Returns whether several
    // have come of which one takes the place of those that have gone.
    bool looks() {
        auto all = [](const link &) { return true; };
        return looks(all, all);
    }
    // The same while limits are low: of those that came, these are seen, and of these, these are linked.
    template <class Seen, class Linked>
    bool looks(Seen seen, Linked linked) {
        std::vector<const link *> left;
        for (link &l : links)
            if (l.phase == link::seen::yes && !l.alive() && !std::exchange(l.left, true)) left.push_back(&l);
        bool others = anybody();
        if (others) leavers.clear();
        if (!others && !left.empty()) {
            leavers = std::move(left);
            one_by_one = std::any_of(leavers.begin(), leavers.end(), [](const link *l) { return l->perhaps_left; });
        }
        served |= std::any_of(links.begin(), links.end(), [](const link &l) { return l.told && l.held.empty(); });
        if (served) leavers.clear();
        auto places = vacancy();
        std::uint64_t kept = first_kept();
        std::size_t newcomers = 0;
        auto comes = [&](const link &l) { return l.to->open && l.phase != link::seen::yes && seen(l); };
        for (link &l : links) newcomers += comes(l);
        for (link &l : links) {
            if (!comes(l) || std::exchange(l.phase, link::seen::yes) == link::seen::yes) continue;
            if (!others) l.courses = places;
            if (others || newcomers > 1) l.courses.push_back(course::joining(l.opened_at + 1, committed() + 1));
        }
        for (link &l : links)
            if (l.waits() && linked(l)) {
                l.linked = true;
                for (course &c : l.courses) c = as_asked(l, c, kept);
            }
        if (newcomers != 0) leavers.clear();
        links.remove_if([this](const link &l) {
            return !l.to->open && !l.connected() && std::find(leavers.begin(), leavers.end(), &l) == leavers.end();
        });
        for (link &l : links) l.off = !l.connected();
        advance_tail();
        return !others && newcomers > 1;
    }
    // What the next receiver gets, if there is none.
    std::vector<course> vacancy() const {
        if (served) return {course::joining(committed() + 1, committed() + 1)};
        std::vector<course> places;
        for (const link *l : leavers) add_places(*l, places);
        if (leavers.size() > 1) mark(places);
        if (leavers.empty()) places.emplace_back();
        return places;
    }

    // A receiver that is closed, and perhaps has the place that is taken next, has released `n`.
    void releases_late(const receiver &r, std::uint64_t n) {
        for (link &l : links)
            for (course &c : l.courses)
                if (l.waits() && c.of == &r) c.pass(n);
    }

  private:
    // Whoever takes the place of the one that was furthest behind gets what that one held with a mark. What comes after
    // it may have a mark, if another one was given it: that is a matter of when the sender saw each go, and release.
    void mark(std::vector<course> &places) const {
        std::uint64_t most = 0;
        for (const link *l : leavers) {
            most = std::max(most, l->given + 1);
            for (const course &c : l->courses) {
                most = std::max({most, c.until, c.unsure_until, std::min(c.last, committed() + 1)});
                if (!c.marked.empty()) most = std::max(most, *c.marked.rbegin() + 1);
            }
        }
        for (course &c : places) {
            std::uint64_t after_held = c.marked.empty() ? c.first : *c.marked.rbegin() + 1;
            c.unsure_from = std::min(c.unsure_from, one_by_one ? c.first : after_held);
            c.unsure_until = std::max(c.unsure_until, most);
        }
    }
    // What whoever takes the place of this one is given.
    static void add_places(const link &gone, std::vector<course> &places) {
        for (course c : gone.courses) {
            c.of = gone.to;
            if (!gone.heard && gone.held.empty() && (c.from != c.first || c.until != c.last)) {
                places.push_back(c);
                places.back().first = c.from;
                places.back().last = c.until;
            }
            std::uint64_t next = c.first;
            if (!gone.held.empty()) {
                std::uint64_t oldest = *gone.held.begin();
                for (std::uint64_t n = oldest; n < next; ++n) (gone.held.contains(n) ? c.marked : c.passed).insert(n);
                c.first = c.last = oldest;
            }
            c.from = c.first;
            c.until = c.last;
            places.push_back(c);
        }
    }
    static course as_asked(const link &l, course c, std::uint64_t kept) {
        if (l.to->from == IPC_FROM_LATEST) {
            c.first = l.opened_at + 1;
            c.last = course::unknown;  // wherever the sender is when the receiver looks
        } else if (l.to->from == IPC_FROM_OLDEST) {
            c.doubtful = c.until;
            std::erase_if(c.passed, [&](std::uint64_t n) { return n < c.from; });
            c.first = std::min(c.first, l.tail_then);
            c.last = std::min(c.last, kept);
        }
        return c;
    }
};

}  // namespace model
