// A model of ipc.h, for one channel of a stream, whose senders and receivers are all in this process: told of what is
// called and of what comes, it says whether that may be. Where ipc.h leaves open how far something has got, it keeps
// how far it may have. It knows nothing of the library.
#pragma once

#include <ipc/ipc.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "random_calls.hpp"

namespace model::stream {

// What the two sides are promised, and whether what lies between them keeps it.
struct way {
    bool lossless = true;
    bool counts = false;   // what is lost is counted by both sides, and a sender is told of what is released
    bool at_once = false;  // what the system has taken is there for the other side at the same moment
    bool whole = true;     // nobody cuts, loses, doubles or overtakes
};

struct message {
    std::uint64_t tag;
    std::size_t size;
    int given_to = 0;       // the receiver of this number
    bool released = false;  // by a receiver that was open
    bool sure = false;      // it went out while there was room for it
};

struct receiver;

struct sender {
    std::uint64_t id = 0;
    int number = 0;
    bool open = true, ended = false;
    std::vector<message> messages;  // by sequence, from 1
    std::uint64_t bytes = 0;
    std::uint64_t given = 0;       // so many different ones were, to whomever
    std::uint64_t last_given = 0;  // the highest
    std::uint64_t gone = 0;        // up to this one they may have been with a receiver that went
    bool loose = false;            // what comes now may still go to that one
    std::uint64_t untold = 0;    // up to this one they may have come, and the answer got lost: another may get them too
    std::uint64_t doubtful = 0;  // so many that were given may count as lost, as it was not told of them
    std::uint64_t too_large = ~std::uint64_t{0};  // a receiver was there that takes no message of more bytes
    bool may_die = false;                         // a receiver may be told so
    std::uint64_t settled = 0, lost = 0;          // as it said last
    // What this receiver is sure to get: all up to this one, and the end.
    const receiver *sure_of = nullptr;
    std::uint64_t sure = 0;
    bool sure_end = false;

    std::uint64_t committed() const { return messages.size(); }
    bool passed_over(std::uint64_t n) const { return messages[n - 1].size > too_large; }
    // Nothing that must come is missing between these two.
    bool nothing_between(std::uint64_t before, std::uint64_t after) const {
        for (std::uint64_t n = std::max(before, gone) + 1; n < after; ++n)
            if (!passed_over(n)) return false;
        return true;
    }
    // Those that flush, stats and close may say are not released; or not taken by the system, if that is all they know.
    range unreleased(const way &w) const {
        std::uint64_t done = w.counts && w.whole && !loose ? gone : committed();
        while (done < committed() && (messages[done].released || passed_over(done + 1))) ++done;
        return {committed() - done, committed() - std::max(settled, w.counts ? 0 : last_given)};
    }
    // Those that it may count as lost, whenever it is asked.
    range lost_by_now() const { return {lost, committed() - given + doubtful}; }
    // ... once all else has come.
    range lost_at_last() const {
        std::uint64_t missing = committed() - given;
        return {missing, missing + doubtful};
    }
};

// One receiver and one sender.
struct link {
    std::set<std::uint64_t> came;
    bool ended = false, died = false;  // as the receiver was told
    std::uint64_t last() const { return came.empty() ? 0 : *came.rbegin(); }
    // What is missing among those that came, and up to the end.
    std::uint64_t lost(std::uint64_t committed) const {
        return came.empty() ? 0 : (ended ? committed : last()) - *came.begin() + 1 - came.size();
    }
};

struct receiver {
    std::uint64_t id = 0;
    int number = 0;
    bool open = true;
    std::map<sender *, link> links;
    std::uint64_t messages = 0, bytes = 0, ends = 0, deaths = 0, duplicated = 0, reordered = 0;
    std::uint64_t lost = 0;  // as it said last

    void gets(const way &w, sender &s, const ipc_message &m) {
        link &l = links[&s];
        std::uint64_t n = m.sequence;
        expect(n != 0 && n <= s.committed(), "a message that is none");
        expect(!l.ended, "a message after the end");
        message &sent = s.messages[n - 1];
        expect(m.tag == sent.tag && m.size == sent.size && proven(m), "another message than was sent");
        bool again = l.came.contains(n), late = !again && n < l.last();
        if (w.lossless) {
            expect(!again && !late, "a message that came before, or after a later one");
            expect(sent.given_to == 0 || (n <= s.untold && sent.given_to != number), "a message that another had");
            if (s.loose) s.gone = std::max(s.gone, n - 1);
            s.loose = false;
            if (w.whole) expect(n > s.last_given && s.nothing_between(l.last(), n), "messages before it are missing");
        }
        std::uint32_t mark = again ? std::uint32_t{IPC_DUPLICATE} : late ? std::uint32_t{IPC_LATE} : 0;
        expect(m.flags == mark, "a message with another mark");
        l.came.insert(n);
        l.died = false;
        if (sent.given_to == 0) ++s.given;
        sent.given_to = number;
        s.last_given = std::max(s.last_given, n);
        ++messages;
        bytes += m.size;
        duplicated += again;
        reordered += late;
    }
    void ends_with(const way &w, sender &s) {
        link &l = links[&s];
        expect(s.ended && !l.ended, "an end");
        if (s.loose) s.gone = s.committed();
        if (w.lossless && w.whole)
            expect(s.nothing_between(l.last(), s.committed() + 1), "an end before the last message");
        l.ended = true;
        ++ends;
    }
    void hears_of_death(sender &s) {
        link &l = links[&s];
        expect(s.may_die, "a death");
        expect(!l.ended && !l.died, "a death that was told before");
        l.died = true;
        ++deaths;
    }
    // Something of this sender is there to be received, for certain.
    bool must_get_of(const sender &s) const {
        if (s.sure_of != this) return false;
        auto l = links.find(const_cast<sender *>(&s));
        std::uint64_t last = l == links.end() ? 0 : l->second.last();
        return !s.nothing_between(last, s.sure + 1) || (s.sure_end && (l == links.end() || !l->second.ended));
    }
};

}  // namespace model::stream
