#include "name_watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include "system/failure.hpp"

namespace libipc::stream {

static constexpr std::int64_t look_ns = 1'000'000'000;

name_watch::name_watch(site &s, source &who) : site_(&s), who_(&who), point_(*s.uv, *this) {}

void name_watch::resume(site &s, source &who) {
    site_ = &s;
    who_ = &who;
    point_.resume(*s.uv, *this, inotify_.get());
}

void name_watch::begin() {
    end();
    looks_ = false;
    // A file that is open tells by its attributes that it has lost its name.
    inotify_ = fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_ && inotify_add_watch(inotify_.get(), site_->where.path.c_str(),
                                      IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW) >= 0)
        try {
            point_.begin(inotify_.get());
            return point_.want(true, false);
        } catch (const failure &) {
            // No memory of the system's for it now.
        }
    end();
    look_later();
}

void name_watch::look_later() {
    looks_ = true;
    site_->alarm_in(look_ns);
}

void name_watch::ready(bool, bool) {
    alignas(inotify_event) char some[4096];
    while (read(inotify_.get(), some, sizeof some) > 0) {
    }
    look();
}

void name_watch::alarm() {
    if (looks_) look();
}

void name_watch::look() {
    try {
        if (who_->check_name()) return begin();
    } catch (const std::exception &) {
        // There may be memory, or a folder, later.
    }
    look_later();
}

}  // namespace libipc::stream
