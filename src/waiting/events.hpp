// The one epoll of a handle, what its events mean, and interrupting a wait. Its fd is the fd that users poll.
#pragma once

#include <cstdint>

#include "handle/ownership.hpp"
#include "system/os.hpp"

namespace libipc {

// What an event is about. Kind, generation and index, never an address: the epoll outlives the copy of the library that
// filled it.
struct event_tag {
    enum class of : std::uint8_t {
        interrupt,
        timer,
        folder,
        listener,
        knock,
        space_bell,
        data_bell,
        peer_socket,
        peer_pid,
        stream
    };
    of kind;
    std::uint32_t index = 0;       // of the link
    std::uint32_t generation = 0;  // a late event of an earlier link in the same place is passed over

    // What a tag keeps of a generation.
    static constexpr std::uint32_t generation_mask = 0xffffff;

    std::uint64_t pack() const {
        return static_cast<std::uint64_t>(kind) << 56 | std::uint64_t{generation & generation_mask} << 32 | index;
    }
    static event_tag unpack(std::uint64_t data) {
        return {static_cast<of>(data >> 56), static_cast<std::uint32_t>(data),
                static_cast<std::uint32_t>(data >> 32) & generation_mask};
    }
    bool is_of(std::uint32_t now) const { return generation == (now & generation_mask); }
};

class events {
  public:
    events() = default;
    explicit events(handle_words *words);  // throws failure
    int get() const { return epoll_.get(); }

    // Throws failure. Edge-triggered for bells, which nobody reads: each ring triggers again.
    void add(int fd, event_tag tag, bool edge = false);
    int try_add(int fd, event_tag tag, bool edge = false) noexcept;
    void remove(int fd) { unwatch(epoll_.get(), fd); }

    // Takes what is there, waiting for the first of it up to timeout_ns, and calls f(tag) for each until nothing is
    // left: a host that polls our fd must not find it ready for what we have seen. No more than 4,096 in one call, as
    // peers may be quicker than we are. 0, or -EINTR.
    template <class F>
    int take(std::int64_t timeout_ns, F f) {
        epoll_event some[64];
        for (int rounds = 0; rounds < 64; ++rounds) {
            if (timeout_ns != 0) words_->sleeper.store(pthread_self(), std::memory_order_relaxed);
            int n = wait_events(epoll_.get(), some, timeout_ns);
            words_->sleeper.store(0, std::memory_order_relaxed);
            if (n < 0) return n;
            for (int i = 0; i < n; ++i) f(event_tag::unpack(some[i].data.u64));
            if (n < 64) return 0;
            timeout_ns = 0;
        }
        return 0;
    }

    // True about once a clock tick (1 to 4 ms), and at the first call after a pause: time to look at the events.
    // Reading the clock takes as long as a small message (5 ns, measured), so in a rush of calls it is read at every
    // 16th only; a rush that stops dead may thus keep the next 15 calls from looking.
    bool due() {
        if (skip_ != 0) {
            --skip_;
            return false;
        }
        std::int64_t now = coarse_now_ns();
        if (now == looked_) {
            if (++reads_this_tick_ >= rush) skip_ = 15;
            return false;
        }
        looked_ = now;
        reads_this_tick_ = 0;
        return true;
    }
    // When that was last the case, by the coarse clock.
    std::int64_t looked_at() const { return looked_; }
    // True if that is known not to be so without the clock, and nobody interrupts: a call that need do nothing else may
    // go ahead.
    bool in_rush() {
        if (skip_ == 0 || interrupted()) return false;
        --skip_;
        return true;
    }
    // Calls are let by without the clock.
    bool skips() const { return skip_ != 0; }
    // The other side was asleep: whatever this is, it is no rush.
    void no_rush() { skip_ = reads_this_tick_ = 0; }

    // Any thread, also a signal handler. The release pairs with the acquire in take_interrupt: whoever is told of the
    // interrupt sees what was done before it. The bell comes after the word, so that who takes the bell finds the word.
    void interrupt() {
        words_->interrupted.store(true, std::memory_order_release);
        ring_bell(interrupt_bell_.get());
    }
    // Makes the fd ready once more, whatever was taken.
    void stay_ready() { ring_bell(interrupt_bell_.get()); }
    // Relaxed: that a spin may end; take_interrupt decides.
    bool interrupted() const { return words_->interrupted.load(std::memory_order_relaxed); }
    // True once for an interrupt.
    bool take_interrupt() { return interrupted() && words_->interrupted.exchange(false, std::memory_order_acquire); }

    // One timer, for what can't be waited for otherwise; disarmed it costs nothing.
    void set_alarm(std::int64_t delay_ns, std::int64_t period_ns = 0) { set_timer(timer_.get(), delay_ns, period_ns); }
    // At the latest after so long: one that goes off before stays.
    void alarm_within(std::int64_t delay_ns) {
        std::int64_t at = now_ns() + delay_ns;
        if (alarm_at_ != 0 && alarm_at_ <= at) return;
        alarm_at_ = at;
        set_alarm(delay_ns);
    }
    void drain_alarm() {
        drain_timer(timer_.get());
        alarm_at_ = 0;
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a.resource(words_, static_cast<handle_words *>(nullptr));
        a(epoll_, interrupt_bell_, timer_, alarm_at_, looked_, reads_this_tick_, skip_);
    }

  private:
    handle_words *words_ = nullptr;
    fd epoll_;
    fd interrupt_bell_;
    fd timer_;
    std::int64_t alarm_at_ = 0;                // 0: none is set by alarm_within
    static constexpr std::uint32_t rush = 64;  // calls within a tick
    std::int64_t looked_ = 0;
    std::uint32_t reads_this_tick_ = 0;
    std::uint32_t skip_ = 0;
};

}  // namespace libipc
