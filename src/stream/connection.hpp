// One peer of a receiver: its socket, and what is read from it and told to it.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framing.hpp"
#include "intake.hpp"
#include "loop.hpp"

namespace libipc::stream {

class connections;

class connection final : public watched {
  public:
    connection() = default;
    connection(connections &home, std::size_t slot, fd socket);  // throws failure
    void resume(connections &home);                              // throws failure

    void ready(bool readable, bool writable) override;
    void room();
    void acknowledge();
    // Starts a stream of bare bytes. Throws failure.
    void begin_raw();
    void refuse(const std::string &words);
    // Nothing more is taken from this peer.
    void hang_up(bool ended);
    bool is_of(std::uint32_t origin) const { return has_origin_ && origin_ == origin; }
    // Nothing more comes, and all is released.
    void origin_dropped();
    std::uint64_t sender() const;
    // It has not said who it is.
    bool silent() const { return !raw() && !greeted_; }
    // As this handle's own going, so that a child that holds a copy of the socket doesn't keep the sender waiting.
    void leave();

    std::size_t slot = 0;
    std::uint64_t arrival = 0;  // the how-manieth it is

    template <class Archive>
    void hand_over(Archive &a) {
        a(slot, arrival, socket_, point_, in_, control_, rest_, owed_, origin_, has_origin_, had_, had_before_,
          greeted_, starved_, acknowledgement_owed_, dead_);
        a.rebuilt(home_);
    }

  private:
    intake &from() const;
    origin &its_origin() const;
    bool raw() const;
    void watch();
    void read();
    ssize_t receive(std::span<iovec> into);
    bool read_frames();
    bool read_raw();
    bool starve(std::span<const std::byte> input);
    bool feed(std::span<const std::byte> input);
    void whole();
    void lose(origin &o, std::uint64_t count);
    void tell_released();
    void greet();
    void greeting();
    int unread() const;
    bool may_take_back() const;
    void answer_with(const std::string &words, std::uint64_t had);
    void say(const header &h, std::span<const std::byte> payload = {});
    bool flush();

    fd socket_;
    watch_point point_;
    connections *home_ = nullptr;
    parser in_;
    std::byte control_[most_control_bytes];
    std::vector<std::byte> rest_;  // read, and not taken apart for want of room
    std::vector<std::byte> owed_;  // of a frame of which the socket has a part
    std::uint32_t origin_ = 0;
    bool has_origin_ = false;
    std::uint64_t had_ = 0;                    // all of its messages up to this one came before, or are lost
    std::optional<std::uint64_t> had_before_;  // the answer to its hello, which it has not got yet
    bool greeted_ = false;
    bool starved_ = false;               // nothing is read until there is room
    bool acknowledgement_owed_ = false;  // it comes when the peer has read what it was told before
    bool dead_ = false;
};

}  // namespace libipc::stream
