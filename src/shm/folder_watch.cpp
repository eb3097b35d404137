#include "folder_watch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>

#include <cerrno>
#include <string>

namespace libipc {

namespace {

// Of the inotify instances that a user may have, 128 on most machines, we leave the others to other programs.
constexpr int most_watching = 32;

// A place among those in this runtime folder who may have an instance, or nothing. It is a lock on the folder, which
// goes with whoever holds it. A folder can be locked for reading alone, which excludes nobody: two who come at the same
// moment may share a place.
fd take_place(const channel_folder &folder) {
    fd runtime(openat(folder.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int n = 0; runtime && n < most_watching; ++n) {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = n;
        lock.l_len = 1;
        if (fcntl(runtime.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) continue;
        lock.l_type = F_RDLCK;
        fcntl(runtime.get(), F_OFD_SETLK, &lock);  // where folders can't be locked, there is a place for everybody
        return runtime;
    }
    return {};
}

// Watches each folder and each symbolic link on the way to `path`, so that it is seen when one is moved or replaced.
// What this user may not read is passed over: only somebody else can move it. False if there can be no more watches.
bool watch_way(int inotify, const std::string &path, int most_links) {
    for (std::size_t end = 1; end != path.npos && end < path.size();) {
        end = path.find('/', end + 1);
        std::string part = path.substr(0, end);
        if (inotify_add_watch(inotify, part.c_str(), IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW) < 0 &&
            (errno == ENOSPC || errno == ENOMEM))
            return false;
        char target[PATH_MAX];
        ssize_t n = most_links == 0 ? -1 : readlink(part.c_str(), target, sizeof target);
        if (n <= 0) continue;
        std::string to(target, static_cast<std::size_t>(n));
        if (to.front() != '/') to = part.substr(0, part.rfind('/') + 1) + to;
        if (!watch_way(inotify, to, most_links - 1)) return false;
    }
    return true;
}

}  // namespace

folder_watch::folder_watch(const channel_folder &folder, events &to) {
    if (!begin(folder, to)) stop(to);
}

bool folder_watch::begin(const channel_folder &folder, events &to) {
    place_ = take_place(folder);
    if (!place_) return false;
    inotify_ = fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    // inotify sees no mounts. This can always be read: what tells is the edge, one for each change.
    mounts_ = fd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    std::string opened = fmt::format("/proc/self/fd/{}", folder.get());
    return inotify_ && mounts_ && watch_way(inotify_.get(), folder.path(), 8) &&
           inotify_add_watch(inotify_.get(), opened.c_str(),
                             IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF) >= 0 &&
           to.try_add(inotify_.get(), {event_tag::of::folder}) == 0 &&
           to.try_add(mounts_.get(), {event_tag::of::folder}, true) == 0;
}

void folder_watch::stop(events &from) {
    if (inotify_) from.remove(inotify_.get());
    if (mounts_) from.remove(mounts_.get());
    *this = folder_watch();
}

}  // namespace libipc
