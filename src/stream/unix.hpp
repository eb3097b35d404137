// unix:///path: a stream socket with a name in the file system. One receiver listens; what a dead one left is replaced.
#pragma once

#include <sys/types.h>

#include <string>

#include "connections.hpp"
#include "dialer.hpp"
#include "name_watch.hpp"

namespace libipc::stream {

class unix_listener final : public connections {
  public:
    unix_listener() = default;
    unix_listener(site &s, intake &in);  // throws failure
    void resume(site &s, intake &in) override;
    void alarm() override;
    void leave() override;
    bool check_name() override;
    template <class Archive>
    void hand_over(Archive &a) {
        connections::hand_over(a);
        a(inode_, watch_);
    }

  private:
    std::optional<refusal> admit(int socket) override;
    fd make();  // throws failure

    ino_t inode_ = 0;  // of the name; 0: it is not ours
    name_watch watch_;
};

class unix_dialer final : public dialer {
  public:
    unix_dialer() = default;
    unix_dialer(site &s, outbox &out) : dialer(s, out) { open(); }  // throws failure

  private:
    int dial(fd &socket) override;
};

}  // namespace libipc::stream
