// One peer of a receiver: its socket, and what is read from it and told to it.
#pragma once

#include <fmt/format.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "framing.hpp"
#include "intake.hpp"
#include "loop.hpp"

namespace libipc::stream {

class connections;

// Why a peer is refused, for an answer. Takes no memory.
struct refusal {
    template <class... Arguments>
    explicit refusal(fmt::format_string<Arguments...> text, Arguments &&...arguments) {
        fmt::format_to_n(words, sizeof words - 1, text, std::forward<Arguments>(arguments)...);
    }
    char words[sizeof answer::words] = {};
};

// When it says who it is, memory is asked for, for its sender. All that is read and said later finds its place there.
class connection final : public watched {
  public:
    connection() = default;
    connection(connections &home, std::size_t slot);  // throws bad_alloc
    void begin(fd socket);                            // throws failure
    void resume(connections &home);                   // throws failure

    void ready(bool readable, bool writable) override;
    void room();
    void acknowledge();
    void refuse(const refusal &why);
    template <class... Arguments>
    void refuse(fmt::format_string<Arguments...> text, Arguments &&...arguments) {
        refuse(refusal(text, std::forward<Arguments>(arguments)...));
    }
    // There may be memory, or a place, for it by now.
    void greet_again();
    // Nothing more is taken from this peer.
    void hang_up(bool ended);
    // What it has sent is read, as far as can be; then it is taken to be gone.
    void replace();
    bool is_of(std::uint32_t origin) const { return has_origin_ && origin_ == origin; }
    // Nothing more comes, and all is released.
    void origin_dropped();
    // It has not said who it is.
    bool silent() const { return !greeted_ && !waits_; }
    // It is there, and there was no memory for it.
    bool waits() const { return waits_; }
    // It has said who it is, and lets go of nothing if it has to come again, as far as can be seen.
    bool idle_since(std::int64_t then_ns) const;
    std::uint64_t sender() const { return sender_; }
    std::int64_t heard_ns() const { return heard_ns_; }
    // As this handle's own going, so that a child that holds a copy of the socket doesn't keep the sender waiting.
    void leave();

    std::size_t slot = 0;
    std::uint64_t arrival = 0;  // the how-manieth it is

    template <class Archive>
    void hand_over(Archive &a) {
        a(slot, arrival, socket_, point_, in_, control_, rest_, owed_, owed_from_, owed_to_, sender_, origin_,
          has_origin_, had_, answer_, heard_ns_, greeted_, waits_, starved_, acknowledgement_owed_, dead_);
        a.rebuilt(home_);
    }

  private:
    struct told {
        std::uint64_t sent;  // before its hello
        std::uint64_t lost, lost_to;
    };
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
    void finish(bool ended);
    void tell_released();
    void say_released(std::uint64_t sequence, std::uint64_t delivered, std::uint64_t lost_after);
    void note_told(std::uint64_t sent);
    void hear_hello();
    bool greet();
    void greet_raw();     // throws
    void greet_framed();  // throws
    void greeting();
    int unread() const;
    bool may_take_back() const;
    void answer_with(const char *words, const told &t);
    void say(const header &h, std::span<const std::byte> payload = {});
    bool flush();

    fd socket_;
    watch_point point_;
    connections *home_ = nullptr;
    parser in_;
    std::array<std::byte, most_control_bytes> control_{};
    std::size_t rest_ = 0;  // bytes that were read, and not taken apart for want of room: they lie beside the inbox
    std::array<std::byte, header_bytes + most_control_bytes> owed_{};  // of a frame of which the socket has a part
    std::size_t owed_from_ = 0, owed_to_ = 0;
    std::uint64_t sender_ = 0;
    std::uint32_t origin_ = 0;
    bool has_origin_ = false;
    std::uint64_t had_ = 0;       // all of its messages up to this one came before, or are lost
    std::optional<told> answer_;  // to its hello, which it has not got yet
    std::int64_t heard_ns_ = 0;
    bool greeted_ = false;
    bool waits_ = false;
    bool starved_ = false;               // nothing is read until there is room
    bool acknowledgement_owed_ = false;  // it comes when the peer has read what it was told before
    bool dead_ = false;
};

}  // namespace libipc::stream
