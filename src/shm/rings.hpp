// A sender's rings: the one that it writes now, and those before it, until all of them is released. Positions go on
// from one to the next; each ring but the last ends with a `continued` frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "handle/url.hpp"
#include "memory/mapping.hpp"
#include "memory/ring.hpp"

namespace libipc {

class rings {
  public:
    rings() = default;
    explicit rings(ring_sizes sizes) : sizes_(sizes), now_(make_ring(sizes.first), sizes.first, 0) {}  // throws failure

    const ring_sizes &sizes() const { return sizes_; }

    ring_writer &now() { return now_.writer; }
    const ring_writer &now() const { return now_.writer; }
    std::uint64_t head() const { return now_.writer.head().position; }
    // All before it is released. It is in the oldest ring.
    std::uint64_t tail() const { return tail_; }
    bool full() const { return older_.size() + 1 == layout::most_rings; }
    // There can't be another of that capacity now. Each is what it may be at the most, or smaller; but those that wait
    // to be released add up.
    bool too_many_with(std::uint64_t capacity) const {
        for (const ring &r : older_) capacity += r.writer.capacity();
        return full() || now_.writer.capacity() + capacity > 2 * sizes_.most;
    }
    std::uint64_t oldest_base() const { return (older_.empty() ? now_ : older_.front()).writer.base(); }
    // Where the oldest ring is continued: once all before it is released, that ring is gone. 0 if it is the only one.
    std::uint64_t oldest_continued() const { return older_.empty() ? 0 : older_.front().continued(); }

    // All before `position` is released. Frees what rings it can; true if any.
    bool reclaim(std::uint64_t position) {
        // A `continued` is nothing that anybody needs: it lies behind all that is there to be received, and whoever has
        // not read it has a mapping of that ring for himself.
        auto gone = older_.begin();
        for (; gone != older_.end() && position >= gone->continued(); ++gone)
            position = std::max(position, gone->writer.head().position);
        bool any = gone != older_.begin();
        if (any) older_.erase(older_.begin(), gone);
        tail_ = position;
        now_.writer.reclaim(position);
        return any;
    }

    // Where the ring that is written now could be continued: the base of the next.
    std::uint64_t next_base() const { return head() + sizeof(layout::frame_header); }
    // The stream goes on in `memory`, which the receivers have been told of. Not if it is full(), nor after an end.
    // If it throws bad_alloc, nothing has changed.
    void go_on_in(shared_memory memory, std::uint64_t capacity) {
        older_.reserve(layout::most_rings);
        now_.writer.commit_last(layout::kind::continued);
        std::uint64_t base = head();
        older_.push_back(std::exchange(now_, ring(std::move(memory), capacity, base)));
    }
    // The position at which nothing but `continued` frames lie between it and `position`: what a receiver has released
    // that has received all before `position`, and has not looked since.
    std::uint64_t before_continued(std::uint64_t position) const {
        if (position == now_.writer.base() && position != 0) position -= sizeof(layout::frame_header);
        for (std::size_t i = older_.size(); i-- > 0 && position == older_[i].writer.base() && position != 0;)
            position -= sizeof(layout::frame_header);
        return position;
    }

    // Calls f(position, kind) for each frame from `from`, which is not before the tail. False as
    // ring_writer::each_frame.
    template <class F>
    bool each_frame(std::uint64_t from, F f) const {
        for (const ring &r : older_) {
            if (from >= r.writer.head().position) continue;
            if (!r.writer.each_frame(from, f)) return false;
            from = r.writer.head().position;
        }
        return now_.writer.each_frame(from, f);
    }
    // How many messages begin there or later.
    std::uint64_t messages_from(std::uint64_t position) const {
        std::uint64_t n = 0;
        each_frame(position, [&](std::uint64_t, layout::kind kind) { n += kind == layout::kind::message; });
        return n;
    }
    bool starts_frame(std::uint64_t position) const {
        return each_frame(position, [](std::uint64_t, layout::kind) {});
    }
    // Calls f(place, file) for each ring, from the oldest.
    template <class F>
    void each(F f) const {
        for (const ring &r : older_) f(r.place(), r.memory.file.get());
        f(now_.place(), now_.memory.file.get());
    }

    // In a forked child nothing is mapped here.
    void forget() {
        for (ring &r : older_) r.memory.map.forget();
        now_.memory.map.forget();
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(sizes_, now_, older_, tail_);
    }

  private:
    struct ring {
        shared_memory memory;
        ring_writer writer;

        ring() = default;
        ring(shared_memory m, std::uint64_t capacity, std::uint64_t base)
            : memory(std::move(m)), writer(memory.map.get(), capacity, base) {}
        layout::ring_place place() const { return {writer.base(), writer.capacity()}; }
        std::uint64_t continued() const { return writer.head().position - sizeof(layout::frame_header); }
        template <class Archive>
        void hand_over(Archive &a) {
            a(memory, writer);
        }
    };

    ring_sizes sizes_{};
    ring now_;
    std::vector<ring> older_;
    std::uint64_t tail_ = 0;
};

}  // namespace libipc
