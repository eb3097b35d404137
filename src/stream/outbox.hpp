// What a sender has committed and not handed over yet: a ring in its own memory, written as that of shared memory is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "memory/mapping.hpp"
#include "memory/ring.hpp"

namespace libipc::stream {

class outbox {
  public:
    outbox() = default;
    explicit outbox(std::uint64_t capacity)
        : memory_(make_ring(capacity)), ring_(memory_.map.get(), capacity) {}  // throws failure

    ring_writer &ring() { return ring_; }
    const ring_writer &ring() const { return ring_; }
    bool empty() const { return next_.position == ring_.head().position; }

    struct item {
        bool end;  // or a message
        std::byte *payload;
        std::uint64_t size, tag, sequence;
    };
    // Calls f(item) for what is to be handed over, the oldest first, until f returns false.
    template <class F>
    void each(F f) const {
        cursor at = next_;
        std::uint64_t sequence = sent_;
        while (at.position < ring_.head().position) {
            std::uint64_t length;
            item i = read(at, sequence, length);
            if (!f(i)) return;
            if (!i.end) ++sequence;
            at.advance(length, ring_.capacity());
        }
    }
    // The oldest is handed over: its memory is free again, unless it is on trial.
    void pop() {
        std::uint64_t length;
        ended_ = read(next_, sent_, length).end;
        if (!ended_) ++sent_;
        next_.advance(length, ring_.capacity());
        if (!trial_) ring_.reclaim(next_.position);
    }
    // What is handed over from now on goes to somebody who may turn out not to take it: it is kept until that is known.
    void begin_trial() {
        trial_ = true;
        trial_from_ = next_;
        trial_sent_ = sent_;
    }
    // Nobody has taken it.
    void end_trial() {
        if (!std::exchange(trial_, false)) return;
        if (next_.position != trial_from_.position) ended_ = false;
        next_ = trial_from_;
        sent_ = trial_sent_;
    }
    // It is taken, up to the first message that is larger than `most`.
    void end_trial(std::uint64_t most) {
        cursor end = next_;
        end_trial();
        each([&](const item &i) {
            if (next_.position == end.position || i.size > most) return false;
            pop();
            return true;
        });
    }
    // Sequence of the last message that was handed over for good.
    std::uint64_t sent_before_trial() const { return trial_ ? trial_sent_ : sent_; }
    std::uint64_t sent() const { return sent_; }  // sequence of the last message handed over
    bool ended() const { return ended_; }         // the end is handed over, too
    // For a forked child.
    void forget() { memory_.map.forget(); }
    template <class Archive>
    void hand_over(Archive &a) {
        a(memory_, ring_, next_, sent_, ended_, trial_, trial_from_, trial_sent_);
    }

  private:
    item read(const cursor &at, std::uint64_t sent, std::uint64_t &length) const {
        layout::frame_header &h = frame_at(ring_.memory(), at.offset);
        std::uint64_t word = h.word.load(std::memory_order_relaxed);
        length = layout::frame_length(word);
        bool end = layout::kind_of(word) == layout::kind::end;
        return {end, ring_.memory() + at.offset + layout::payload_offset_of(word), layout::size_of(word), h.tag,
                end ? sent : sent + 1};
    }

    shared_memory memory_;
    ring_writer ring_;
    cursor next_;
    std::uint64_t sent_ = 0;
    bool ended_ = false;
    bool trial_ = false;
    cursor trial_from_;
    std::uint64_t trial_sent_ = 0;
};

}  // namespace libipc::stream
