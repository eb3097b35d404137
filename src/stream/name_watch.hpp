// Tells a receiver that others may no longer find it: what its path named was deleted, or moved away.
#pragma once

#include <string>

#include "intake.hpp"
#include "loop.hpp"
#include "site.hpp"

namespace libipc::stream {

// By inotify; where none is to be had, or the name can't be made again yet, it looks every second.
class name_watch final : public watched {
  public:
    name_watch() = default;
    name_watch(site &s, source &who);  // throws
    // The name was made, or made again.
    void begin();
    void end() { point_.end(), inotify_.reset(); }
    void ready(bool readable, bool writable) override;
    void alarm();
    void resume(site &s, source &who);  // throws
    template <class Archive>
    void hand_over(Archive &a) {
        a(point_, inotify_, looks_);
        a.rebuilt(site_, who_);
    }

  private:
    void look();
    void look_later();

    site *site_ = nullptr;
    source *who_ = nullptr;
    fd inotify_;
    watch_point point_;
    bool looks_ = false;  // every second
};

}  // namespace libipc::stream
