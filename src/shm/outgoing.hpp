// A sender's side of one link: the receiver's words, checked, and its bell.
#pragma once

#include <ipc/ipc.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "early.hpp"
#include "memory/layout.hpp"
#include "memory/mapping.hpp"
#include "system/os.hpp"
#include "waiting/waking.hpp"

namespace libipc {

// A receiver's place in the stream, which the next one takes when it has left: all before `released` is done with,
// messages before `delivered` may have been seen.
struct place {
    std::uint64_t released = 0;
    std::uint64_t delivered = 0;
    template <class Archive>
    void hand_over(Archive &a) {
        a(released, delivered);
    }
};

class outgoing {
  public:
    // How far its receiver has come with us.
    enum class stage : std::uint8_t {
        connecting,  // it has not answered
        up,
        left,  // closed, but some messages are held: gates on, nobody's place any more
    };
    // Why it is to be taken off.
    enum class ending : std::uint8_t {
        none,
        gone,       // hung up, dead or dropped
        refused,    // it refused us, or we it
        met_again,  // hung up before it answered, and lives: see seen_receiver
    };

    outgoing() = default;
    // A link that gates at `oldest`, in the first of the rings, until the receiver has chosen to start there or at
    // `start`. Throws failure.
    outgoing(std::span<const layout::ring_place> rings, std::uint64_t oldest, std::uint64_t start);
    // It takes the place of one that is gone, and had released `early` out of turn.
    void succeed(const place &predecessor, const early_bits &early) {
        // Else there is none, or it had released all: what a receiver gets that starts with the oldest is new.
        if (predecessor.released < predecessor.delivered) redelivered_until_ = predecessor.delivered;
        early_.copy(early, predecessor.released, predecessor.delivered);
    }

    // Others that went with it were given messages before `position`: who succeeds it is told that they may have been
    // seen.
    void mark_until(std::uint64_t position) { redelivered_until_ = std::max(redelivered_until_, position); }

    // Reads released and delivered. False if they are not what a receiver may write: backwards, or past `head`.
    bool refresh(std::uint64_t head);
    std::uint64_t released() const { return released_; }
    std::uint64_t redelivered_until() const { return redelivered_until_; }
    // Its place, as of the last refresh.
    place where() const;
    const early_bits &early() const { return early_; }
    early_bits take_early() { return std::move(early_); }
    // Whether it keeps the message at `position` from being released. What one that left had not got is not for it.
    bool needs(std::uint64_t position) const {
        return position >= released_ && (!left() || position < delivered_) && !released_early(position);
    }
    bool released_early(std::uint64_t position) const {
        return position < std::max(delivered_, redelivered_until_) && early_.test(position);
    }

    layout::link_words &words() const { return *reinterpret_cast<layout::link_words *>(words_.get()); }
    // What the receiver is to be given, until it is.
    int memory_file() const { return file_.get(); }
    void close_file() { file_.reset(); }
    void fill(ipc_link &out, std::uint64_t head) const;
    layout::status_link shown(std::uint64_t head) const;
    void forget() {
        words_.forget();
        early_.forget();
    }

    // A ring in which the stream may go on: bits for it (throws failure), the word to the receiver (0 or -errno), and
    // that it does not go on there.
    void prepare(const layout::ring_place &next);
    int announce(std::uint64_t after, const layout::ring_place &next, int ring_file);
    void withdraw(const layout::ring_place &next) {
        early_.withdraw(next.base);
        close_file();
    }
    // It keeps as many rings as it can have. One that does not look keeps also those that the sender has given up: it
    // has released all in them, but does not know that they are continued.
    bool full() const { return early_.full(); }

    // Wakes the receiver.
    void ring() const;

    // The sleeper's part of waking.hpp, for room: true if a membarrier is due before sleep_until.
    bool forbid_unfenced() { return leave_.take_back(words().sender_unfenced); }
    void sleep_until(std::uint64_t position) { words().wants.store(position, std::memory_order_relaxed); }
    void set_awake() { words().wants.store(0, std::memory_order_relaxed); }
    void allow_unfenced(bool membarrier) {
        if (membarrier && receiver_membarrier) leave_.give(words().sender_unfenced);
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(socket, data_bell, pid, receiver, index, process, receiver_membarrier, at, end, accounted_for);
        a(file_, words_, early_, start_, released_, delivered_, redelivered_until_, leave_);
    }

    fd socket, pid;
    fd data_bell;                      // comes with the answer, or never does
    std::uint64_t receiver = 0;        // id, from its name
    std::uint32_t index = 0;           // in the sender's slots
    std::int32_t process = 0;          // its pid; 0 if it is in a namespace that we don't see
    bool receiver_membarrier = false;  // known from the answer
    stage at = stage::connecting;
    ending end = ending::none;
    bool accounted_for = false;  // it has left or is gone, and its place was considered for the vacant one, or is kept

    bool left() const { return at == stage::left; }
    bool gone() const { return end != ending::none; }
    bool stays() const { return !left() && !gone(); }
    // To be taken off; a reason that is known stays.
    void lose() {
        if (!gone()) end = ending::gone;
    }

  private:
    std::int16_t state() const { return left() ? IPC_LINK_LEFT : at == stage::up ? IPC_LINK_UP : IPC_LINK_CONNECTING; }
    // Stored before its first `released`, and `released` was read with acquire.
    bool chosen() const { return words().accepted.load(std::memory_order_acquire) != 0; }

    fd file_;  // of the link's memory, or of the bits of a ring that is prepared
    mapping words_;
    early_bits early_;
    std::uint64_t start_ = 0;
    std::uint64_t released_ = 0;
    std::uint64_t delivered_ = 0;
    std::uint64_t redelivered_until_ = 0;
    fence_leave leave_;
};

}  // namespace libipc
