// Tells a handle that others may no longer find it: its name was deleted, or its folder is another one by now.
#pragma once

#include <sys/inotify.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "folder.hpp"
#include "system/os.hpp"
#include "waiting/events.hpp"

namespace libipc {

// Where nothing watches, or could be made, it is looked for so often.
inline constexpr std::int64_t folder_look_ns = 1'000'000'000;

// It makes events of::folder. Empty where none is to be had: then its owner looks every folder_look_ns.
class folder_watch {
  public:
    folder_watch() = default;
    // Whatever happened before is not told: look once more. The first event comes without anything having happened.
    // Throws what memory throws.
    folder_watch(const channel_folder &folder, events &to);
    explicit operator bool() const { return static_cast<bool>(inotify_); }
    void stop(events &from);
    // Takes what has happened, and calls f(name) for each name that was deleted or moved away. False if there was more
    // than the kernel keeps.
    template <class F>
    bool take(F f) const {
        bool all = true;
        alignas(inotify_event) char some[4096];
        int n;
        // What is left if somebody is quicker than we are is read next time.
        for (int i = 0; i < 16 && (n = read_bytes(inotify_.get(), std::as_writable_bytes(std::span(some)))) > 0; ++i)
            for (char *at = some; at < some + n;) {
                auto *event = reinterpret_cast<inotify_event *>(at);
                if (event->mask & IN_Q_OVERFLOW) all = false;
                if (event->len != 0) f(std::string_view(event->name));
                at += sizeof *event + event->len;
            }
        return all;
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(place_, inotify_, mounts_);
    }

  private:
    bool begin(const channel_folder &folder, events &to);

    fd place_;
    fd inotify_;
    fd mounts_;
};

}  // namespace libipc
