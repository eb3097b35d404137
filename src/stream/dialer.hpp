// A sender's connection: dialled again and again, less and less often, until a receiver answers; then frames go out as
// the socket takes them. One that was inherited is not dialled again.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "framing.hpp"
#include "outlet.hpp"
#include "site.hpp"
#include "waiting/backoff.hpp"

namespace libipc::stream {

class dialer : public outlet {
  public:
    dialer() = default;
    dialer(site &s, outbox &out) : site_(&s), outbox_(&out) {}
    void resume(site &s, outbox &out) override;
    void adopt(fd connected);  // throws failure
    // The first try: what can never succeed is a failure.
    void open();

    void ready(bool readable, bool writable) override;
    void pump() override;
    bool linked() const override { return state_ == state::up; }
    bool dead() const override { return state_ == state::over; }
    std::uint64_t most() const override { return most_; }
    std::uint64_t settled() const override { return site_->where.raw ? outbox_->sent() : settled_; }
    void ask() override;
    void alarm() override;
    identity peer() const override { return {receiver_, pid_}; }
    std::uint64_t behind(std::uint64_t unreleased) const override;
    std::uint64_t lost() const override { return lost_; }
    std::uint64_t refused() const override { return refused_; }
    void leave() override;

    template <class Archive>
    void hand_over(Archive &a) {
        a(socket_, point_, state_, adopted_, blocked_, silent_, retry_, done_, owed_, owed_from_, owed_to_, in_);
        a(control_, most_, receiver_, pid_, settled_, answered_, counted_, tried_, delivered_, asked_, lost_, refused_);
        a.rebuilt(site_, outbox_);
    }

  protected:
    // A socket that is connected (0) or connecting (-EINPROGRESS), or why there is none now. Throws failure if there
    // will never be one.
    virtual int dial(fd &socket) = 0;
    site *site_ = nullptr;

  private:
    enum class state : std::uint8_t {
        idle,        // until the alarm
        connecting,  // the system is at it
        greeting,    // connected, the hello is out, and messages follow it on trial
        up,
        parting,  // from a receiver that can't take the next message: it reads what it was sent before
        over,     // an inherited connection that is gone
    };
    void begin();
    void connected();
    void owe(const header &h, std::span<const std::byte> payload = {});
    void watch();
    bool hung_up();
    void read();
    void heard();
    void pass_over();
    void settle(std::uint64_t released, std::uint64_t delivered, std::uint64_t lost_after, std::uint64_t sent);
    void close(std::int64_t retry_ns);
    bool write(std::span<iovec> parts, std::size_t &done);
    bool flush();

    outbox *outbox_ = nullptr;
    fd socket_;
    watch_point point_;
    state state_ = state::idle;
    bool adopted_ = false;
    bool blocked_ = false;  // the socket takes nothing now
    bool silent_ = false;   // its peer says no more, and may listen still
    backoff retry_;
    std::size_t done_ = 0;                                            // bytes of the oldest frame that the socket has
    std::array<std::byte, 2 * header_bytes + sizeof(hello)> owed_{};  // of frames that are no messages
    std::size_t owed_from_ = 0, owed_to_ = 0;
    parser in_;
    std::array<std::byte, most_control_bytes> control_{};

    std::uint64_t most_ = ~std::uint64_t{0};
    std::uint64_t receiver_ = 0;
    std::int32_t pid_ = 0;
    std::uint64_t settled_ = 0;    // as outlet says it
    std::uint64_t answered_ = 0;   // receiver_ has told of what is lost up to this one
    std::uint64_t counted_ = 0;    // so many of those after delivered_ are among lost_
    std::uint64_t tried_ = 0;      // sequence of the last that was on trial, and may have been taken
    std::uint64_t delivered_ = 0;  // sequence
    std::uint64_t asked_ = 0;
    std::uint64_t lost_ = 0, refused_ = 0;
};

}  // namespace libipc::stream
