// The descriptors of one handle that are watched: in an epoll of their own, which is the one thing that libuv watches.
// The loop's backend is one more descriptor in the epoll of the handle: that is waited on, and then the loop runs
// without waiting, because uv_run would go on after a signal.
//
// So libuv asks for memory when a handle is opened, and never later: where it gets none it ends the process. And it is
// uv_poll that is used, and not libuv's streams: these write without MSG_NOSIGNAL, and a library may not touch SIGPIPE;
// at EMFILE they take in and close whoever waits to be accepted; they close the descriptors that a handoff must keep;
// and they read into one buffer, where a payload and what follows it want two.
//
// A handoff leaves the loop to the copy of the library that made it. The next copy makes one of its own, for the same
// descriptors, and both are in the epoll until the first is gone: whoever waits on that misses nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "uv.hpp"
#include "waiting/events.hpp"

namespace libipc::stream {

// What wants to know that a descriptor is ready. An error reads as both: the next call tells which.
class watched {
  public:
    virtual void ready(bool readable, bool writable) = 0;

  protected:
    ~watched() = default;
};

class loop {
  public:
    loop();  // throws failure
    ~loop();
    loop(const loop &) = delete;
    loop &operator=(const loop &) = delete;

    // From now on the events tell when something is there to run for. Throws failure.
    void enter(events &e) { e.add(calls_.backend_fd(&uv_), {event_tag::of::stream}); }
    // Takes what is there, without waiting. Throws what they throw who are called.
    void run();
    // In a forked child: the epolls are the parent's, and nothing may be changed in them.
    void forked();

  private:
    friend class watch_point;
    struct node {
        loop *home;
        int fd;
        watched *who;
        std::uint32_t events;
    };
    void pass_on();

    uv_library calls_;
    fd watched_;  // the epoll
    uv_loop_t uv_;
    uv_poll_t poll_;
    std::exception_ptr thrown_;  // by somebody who was called
    std::array<epoll_event, 256> taken_;
    std::size_t left_ = 0;  // of what was taken: not passed on yet
};

// Watches one descriptor at a time, which stays its owner's and must outlive that. Made once, it takes no memory later.
class watch_point {
  public:
    watch_point() = default;
    watch_point(loop &in, watched &who) : node_(new loop::node{&in, -1, &who, 0}) {}  // throws bad_alloc
    watch_point(watch_point &&other) noexcept : node_(std::move(other.node_)), wanted_(other.wanted_) {}
    watch_point &operator=(watch_point &&other) noexcept {
        std::swap(node_, other.node_);
        std::swap(wanted_, other.wanted_);
        return *this;
    }
    ~watch_point() { end(); }
    // From now on this one, and for nothing yet. Throws failure: the system may have no memory for it.
    void begin(int fd);
    void end();
    bool begun() const { return node_ && node_->fd >= 0; }
    void want(bool readable, bool writable) { want((readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u)); }
    // Only errors and that the peer is gone, both ways: with whatever is watched these are told, and urgent data is
    // what nobody sends.
    void want_hang_up() { want(EPOLLPRI); }
    // In the place of one of another copy of the library; if that had begun, with the same wish. Throws.
    void resume(loop &in, watched &who, int fd);
    template <class Archive>
    void hand_over(Archive &a) {
        a(wanted_);
        a.rebuilt(node_);
    }

  private:
    void want(std::uint32_t events);

    std::unique_ptr<loop::node> node_;
    std::uint32_t wanted_ = 0;
};

}  // namespace libipc::stream
