// What one receiver may be given of one sender from now on, by ipc.h: as far as that is known.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>

struct course {
    using number = std::uint64_t;  // of a message: its sequence
    static constexpr number unknown = ~number{0};

    number first = 1, last = 1;  // the next to come is one of these; from `last` on all come
    number from = 1, until = 1;  // the same for a receiver that asks for nothing else: its place until it has looked
    std::set<number> passed;     // but these: another receiver, whose place it takes, has released them
    std::set<number> marked;     // ... or had got them: they are redelivered
    number doubtful = 0;         // of those before, ipc.h says nothing of marks
    number unsure_from = unknown, unsure_until = 0;  // nor of these
    const void *of = nullptr;                        // the receiver whose place it is

    static course joining(number from, number until) {
        return {from, until, from, until, {}, {}, 0, unknown, 0, nullptr};
    }

    number after_passed(number n) const {
        while (passed.contains(n)) ++n;
        return n;
    }
    // Released by the one whose place it is, before this one is linked.
    void pass(number n) {
        if (n < first && n < from) return;
        passed.insert(n);
        marked.erase(n);
        for (number *at : {&first, &last, &from, &until}) *at = after_passed(*at);
    }
    // Something comes for certain, or can come, if so many were committed.
    bool must_come(number committed) const { return after_passed(last) <= committed; }
    bool may_come(number committed) const { return after_passed(first) <= committed; }
    bool may_come_yet(number n) const { return n >= first && !passed.contains(n); }
    bool must_come_yet(number n) const { return n >= last && !passed.contains(n); }

    // The message `n` came. False if it may not.
    bool take(number n, bool redelivered) {
        if (passed.contains(n) || n < first || n > after_passed(last)) return false;
        bool sure = n >= doubtful && (n < unsure_from || n >= unsure_until);
        if (sure && redelivered != marked.contains(n)) return false;
        first = last = from = until = n + 1;
        return true;
    }
    // The sender tells that it starts at `n`. False if it may not.
    bool starts_at(number n) const {
        auto among = [n](number low, number high) { return n >= low && (n <= high || high == unknown); };
        return among(from, until) || among(first, last);
    }
};
