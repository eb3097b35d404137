// The senders that a receiver of streams knows, and what came from each: a source fills it, the receiver's user empties
// it. Messages of one sender keep their order; senders are served in turn.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../status.hpp"
#include "inbox.hpp"
#include "site.hpp"

namespace libipc::stream {

class intake;

// One sender.
struct origin {
    std::uint32_t generation = 0;
    bool used = false;
    std::uint64_t sender = 0;
    std::int32_t pid = 0;
    inbox box;
    std::uint64_t last_sequence = 0;    // received whole
    std::uint64_t lost = 0;             // messages that it sent and that never came
    bool gone = false;                  // nothing more comes
    bool ended = false;                 // ... because it said so
    bool told = false;                  // the user knows
    bool active = false;                // in the queue of those that have something
    bool starved = false;               // its source waits until room() is called
    std::uint64_t asked = 0;            // it wants to be told until all up to here are released
    std::uint64_t acknowledged = 0;     // it was told that all up to here are
    std::uint64_t acknowledged_at = 0;  // ... when that many bytes were released
    bool unacknowledged = false;        // in the list of those that are to be told
    template <class Archive>
    void hand_over(Archive &a) {
        a(generation, used, sender, pid, box, last_sequence, lost, gone, ended, told, active, starved, asked,
          acknowledged, acknowledged_at, unacknowledged);
    }
};

// Where messages come from: connections, a pipe, datagrams.
class source : public watched {
  public:
    virtual ~source() = default;
    // After its members were handed over: it is at work again. Throws failure.
    virtual void resume(site &s, intake &in) = 0;
    virtual void room(std::uint32_t) {}                  // a starved origin has room again
    virtual void dropped(std::uint32_t) {}               // an origin is no more
    virtual bool acknowledges() const { return false; }  // senders are told what is released
    virtual void acknowledge(std::uint32_t) {}           // tell this one now
    virtual void alarm() {}                              // the time that was asked for has come
    virtual void leave() {}                              // nothing more is taken in
    virtual std::string url() const { return {}; }       // if it is another than what was asked for
};

class intake {
  public:
    template <class Archive>
    void hand_over(Archive &a) {
        a(origins_, free_, active_, first_, turn_left_, counters);
        free_.reserve(origins_.size());  // so that drop() needs no memory
    }
    std::uint32_t add(std::uint64_t sender, std::uint64_t capacity, std::int32_t pid);  // throws failure
    origin &operator[](std::uint32_t index) { return *origins_[index]; }
    std::size_t size() const { return origins_.size(); }
    // Its last placed message is whole.
    void keep(std::uint32_t index, std::uint64_t size, std::uint64_t tag, std::uint64_t sequence, std::uint64_t sender,
              std::uint32_t flags = 0);
    // Nothing more comes from it; `ended` if it said so.
    void finish(std::uint32_t index, bool ended);
    // Nothing comes, ever, and who might have sent it is not known.
    void finish_unknown();
    void drop(std::uint32_t index);

    bool anything() const { return first_ != active_.size(); }
    // The next message, end or death, and of which origin; 0 if there is none.
    std::int32_t take(ipc_message &out, std::uint32_t &index);
    // Of which origin it was; or -errno.
    std::int64_t release(const ipc_message &message);
    // Its user knows that nothing more comes, and holds nothing.
    bool done(std::uint32_t index) const { return origins_[index]->told && origins_[index]->box.held() == 0; }

    std::uint64_t held() const;
    std::uint64_t backlog() const;  // bytes
    std::int32_t links(ipc_link *out, std::size_t count) const;
    void show(shown_links &out) const;
    ipc_receiver_counters counters{};

  private:
    void activate(std::uint32_t index);

    std::vector<std::unique_ptr<origin>> origins_;
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> active_;  // those that have something, from first_ on
    std::size_t first_ = 0;
    std::uint32_t turn_left_ = 0;  // messages left to the first of them
};

}  // namespace libipc::stream
