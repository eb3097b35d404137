// A receiver: listens in the channel's folder, takes senders' rings, and reads them in turn.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "handle/url.hpp"
#include "peers.hpp"
#include "receiver_name.hpp"
#include "self.hpp"
#include "turns.hpp"
#include "waiting/events.hpp"
#include "waiting/spin.hpp"

namespace libipc {

class receiver {
  public:
    static constexpr std::int32_t role = IPC_RECEIVER;
    static constexpr bool streams = false;
    receiver() = default;
    receiver(endpoint where, std::int32_t from);  // throws failure
    explicit receiver(handoff::reader &state);    // throws, and has taken nothing then
    ~receiver();

    std::int32_t receive(ipc_message &out, std::int64_t timeout_ns) {
        if (receive_at_once(out)) [[likely]]
            return IPC_MESSAGE;
        return receive_any(out, timeout_ns);
    }
    std::int32_t release(const ipc_message &message) {
        if (release_at_once(message)) [[likely]]
            return 0;
        return release_any(message);
    }
    void interrupt() { events_.interrupt(); }
    std::int32_t arm();
    int fd() const { return events_.get(); }
    const char *url() const { return self_.where.url.c_str(); }
    std::int32_t stats(ipc_receiver_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    // Stops listening and drops what is not held; returns how many messages are. At 0 the object can be deleted.
    std::uint64_t shut();
    bool is_shut() const { return shut_; }
    ownership &owner() { return owner_; }
    const ownership &owner() const { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(self_, from_, owner_, events_, name_, names_gone_, names_due_, status_, peers_, turns_, shortage_, spin_,
          counters_, armed_, shut_);
    }

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
    static void tell(const peer &p, layout::notice_kind what);
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
        rewatch(events_.get(), name_.listener(), what, event_tag{event_tag::of::listener}.pack());
    }
    int accept();
    void welcome(std::uint32_t index);
    void take_hello(std::uint32_t index);
    received peek_hello(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds);
    bool link_with(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds);
    void undo_link(std::uint32_t index);
    void begin(std::uint32_t index, const layout::hello &hello);
    void answer(const peer &p, bool with_pid);
    void say_no(const peer &p, std::string_view words);
    void refuse(std::uint32_t index, std::string_view words);

    // What senders say.
    // all: nothing more is in the socket. part: more is, but it was set aside, or was too much for one look.
    enum class heard { all, part, hang_up, nonsense };
    void read_socket(std::uint32_t index);
    heard hear(std::uint32_t index);
    void take_ring(peer &p, const layout::ring_notice &notice, const received &got, std::span<libipc::fd> fds);
    void act_on(std::uint32_t index, heard what);
    bool follow(std::uint32_t index);

    // Want of something.
    void set_aside(std::uint32_t index, int error);
    void end_aside(std::uint32_t index);
    void retry_those_aside();

    // Their going.
    void lost(std::uint32_t index);
    void drop(std::uint32_t index);
    void drop_if_done(std::uint32_t index);

    // Looking and sleeping.
    void handle(event_tag tag);
    int look(std::int64_t timeout_ns);
    void activate(std::uint32_t index);
    bool settle();
    void set_awake();
    void keep_fences();

    // Receiving. In a flood the two _at_once() nearly always do it: the sender whose turn it is has more, and the
    // message before is released.
    bool receive_at_once(ipc_message &out);
    bool release_at_once(const ipc_message &message);
    // Not inlined: the fast path then needs no stack frame.
    [[gnu::noinline]] std::int32_t receive_any(ipc_message &out, std::int64_t timeout_ns);
    [[gnu::noinline]] std::int32_t release_any(const ipc_message &message);
    void count_message(ipc_message &out, std::uint32_t index, peer &p);
    std::int32_t take(ipc_message &out);
    std::int32_t take_from(std::uint32_t index, peer &p, ipc_message &out);
    std::int32_t go_on(std::uint32_t index, peer &p, ipc_message &out);
    std::int32_t finish(std::uint32_t index, bool end, bool broken, ipc_message &out);
    std::int32_t wait(ipc_message &out, std::int64_t timeout_ns);

    void show();

    self self_;
    std::int32_t from_ = 0;
    ownership owner_;
    events events_;
    receiver_name name_;
    bool names_gone_ = false;  // a name has ever gone whose sender had no link; never reset
    bool names_due_ = false;   // a sender was linked since: look whether its name is there
    status_page status_;
    peers peers_;
    turns turns_;
    shortage shortage_;
    spin spin_;
    ipc_receiver_counters counters_{};
    bool armed_ = false;  // the host may be waiting on our fd
    bool shut_ = false;
};

inline void receiver::count_message(ipc_message &out, std::uint32_t index, peer &p) {
    out.link = link_key::pack(index, p.generation);
    ++counters_.messages;
    ++counters_.held;
    counters_.bytes += out.size;
    p.idle_looks = 0;
}

inline bool receiver::receive_at_once(ipc_message &out) {
    if (!turns_.goes_on() || !events_.in_rush() || !turns_.serving()->link->take_in_order(out)) return false;
    turns_.count_message();
    count_message(out, turns_.served(), *turns_.serving());
    return true;
}

// Whom we serve is neither gone for good nor are we closed.
inline bool receiver::release_at_once(const ipc_message &message) {
    peer *p = turns_.serving();
    if (!p || message.link != link_key::pack(turns_.served(), p->generation) ||
        !p->link->release_in_order(message.position))
        return false;
    --counters_.held;
    return true;
}

}  // namespace libipc
