// A sender's name in the channel's folder: a socket on which receivers knock. It is made again where it was deleted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "folder.hpp"
#include "folder_watch.hpp"
#include "waiting/events.hpp"

namespace libipc {

class sender_name {
  public:
    sender_name() = default;
    // Throws failure.
    sender_name(std::string runtime, std::string channel, std::uint64_t id, events &e);
    // From now on nobody finds the sender.
    void remove() const;

    const channel_folder &folder() const { return folder_; }
    int knocks() const { return knocks_.get(); }
    // Takes the knocks out of the socket.
    void hear_knocks() const;

    // What follows returns true if the folder is to be read once more: the name was gone, and is made again, now or by
    // an alarm.
    bool check(events &e);
    // Where nothing watches it. That is three system calls: not for each call that comes after a pause.
    bool check_now_and_then(events &e);
    // A sender that waits without a receiver depends on its name, and on the folder, to be found; of one that is
    // linked, the receivers watch it.
    bool watch(events &e, bool linked);
    bool watched() const { return static_cast<bool>(watch_); }
    // Takes what the watch has seen.
    void hear_watch(events &e);

    template <class Archive>
    void hand_over(Archive &a) {
        a(runtime_, channel_, folder_, watch_, knocks_, id_, name_, times_, due_ns_);
    }

  private:
    void take(events &e);

    std::string runtime_, channel_;
    channel_folder folder_;
    folder_watch watch_;  // only while it waits without a link
    fd knocks_;
    std::uint64_t id_ = 0;
    std::string name_;
    std::uint32_t times_ = 0;  // that it was made
    std::int64_t due_ns_ = 0;  // to be looked for
};

}  // namespace libipc
