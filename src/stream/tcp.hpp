// tcp://host:port: between machines, in order. One receiver listens, on loopback unless it names another address.
#pragma once

#include <string>

#include "address.hpp"
#include "connections.hpp"
#include "dialer.hpp"

namespace libipc::stream {

class tcp_listener final : public connections {
  public:
    tcp_listener() = default;
    tcp_listener(site &s, intake &in);  // throws failure
    std::string url() const override;
    template <class Archive>
    void hand_over(Archive &a) {
        connections::hand_over(a);
        a(bound_, allowed_);
    }

  private:
    std::optional<refusal> admit(int socket) override;
    address bound_;
    allowed allowed_;
};

class tcp_dialer final : public dialer {
  public:
    tcp_dialer() = default;
    tcp_dialer(site &s, outbox &out);  // throws failure
    template <class Archive>
    void hand_over(Archive &a) {
        dialer::hand_over(a);
        a(there_);
    }

  private:
    int dial(fd &socket) override;
    address there_;
};

}  // namespace libipc::stream
