// Those who have connected to a receiver, each in a place with an index, by which events and messages name it: the
// place is used again, with another generation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "handle/link_key.hpp"
#include "incoming.hpp"
#include "system/os.hpp"
#include "waiting/events.hpp"

namespace libipc {

// One sender.
struct peer {
    enum class stage : std::uint8_t {
        none,      // nobody has this place
        greeting,  // connected; a hello has not come, or can't be taken now
        linked,
        gone,      // hung up or dead: what is in its rings is all that comes
        reported,  // its end or death was received: the place is free when it holds no message
    };
    stage at = stage::none;
    bool waits = false;   // what it says is set aside for want of something, and its socket not watched
    bool active = false;  // one of the turns. If not, its bell is armed
    fd socket;
    fd pid;
    std::optional<incoming> link;
    std::uint32_t generation = 0;
    std::uint32_t idle_looks = 0;  // looks at the events since its last message
    std::int32_t lack = 0;         // why there is no link yet, or why it waits: -errno
    std::uint64_t fds_needed = 0;  // by its hello, if it waits for descriptors
    std::uint64_t announced = 0;   // id of a sender with which there is no link yet
    std::int32_t process = 0;      // its pid

    bool here() const { return at != stage::none; }
    bool gone() const { return at >= stage::gone; }
    bool reported() const { return at == stage::reported; }
    // Something is to be received of it.
    bool ready() const { return gone() || link->has_frame(); }

    template <class Archive>
    void hand_over(Archive &a) {
        a(at, waits, active, socket, pid, link, generation, idle_looks, lack, fds_needed, announced, process);
    }
};

class peers {
  public:
    std::size_t size() const { return all_.size(); }
    peer &operator[](std::uint32_t index) { return *all_[index]; }
    const peer &operator[](std::uint32_t index) const { return *all_[index]; }
    // Whom an event is about; null if that one is not there any more.
    peer *find(const event_tag &tag) {
        if (tag.index >= all_.size()) return nullptr;
        peer &p = *all_[tag.index];
        return p.here() && tag.is_of(p.generation) ? &p : nullptr;
    }

    bool full() const { return free_.empty() && all_.size() == link_key::most_places; }
    // A place for one more, if none is free. Throws bad_alloc, and nothing has changed.
    void make_slot(std::uint64_t random) {
        if (!free_.empty()) return;
        make_room(all_.size() + 1);
        all_.push_back(std::make_unique<peer>());
        all_.back()->generation = link_key::first_generation(random);
        free_.push_back(static_cast<std::uint32_t>(all_.size() - 1));
    }
    // Someone has connected, and says nothing yet.
    std::uint32_t add(fd socket) {
        std::uint32_t index = free_.back();
        free_.pop_back();
        peer &p = *all_[index];
        p.at = peer::stage::greeting;
        p.socket = std::move(socket);
        silent_.push_back(index);
        return index;
    }
    void clear(std::uint32_t index) {
        std::erase(silent_, index);
        peer &p = *all_[index];
        std::uint32_t generation = link_key::next_generation(p.generation);
        p = peer{};
        p.generation = generation;
        free_.push_back(index);
    }

    // Those who have connected and not said anything, in order of arrival.
    const std::vector<std::uint32_t> &silent() const { return silent_; }
    void note_spoken(std::uint32_t index) { std::erase(silent_, index); }

    // Nothing that is done with a link later asks for memory.
    void make_room(std::size_t count) {
        free_.reserve(count);
        silent_.reserve(count);
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(all_, free_, silent_);
    }

  private:
    std::vector<std::unique_ptr<peer>> all_;
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> silent_;
};

}  // namespace libipc
