// What came from one sender, until its user has released it: private memory, used in turn, bounded. Messages may be
// released in any order; their memory is used again in the order in which they came, as that of a shared ring is.
#pragma once

#include <ipc/ipc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "memory/mapping.hpp"

namespace libipc::stream {

class inbox {
  public:
    inbox() = default;
    // Takes messages of up to half the capacity. Positions are given out from `key` on. Throws failure. Memory is used
    // as it is filled.
    explicit inbox(std::uint64_t capacity, std::uint64_t key = 0, std::size_t spare = 0);
    explicit operator bool() const { return static_cast<bool>(memory_); }
    std::uint64_t most() const { return most_; }
    // As much as was asked for, for whoever fills it.
    std::byte *spare() const { return memory_.get() + capacity_; }

    // Room for the next message, of at most `size` bytes; null: not before something is released. One at a time.
    std::byte *place(std::uint64_t size);
    bool placed() const { return placed_ != 0; }
    // The placed message is whole, and has so many bytes.
    void keep(std::uint64_t size, std::uint64_t tag, std::uint64_t sequence, std::uint64_t sender, std::uint32_t flags);
    // It will never be.
    void give_up() { placed_ = 0; }
    // Of what came before this one, and of itself, nothing more comes.
    void account(std::uint64_t sequence) {
        accounted_ = std::max(accounted_, sequence);
        catch_up();
    }

    bool waiting() const { return next_ != head_; }
    void take(ipc_message &out);  // waiting() is true; fills all but the link
    std::int32_t release(std::uint64_t position);

    std::uint64_t held() const { return held_; }
    std::uint64_t kept() const { return head_ - tail_; }  // bytes
    // Positions in bytes, as ipc_link has them.
    std::uint64_t received() const { return head_; }
    std::uint64_t delivered() const { return next_; }
    std::uint64_t released() const { return tail_; }
    // All up to these are delivered or lost, and released or lost.
    std::uint64_t delivered_sequence() const { return delivered_sequence_; }
    std::uint64_t released_sequence() const { return released_sequence_; }

    // So many of those after the last delivered are lost.
    std::uint64_t lost_after() const { return accounted_ - delivered_sequence_ - unread_; }

    // The memory stays where it is: messages that are held, and the one that is coming, have their addresses in it.
    template <class Archive>
    void hand_over(Archive &a) {
        a(memory_, starts_, capacity_, most_, key_, head_, next_, tail_, placed_, skipped_, held_, unread_, accounted_,
          delivered_sequence_, released_sequence_);
    }

  private:
    struct record;
    record &at(std::uint64_t position) const;
    void catch_up() {
        if (next_ == head_) delivered_sequence_ = accounted_;
        if (tail_ == head_) released_sequence_ = accounted_;
    }
    std::uint64_t &starts_word(std::uint64_t position) const;

    mapping memory_;
    mapping starts_;  // a bit for each 16 bytes: a message that is held starts there
    std::uint64_t capacity_ = 0, most_ = 0, key_ = 0;
    std::uint64_t head_ = 0, next_ = 0, tail_ = 0;
    std::uint64_t placed_ = 0;   // bytes from head_ to the end of the placed message; 0: none is
    std::uint64_t skipped_ = 0;  // ... of them left empty before it, at the end of the memory
    std::uint64_t held_ = 0;
    std::uint64_t unread_ = 0;     // messages
    std::uint64_t accounted_ = 0;  // all up to it are here, or were, or are lost
    std::uint64_t delivered_sequence_ = 0, released_sequence_ = 0;
};

}  // namespace libipc::stream
