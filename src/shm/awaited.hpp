// What calls of a sender that were refused wait for: the handle's fd is ready when they are to be made again.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace libipc {

class awaited {
  public:
    // Positions up to which all has to be released.
    enum class reason {
        room,   // a reserve's
        flush,  // a flush's
        ring,   // until there may be one more ring
    };

    // Positions that are waited for while `base` is that of the ring which is written. Of several the nearest counts.
    void await(reason r, std::uint64_t position, std::uint64_t base) {
        std::uint64_t &at = at_[index(r)];
        at = at == 0 ? position : std::min(at, position);
        base_ = base;
    }
    void set(reason r, std::uint64_t position) { at_[index(r)] = position; }
    std::uint64_t position(reason r) const { return at_[index(r)]; }  // 0: nothing
    // The nearest; 0 if nothing is waited for.
    std::uint64_t nearest() const {
        std::uint64_t least = 0;
        for (std::uint64_t position : at_)
            if (position != 0 && (least == 0 || position < least)) least = position;
        return least;
    }
    // A reserve or a flush was refused.
    bool calls() const { return (position(reason::room) | position(reason::flush)) != 0; }
    // A reserve waits for room in a ring that is not the one which is written by now.
    bool in_another(std::uint64_t base) const { return base_ != base; }
    // What is there by now is awaited no more. Room is, too, if the stream has gone on in another ring.
    void forget_reached(std::uint64_t tail, std::uint64_t base) {
        if ((at_[0] | at_[1] | at_[2]) == 0) return;
        for (std::uint64_t &position : at_)
            if (position <= tail) position = 0;
        if (base_ != base) set(reason::room, 0);
    }

    // What no release tells of:
    bool links = false;            // a reserve was refused since not all receivers that were seen have a link
    std::int64_t retry_at_ns = 0;  // a reserve of a large message was refused that is to be made again then; 0: none

    template <class Archive>
    void hand_over(Archive &a) {
        a(links, retry_at_ns, at_, base_);
    }

  private:
    static constexpr std::size_t index(reason r) { return static_cast<std::size_t>(r); }
    std::array<std::uint64_t, 3> at_{};
    std::uint64_t base_ = 0;
};

}  // namespace libipc
