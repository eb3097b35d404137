// unix:///path: a stream socket with a name in the file system. One receiver listens; what a dead one left is replaced.
#pragma once

#include <sys/types.h>

#include <string>

#include "connections.hpp"
#include "dialer.hpp"

namespace libipc::stream {

class unix_listener final : public connections {
  public:
    unix_listener() = default;
    unix_listener(site &s, intake &in);  // throws failure
    void leave() override;
    template <class Archive>
    void hand_over(Archive &a) {
        connections::hand_over(a);
        a(inode_);
    }

  private:
    std::optional<refusal> admit(int socket) override;
    ino_t inode_ = 0;  // of the name; 0: it is not ours
};

class unix_dialer final : public dialer {
  public:
    unix_dialer() = default;
    unix_dialer(site &s, outbox &out) : dialer(s, out) { open(); }  // throws failure

  private:
    int dial(fd &socket) override;
};

}  // namespace libipc::stream
