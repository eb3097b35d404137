// The senders that a receiver of streams knows, and what came from each: a source fills it, the receiver's user empties
// it. Messages of one sender keep their order; senders are served in turn.
#pragma once

#include <ipc/ipc.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chain.hpp"
#include "handle/status.hpp"
#include "inbox.hpp"
#include "site.hpp"

namespace libipc::stream {

class intake;
class source;

// One sender.
struct origin {
    bool used = false;
    std::uint32_t generation = 0;
    std::uint64_t sender = 0;
    std::int32_t pid = 0;
    std::uint32_t way = 0;  // by which it comes, for its source
    inbox box;
    std::uint64_t last_sequence = 0;    // received whole
    std::uint64_t lost = 0;             // messages that it sent and that never came
    bool gone = false;                  // nothing more comes
    bool ended = false;                 // it said so, even if it came again since
    bool told = false;                  // the user knows
    bool end_known = false;             // ... of its end
    bool death_known = false;           // ... of its death, and nothing came since
    bool starved = false;               // its source waits until room() is called
    std::uint64_t asked = 0;            // it wants to be told until all up to here are released
    std::uint64_t acknowledged = 0;     // it was told that all up to here are
    std::uint64_t acknowledged_at = 0;  // ... when that many bytes were released
    chain::hook known;                  // to the intake
    chain::hook active;                 // it has something for the user
    chain::hook owed;                   // it is to be told what is released
    chain::hook bare;                   // it is gone, and nothing is left of it but that the user does not know
    template <class Archive>
    void hand_over(Archive &a) {
        a(used, generation, sender, pid, way, box, last_sequence, lost, gone, ended, told, end_known, death_known,
          starved, asked, acknowledged, acknowledged_at, known, active, owed, bare);
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
    // Looks whether its name is still its own, and makes it again if nothing is there. False: not now. May throw.
    virtual bool check_name() { return true; }
    virtual std::string url() const { return {}; }  // if it is another than what was asked for
};

class intake {
    template <chain::hook origin::*Hook>
    auto hooks() {
        return [this](std::uint32_t i) -> chain::hook & { return (*origins_[i]).*Hook; };
    }

  public:
    template <class Archive>
    void hand_over(Archive &a) {
        a(origins_, all_, free_, active_, owed_, bare_, turn_left_, held_, backlog_, keys_, counters);
        a.rebuilt(source_);
    }
    // Who is told when one is dropped.
    void serve(source &s) { source_ = &s; }
    // No sender more is taken before the user has taken and released what came of some that are gone.
    bool full() const { return all_.size() == most_origins && bare_.empty(); }
    static constexpr std::size_t most_origins = 4096;
    // With `spare` bytes beside its messages for its source. If it is full but for those of which only the end is left
    // to be told, the first of them is forgotten, untold. Throws, and nothing else has changed then.
    std::uint32_t add(std::uint64_t sender, std::uint64_t capacity, std::int32_t pid, std::size_t spare = 0);
    origin &operator[](std::uint32_t index) { return *origins_[index]; }

    // None of what follows takes any memory.

    // Its last placed message is whole.
    void keep(std::uint32_t index, std::uint64_t size, std::uint64_t tag, std::uint64_t sequence, std::uint64_t sender,
              std::uint32_t flags = 0);
    // This is one of that sender.
    bool is_of(std::uint32_t index, std::uint64_t sender) const {
        return index < origins_.size() && origins_[index]->used && origins_[index]->sender == sender;
    }
    // ... and it is gone, and comes again: what it sends now follows what it sent before.
    void resume(std::uint32_t index, std::int32_t pid);
    // Nothing more comes from it; `ended` if it said so.
    void finish(std::uint32_t index, bool ended);
    // Nothing comes, ever, and who might have sent it is not known. (This takes memory; false: there was none.)
    bool finish_unknown();
    void drop(std::uint32_t index);
    void lose(std::uint32_t index, std::uint64_t count) {
        origins_[index]->lost += count;
        counters.lost += count;
    }

    bool anything() const { return !active_.empty(); }
    // The next message, end or death, and of which origin; 0 if there is none.
    std::int32_t take(ipc_message &out, std::uint32_t &index);
    // Of which origin it was; or -errno.
    std::int64_t release(const ipc_message &message);
    // Its user knows that nothing more comes, and holds nothing.
    bool done(std::uint32_t index) const { return origins_[index]->told && origins_[index]->box.held() == 0; }

    // Those that are to be told what is released: each once.
    void owe(std::uint32_t index) { owed_.push_back(index, hooks<&origin::owed>()); }
    bool owes() const { return !owed_.empty(); }
    std::uint32_t take_owed();

    std::uint64_t held() const { return held_; }
    std::uint64_t backlog() const { return backlog_; }  // bytes
    std::int32_t links(ipc_link *out, std::size_t count) const;
    void show(shown_links &out) const;
    ipc_receiver_counters counters{};

  private:
    template <class F>
    void change_box(origin &o, F f);
    void note_bare(std::uint32_t index);
    void tell(origin &o);
    void retire(std::uint32_t index);
    bool comes_again(std::uint32_t index) const;

    std::vector<std::unique_ptr<origin>> origins_;
    chain all_, free_;  // by origin::known
    chain active_;
    chain owed_;
    chain bare_;
    source *source_ = nullptr;
    std::uint32_t turn_left_ = 0;  // messages left to the first active one
    std::uint64_t held_ = 0, backlog_ = 0;
    std::uint64_t keys_ = 0;  // from which the positions of messages are counted
};

}  // namespace libipc::stream
