// What a receiver has to do with senders, but for their messages: it is found by them, meets those who come, hears what
// they say, waits with those for whom it lacks something, and lets go of who has gone.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "handle/url.hpp"
#include "memory/layout.hpp"
#include "peers.hpp"
#include "receiver_name.hpp"
#include "self.hpp"
#include "system/os.hpp"
#include "turns.hpp"
#include "waiting/events.hpp"

namespace libipc {

class reception {
  public:
    reception() = default;
    reception(endpoint where, std::int32_t from, handle_words *words);  // throws failure
    // From now on it is found, and senders that are there are told. Throws failure, and then it is not.
    void open();

    void handle(event_tag tag);
    // What no event tells of, at each look: true if somebody may have something for us now.
    bool catch_up();
    bool any_ready() const { return turns.any_ready(peers); }
    // The sleeper's part of waking.hpp. True if nothing is there: the receiver may sleep.
    bool settle();
    void set_awake();
    // The stream of this peer is continued: goes on where it does. False if it is not known where.
    bool follow(std::uint32_t index);
    // Nothing more comes of it: what is in its rings is all.
    void lost(std::uint32_t index);
    void drop(std::uint32_t index);
    void drop_if_done(std::uint32_t index);
    // From now on nobody finds it. Tells those whose messages are held that we leave, and lets go of the others.
    void dismiss();

    // Of descriptors or memory: somebody is set aside, or nobody is accepted.
    bool lacks() const { return shortage_.any(); }
    bool has_to_tell() const { return shortage_.to_tell != 0; }
    // -errno: why; 0 once it was told.
    std::int32_t take_what_to_tell() { return std::exchange(shortage_.to_tell, 0); }

    // In a forked child.
    void forget();
    // After a handoff.
    void rebuild();
    template <class Archive>
    void hand_over(Archive &a) {
        a(own, from_, events, name_, names_gone_, names_due_, peers, turns, shortage_, counters);
    }

    // The receiver gives out messages, for which it takes the turns, and counts them.
    self own;
    libipc::events events;
    libipc::peers peers;
    libipc::turns turns;
    ipc_receiver_counters counters{};

  private:
    // Of descriptors or memory.
    struct shortage {
        std::int32_t to_tell = 0;   // -errno: why somebody was set aside, or nobody is accepted; told once
        bool paused = false;        // nobody is accepted
        std::uint64_t waiting = 0;  // peers set aside
        bool any() const { return paused || waiting != 0; }
        template <class Archive>
        void hand_over(Archive &a) {
            a(to_tell, paused, waiting);
        }
    };

    // Being found.
    void listen();
    void watch();
    void tell_senders_without_name();
    void look_for_names();
    void look_at_folder(bool told);
    void hear_watch();
    void check_name();
    void set_alarm(std::int64_t first_ns = 0);

    // Newcomers.
    void take_newcomers();
    void pause_accepting(int error);
    void watch_listener(std::uint32_t what) {
        rewatch(events.get(), name_.listener(), what, event_tag{event_tag::of::listener}.pack());
    }
    int accept();
    void welcome(std::uint32_t index);
    void take_hello(std::uint32_t index);
    void begin(std::uint32_t index, const layout::hello &hello);
    void say_no(const peer &p, std::string_view words);
    void refuse(std::uint32_t index, std::string_view words);

    // What senders say.
    // all: nothing more is in the socket. part: more is, but it was set aside, or was too much for one look.
    enum class heard { all, part, hang_up, nonsense };
    void read_socket(std::uint32_t index);
    heard hear(std::uint32_t index);
    static void take_ring(peer &p, const layout::ring_notice &notice, const received &got, std::span<fd> fds);
    void act_on(std::uint32_t index, heard what);

    // Want of something.
    void set_aside(std::uint32_t index, int error);
    void end_aside(std::uint32_t index);
    void retry_those_aside();

    // Whose turn it is.
    void activate(std::uint32_t index);
    void rest_idle();
    void keep_fences();

    std::int32_t from_ = 0;
    receiver_name name_;
    bool names_gone_ = false;  // a name has ever gone whose sender had no link; never reset
    bool names_due_ = false;   // a sender was linked since: look whether its name is there
    shortage shortage_;
};

}  // namespace libipc
