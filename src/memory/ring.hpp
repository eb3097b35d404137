// The ring as memory: writing frames into it, and reading them from it. It makes no system call, knows no link and
// never waits.
//
// Roles
//   writer    ring_writer: one process, one thread at a time. Nobody else can write here: the memory is sealed.
//   readers   read_frame: any number, in any process, each with a cursor of its own.
// Both see the ring mapped twice in a row, so that a frame never wraps.
//
// Invariants. base, head and tail are positions in the stream; what is at a position lies at position % capacity. The
// ring's part of the stream begins at base; where it begins later than the tail, what is said here of the tail holds
// for base.
//   (1) tail <= head <= tail + capacity - 16, and all are multiples of 16.
//   (2) [tail, head) is a row of whole frames. They are not written again until the tail has passed them.
//   (3) The word at the head is 0, and was so before the frame in front of it became visible. So a reader that has read
//       all frames sees nothing, and not old payload that looks like a frame.
//   (4) Until its last frame is committed, an end or a `continued`, head + kept_back <= tail + capacity: that frame and
//       the zero after it always fit.
//   (5) The tail passes a frame only when every receiver has released it; sender::refresh_tail sees to that.
//   (6) A frame is at most 64 + capacity / 2 bytes long, so that one at any offset stays inside the two mappings. The
//       writer keeps to it, and a reader checks.
//
// Memory order. The one edge is from the commit of a frame to a reader's look at it.
//   access                          order    why
//   commit: word at the next head   relaxed  published by the release that follows; a reader comes there only after it
//   commit: tag; payload (caller)   plain    the same
//   commit: the frame's word        release  pairs with read_frame. Weaker: a reader may see the header before the
//                                            payload, or old bytes where the next header is to come
//   read_frame: the frame's word    acquire  pairs with commit. The word is read once, and everything derives from that
//                                            copy, whatever the memory holds a moment later
//   each_frame: the frames' words   relaxed  the writer's own
// That the writer's next stores into a released frame come after the reader's last loads from it is the work of
// link_words::released: stored with release in incoming::release_up_to, loaded with acquire in outgoing::refresh. Where
// a reader starts it learns over a socket, which orders at least as much.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "layout.hpp"
#include "system/fence.hpp"

namespace libipc {

// A place in the stream: a byte position that only grows, and where that lies in the ring.
struct cursor {
    std::uint64_t position = 0;
    std::uint64_t offset = 0;  // position % capacity

    void advance(std::uint64_t bytes, std::uint64_t capacity) {
        position += bytes;
        offset += bytes;
        if (offset >= capacity) offset -= capacity;
    }
    // Where `earlier` lies, which is at most one capacity back.
    std::uint64_t offset_of(std::uint64_t earlier, std::uint64_t capacity) const {
        std::uint64_t back = position - earlier;
        return offset >= back ? offset - back : offset + capacity - back;
    }
};

inline layout::frame_header &frame_at(std::byte *ring, std::uint64_t offset) {
    return *reinterpret_cast<layout::frame_header *>(ring + offset);
}

// A frame as a reader takes it: checked, so that whatever the other process writes meanwhile, reading `size` bytes at
// `payload` stays inside the two mappings.
struct frame {
    layout::kind kind;
    std::byte *payload;
    std::uint64_t size;
    std::uint64_t tag;
    std::uint64_t length;
};

enum class frame_state { nothing, good, broken };

// Whether a frame of a ring can have such a header.
inline bool well_formed(std::uint64_t word, std::uint64_t capacity) {
    std::size_t payload_offset = layout::payload_offset_of(word);
    return layout::reserved_bits_clear(word) && payload_offset >= sizeof(layout::frame_header) &&
           payload_offset <= layout::payload_align && layout::size_of(word) <= capacity / 2 &&
           layout::kind_of(word) >= layout::kind::message && layout::kind_of(word) <= layout::kind::continued;
}

// Looks at the frame at `at`; `out` is whole only if it is good.
inline frame_state read_frame(std::byte *ring, std::uint64_t capacity, const cursor &at, frame &out) {
    layout::frame_header &header = frame_at(ring, at.offset);
    std::uint64_t word = header.word.load(std::memory_order_acquire);
    if (word == 0) return frame_state::nothing;
    if (!well_formed(word, capacity)) return frame_state::broken;
    out.kind = layout::kind_of(word);
    out.size = layout::size_of(word);
    out.length = layout::frame_length(word);
    out.payload = ring + at.offset + layout::payload_offset_of(word);
    out.tag = header.tag;
    return frame_state::good;
}

class ring_writer {
  public:
    ring_writer() = default;
    // A fresh ring is all zero, as a memfd is.
    ring_writer(std::byte *ring, std::uint64_t capacity, std::uint64_t base = 0)
        : ring_(ring), capacity_(capacity), limit_(base + capacity), base_(base), head_{base, base % capacity} {}

    std::uint64_t capacity() const { return capacity_; }
    std::uint64_t base() const { return base_; }
    std::uint64_t most() const { return capacity_ / 2; }  // bytes of the largest message
    const cursor &head() const { return head_; }
    std::byte *memory() const { return ring_; }

    // The position that every receiver must have released before a message of `size` bytes fits.
    std::uint64_t room_needs(std::uint64_t size) const {
        std::uint64_t end =
            head_.position +
            layout::round_up(layout::payload_offset_for(head_.offset, size) + size, layout::frame_align) +
            layout::kept_back;
        return end > capacity_ ? end - capacity_ : 0;
    }
    bool fits(std::uint64_t size) const { return room_needs(size) + capacity_ <= limit_; }
    // All before `position` is ours again.
    void reclaim(std::uint64_t position) { limit_ = std::max(position, base_) + capacity_; }
    std::uint64_t tail() const { return limit_ - capacity_; }

    std::byte *payload_for(std::uint64_t size) {
        payload_offset_ = layout::payload_offset_for(head_.offset, size);
        return ring_ + head_.offset + payload_offset_;
    }
    // After payload_for. `size` is at most what was asked for there.
    void commit(layout::kind kind, std::uint64_t size, std::uint64_t tag) {
        std::uint64_t word = layout::frame_word(kind, payload_offset_, size);
        cursor next = head_;
        next.advance(layout::frame_length(word), capacity_);
        // Invariant (3). 512 bytes ahead is where the line for a later header or small payload is asked for, while this
        // one is being written.
        frame_at(ring_, next.offset).word.store(0, std::memory_order_relaxed);
        prefetch_for_writing(ring_ + next.offset + 512);
        layout::frame_header &header = frame_at(ring_, head_.offset);
        header.tag = tag;
        header.word.store(word, std::memory_order_release);  // pairs with the acquire in read_frame
        head_ = next;
    }
    // An end or a `continued`, for which there is always room.
    void commit_last(layout::kind kind) {
        payload_offset_ = sizeof(layout::frame_header);
        commit(kind, 0, 0);
    }

    // Calls f(position, kind) for each frame from `from`, which is before neither tail nor base, to the head. Where a
    // frame starts is a receiver's word (`released`): if it is not true, payload is taken for headers, which nearly
    // never lead to the head. Then it stops and returns false; in no case does it leave the ring or go on for ever.
    template <class F>
    bool each_frame(std::uint64_t from, F f) const {
        cursor at{from, head_.offset_of(from, capacity_)};
        while (at.position < head_.position) {
            // Relaxed: we wrote it ourselves.
            std::uint64_t word = frame_at(ring_, at.offset).word.load(std::memory_order_relaxed);
            std::uint64_t length = layout::frame_length(word);
            if (!well_formed(word, capacity_) || length > head_.position - at.position) return false;
            f(at.position, layout::kind_of(word));
            at.advance(length, capacity_);
        }
        return true;
    }

  private:
    std::byte *ring_ = nullptr;
    std::uint64_t capacity_ = 0;
    std::uint64_t limit_ = 0;  // the head may not pass it
    std::uint64_t base_ = 0;
    cursor head_;
    std::size_t payload_offset_ = 0;
};

}  // namespace libipc
