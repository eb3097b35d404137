// A receiver's name in the channel's folder: a socket to which senders connect. It is made again where it was deleted,
// for which the folder is watched.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "folder.hpp"
#include "folder_watch.hpp"
#include "waiting/events.hpp"

namespace libipc {

class receiver_name {
  public:
    receiver_name() = default;
    receiver_name(std::string runtime, std::string channel, std::uint64_t id)
        : runtime_(std::move(runtime)), channel_(std::move(channel)), id_(id) {}

    // A name that is there, and not yet the receiver's.
    struct fresh {
        fd listener;
        channel_folder folder;
        std::string name;
    };
    // Makes one. tell() is called before it is there. Throws failure.
    fresh make(events &e, const std::function<void()> &tell) const;
    // From now on it is this one, and what there was before is closed. The folder is watched no more.
    void become(fresh name, events &e);
    explicit operator bool() const { return !name_.empty(); }
    // From now on nobody finds the receiver.
    void remove(events &e);
    // Those of other handles: senders are knocked on, with a datagram socket, and the names of the dead deleted.
    void knock_on_senders(int socket) const;

    const channel_folder &folder() const { return folder_; }
    int listener() const { return listener_.get(); }

    bool is_there() const { return folder_.finds(name_); }
    // False while its name is gone and could not be made again, as was noted last: this does not look.
    bool findable() const { return findable_; }
    // What findable() says from now on; true if it said so before.
    bool note_findable(bool is) { return std::exchange(findable_, is); }

    bool watched() const { return static_cast<bool>(watch_); }
    void watch(events &e) { watch_ = folder_watch(folder_, e); }
    // Takes what the watch has seen, and calls f(name) for each name that was deleted or moved. False if there was
    // more.
    template <class F>
    bool hear_watch(F f) const {
        return watch_.take(f);
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(runtime_, channel_, folder_, watch_, listener_, id_, name_, times_, findable_);
    }

  private:
    std::string runtime_, channel_;
    channel_folder folder_;
    folder_watch watch_;
    fd listener_;
    std::uint64_t id_ = 0;
    std::string name_;
    std::uint32_t times_ = 0;  // that it was made
    bool findable_ = true;
};

}  // namespace libipc
