// pipe:///path: a FIFO. One receiver reads it; it makes it where it is missing, and removes what it has made.
#pragma once

#include <sys/types.h>

#include "fifo.hpp"
#include "name_watch.hpp"

namespace libipc::stream {

class pipe_source final : public fifo_source {
  public:
    pipe_source() = default;
    pipe_source(site &s, intake &in);  // throws failure
    void resume(site &s, intake &in) override;
    void alarm() override;
    void leave() override;
    bool check_name() override;
    template <class Archive>
    void hand_over(Archive &a) {
        fifo_source::hand_over(a);
        a(made_, inode_, watch_);
    }

  private:
    fd open();
    fd opened();
    void claim(const fd &pipe, bool made);
    bool reopen(fd &pipe) override;

    bool made_ = false;
    ino_t inode_ = 0;
    name_watch watch_;
};

class pipe_outlet final : public fifo_outlet {
  public:
    pipe_outlet() = default;
    pipe_outlet(site &s, outbox &out) : fifo_outlet(s, out) { begin(); }  // throws failure

  private:
    int open(fd &pipe) override;
};

}  // namespace libipc::stream
