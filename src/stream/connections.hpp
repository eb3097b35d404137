// A receiver's connections: accepted from a listening socket, or the one that was inherited. A peer that sends anything
// but frames is refused, and the others don't notice.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "connection.hpp"
#include "intake.hpp"
#include "roster.hpp"
#include "site.hpp"

namespace libipc::stream {

class connections : public source {
  public:
    connections() = default;
    connections(site &s, intake &in);
    ~connections() override;
    void resume(site &s, intake &in) override;
    void listen(fd listener);  // throws failure; also another one, instead
    void adopt(fd connected);  // throws failure

    void ready(bool readable, bool writable) override;
    void room(std::uint32_t index) override;
    void dropped(std::uint32_t index) override;
    bool acknowledges() const override { return !site_->where.raw; }
    void acknowledge(std::uint32_t index) override;
    void alarm() override;
    void leave() override;

    template <class Archive>
    void hand_over(Archive &a) {
        a(adopted_, listener_, point_, all_, count_, past_, forgets_, arrivals_, paused_, somebody_waits_, owes_death_);
        a.rebuilt(site_, intake_, staging_);
    }

    // What follows is for a connection.
    static constexpr std::size_t staging_bytes = 64 << 10;

    // What is known of a sender, while it is here and afterwards: it comes to light what was lost between, and nothing
    // is given out or told twice.
    struct past {
        std::uint64_t last = 0;     // all up to it were received, or are lost
        std::uint64_t lost = 0;     // so many of those before `lost_to` are, and it has not been told
        std::uint64_t lost_to = 0;  // it has, if it says that all up to here are settled
        std::uint32_t origin = 0;   // its own, if that one is still of this sender
        std::size_t slot = 0;
        bool here = false;
        bool known = false;
        bool ended = false;
        bool died = false;  // and nothing came since
    };

    loop &uv() { return *site_->uv; }
    const any_endpoint &where() const { return site_->where; }
    std::uint64_t id() const { return site_->id; }
    intake &to() { return *intake_; }
    std::span<std::byte> staging() { return staging_; }  // until the next read of any
    bool adopted() const { return adopted_; }
    bool forgets() const { return forgets_; }
    past &meet(std::uint64_t sender);  // throws bad_alloc
    // A connection of that sender is over: all up to `last` was received.
    void gone(std::uint64_t sender, std::uint64_t last, bool ended);
    void unknown_died();  // before it said who it is
    void short_of_memory();
    void remove(std::size_t slot);  // and the connection is no more

  protected:
    // Why this peer may not come in, if so. Also the place to set what a socket needs.
    virtual std::optional<refusal> admit(int) { return {}; }
    site *site_ = nullptr;

  private:
    void take_in(std::unique_ptr<connection> fresh, fd socket);
    std::unique_ptr<connection> prepare();  // throws
    void pause(int error);
    void wait(int error);
    bool let_go_of_a_silent_one(std::size_t more_than, std::uint64_t arrivals);
    bool let_go_of_an_idle_one();
    connection *of(std::uint32_t origin);

    intake *intake_ = nullptr;
    bool adopted_ = false;  // one connection is all there will be
    fd listener_;
    watch_point point_;
    std::vector<std::unique_ptr<connection>> all_;
    std::size_t count_ = 0;           // of them
    std::vector<std::byte> staging_;  // what is read lies here until it is taken apart
    roster<past> past_;
    bool forgets_ = false;  // somebody who is not in it was here
    std::uint64_t arrivals_ = 0;
    bool paused_ = false;          // nobody is accepted
    bool somebody_waits_ = false;  // ... and was accepted
    bool owes_death_ = false;
};

}  // namespace libipc::stream
