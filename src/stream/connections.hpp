// A receiver's connections: accepted from a listening socket, or the one that was inherited. A peer that sends anything
// but frames is refused, and the others don't notice.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "connection.hpp"
#include "intake.hpp"
#include "site.hpp"

namespace libipc::stream {

class connections : public source {
  public:
    connections() = default;
    connections(site &s, intake &in);
    ~connections() override;
    void resume(site &s, intake &in) override;
    void listen(fd listener);  // throws failure
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
        a(adopted_, listener_, point_, all_, past_, arrivals_);
        a.rebuilt(site_, intake_, staging_);
    }

  protected:
    // Why this peer may not come in; empty if it may. Also the place to set what a socket needs.
    virtual std::string admit(int) { return {}; }
    site *site_ = nullptr;

  private:
    friend class connection;

    void take_in(fd socket);
    void remove(std::size_t slot);
    void short_of_fds(int error);
    bool drop_silent(std::size_t more_than, std::uint64_t arrivals);
    connection *of(std::uint32_t origin);
    // What is known of senders that were here: it comes to light what was lost between.
    std::uint64_t last_of(std::uint64_t sender) const;
    void remember(std::uint64_t sender, std::uint64_t last);

    intake *intake_ = nullptr;
    bool adopted_ = false;  // one connection is all there will be
    fd listener_;
    watch_point point_;
    std::vector<std::unique_ptr<connection>> all_;
    std::vector<std::byte> staging_;  // what is read lies here until it is taken apart
    struct past {
        std::uint64_t sender, last;
    };
    std::vector<past> past_;  // the latest at the end
    std::uint64_t arrivals_ = 0;
};

}  // namespace libipc::stream
