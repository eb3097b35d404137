// A receiver: listens in the channel's folder, takes senders' rings, and reads them in turn.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "folder.hpp"
#include "folder_watch.hpp"
#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "handle/status.hpp"
#include "handle/url.hpp"
#include "incoming.hpp"
#include "waiting/events.hpp"
#include "waiting/spin.hpp"

namespace libipc {

class receiver {
    static constexpr unsigned index_bits = 20;  // of ipc_message.link; the rest is the generation
    static constexpr std::uint32_t index_mask = (1u << index_bits) - 1;
    // From 1: an empty ipc_message is of no link.
    static constexpr std::uint32_t generations = (1u << (32 - index_bits)) - 1;

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
    const char *url() const { return where_.url.c_str(); }
    std::int32_t stats(ipc_receiver_counters &out);
    std::int32_t links(ipc_link *out, std::size_t count);
    // Stops listening and drops what is not held; returns how many messages are. At 0 the object can be deleted.
    std::uint64_t shut();
    bool is_shut() const { return shut_; }
    ownership &owner() { return owner_; }
    const ownership &owner() const { return owner_; }

    template <class Archive>
    void hand_over(Archive &a) {
        a(where_, from_, id_, owner_, events_, membarrier_, own_pid_, runtime_, folder_, watch_, name_, findable_,
          names_gone_, names_due_, times_);
        a(listener_, status_, peers_, free_, silent_, active_, settled_, turn_);
        a.rebuilt(serving_);
        a(turn_left_);
        a.rebuilt(resting_);
        a(spin_, counters_, lack_, paused_, waiting_, armed_, shut_);
    }

  private:
    // One sender. In the order of its life: connected (no hello yet), linked, gone.
    struct peer {
        libipc::fd socket;
        libipc::fd pid;
        std::optional<incoming> link;
        std::uint32_t generation = 0;
        bool used = false;             // this place in peers_ is taken
        bool waits = false;            // what it says, set aside for want of something; its socket is not watched then
        bool active = false;           // in active_: looked at in each call. If not, its bell is armed
        bool gone = false;             // hung up or dead: what is in the ring is all that comes
        bool told = false;             // its end or death was received
        std::uint32_t idle_looks = 0;  // looks at the events since its last message
        std::int32_t lack = 0;         // why there is no link yet, or why it waits: -errno
        std::uint64_t fds_needed = 0;  // by its hello, if it waits for descriptors
        std::uint64_t announced = 0;   // id of a sender with which there is no link yet
        std::int32_t process = 0;      // its pid
        template <class Archive>
        void hand_over(Archive &a) {
            a(socket, pid, link, generation, used, waits, active, gone, told, idle_looks, lack, fds_needed, announced,
              process);
        }
    };

    void listen();
    void knock(int socket);
    int look(std::int64_t timeout_ns);
    void take_newcomers();
    bool lacks() const { return paused_ || waiting_ != 0; }
    void retry_those_aside();
    void handle(event_tag tag);
    void make_room_for(std::size_t peers);
    void make_place();
    int accept();
    void pause_accepting(int error);
    void watch_listener(std::uint32_t what) {
        rewatch(events_.get(), listener_.get(), what, event_tag{event_tag::of::listener}.pack());
    }
    void read_socket(std::uint32_t index);
    void greet(std::uint32_t index);
    received peek_greeting(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds);
    bool link_with(std::uint32_t index, layout::hello &hello, std::span<libipc::fd, most_fds> fds);
    void undo_link(std::uint32_t index);
    void answer(const peer &p, bool with_pid);
    enum class heard { all, part, hang_up, nonsense };
    heard hear(std::uint32_t index);
    void act_on(std::uint32_t index, heard what);
    void set_aside(std::uint32_t index, int error);
    void take_in(std::uint32_t index);
    void say_no(const peer &p, std::string_view words);
    void refuse(std::uint32_t index, std::string_view words);
    void lost(std::uint32_t index);
    void drop(std::uint32_t index);
    void drop_if_done(std::uint32_t index);
    void activate(std::uint32_t index);
    void wake();
    bool settle();
    void rest_idle();
    static void tell(const peer &p, layout::notice_kind what);
    void check_names();
    void watch();
    void tell_unnamed();
    void look_for_names();
    void look_at_folder(bool told);
    void set_alarm(std::int64_t first_ns = 0);
    void keep_fences();
    // Nearly always, in a flood: the sender whose turn it is has more, and the message before is released.
    bool receive_at_once(ipc_message &out);
    bool release_at_once(const ipc_message &message);
    // Apart, so that what is done at once needs no stack.
    [[gnu::noinline]] std::int32_t receive_any(ipc_message &out, std::int64_t timeout_ns);
    [[gnu::noinline]] std::int32_t release_any(const ipc_message &message);
    void count_message(ipc_message &out, std::uint32_t index, peer &p);
    std::int32_t take_from(std::uint32_t index, peer &p, ipc_message &out);
    bool follow(std::uint32_t index);
    std::int32_t go_on(std::uint32_t index, peer &p, ipc_message &out);
    std::int32_t finish(std::uint32_t index, bool end, bool broken, ipc_message &out);
    void end_turn();
    std::int32_t take(ipc_message &out);
    std::int32_t wait(ipc_message &out, std::int64_t timeout_ns);
    bool something_there() const;
    void show();

    endpoint where_;
    std::int32_t from_ = 0;
    std::uint64_t id_ = 0;
    ownership owner_;
    events events_;
    bool membarrier_ = false;
    libipc::fd own_pid_;
    std::string runtime_;
    channel_folder folder_;
    folder_watch watch_;
    std::string name_;
    bool findable_ = true;     // false if the name is gone and could not be made again
    bool names_gone_ = false;  // of senders that were not linked, or not yet
    bool names_due_ = false;
    std::uint32_t times_ = 0;
    libipc::fd listener_;
    status_page status_;

    std::vector<std::unique_ptr<peer>> peers_;
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> silent_;   // connected and no hello yet, in order of arrival
    std::vector<std::uint32_t> active_;   // looked at in each call
    std::vector<std::uint32_t> settled_;  // were active when we last fell asleep: looked at again after waking
    std::size_t turn_ = 0;                // in active_
    peer *serving_ = nullptr;             // at turn_ in active_, if its turn has begun: not to outlive a change of that
    std::uint32_t turn_left_ = 0;         // messages left to it in this turn
    std::vector<std::uint32_t> resting_;  // room for rest_idle

    spin spin_;
    ipc_receiver_counters counters_{};
    int lack_ = 0;               // why somebody was set aside, or nobody is accepted: -errno to be told, once
    bool paused_ = false;        // nobody is accepted
    std::uint64_t waiting_ = 0;  // peers set aside
    bool armed_ = false;         // the host may be waiting on our fd
    bool shut_ = false;
};

inline void receiver::count_message(ipc_message &out, std::uint32_t index, peer &p) {
    out.link = index | p.generation << index_bits;
    ++counters_.messages;
    ++counters_.held;
    counters_.bytes += out.size;
    p.idle_looks = 0;
}

inline bool receiver::receive_at_once(ipc_message &out) {
    if (turn_left_ == 0 || !serving_ || !events_.in_rush() || !serving_->link->take_in_order(out)) return false;
    --turn_left_;
    count_message(out, active_[turn_], *serving_);
    return true;
}

// Whom we serve is neither gone for good nor are we closed.
inline bool receiver::release_at_once(const ipc_message &message) {
    if (!serving_ || message.link != (active_[turn_] | serving_->generation << index_bits) ||
        !serving_->link->release_in_order(message.position))
        return false;
    --counters_.held;
    return true;
}

}  // namespace libipc
