// A libuv loop for the descriptors of one handle. Its backend is one more descriptor in the epoll of the handle: that
// is waited on, and then the loop runs without waiting, because uv_run would go on after a signal.
//
// Of libuv it is uv_poll that is used, and not its streams: these write without MSG_NOSIGNAL, and a library may not
// touch SIGPIPE; at EMFILE they take in and close whoever waits to be accepted; they close the descriptors that a
// handoff must keep; and they read into one buffer, where a payload and what follows it want two.
//
// A handoff leaves the loop to the copy of the library that made it. The next copy makes one of its own, for the same
// descriptors, and both are in the epoll until the first is gone: whoever waits on that misses nothing.
#pragma once

#include <exception>
#include <utility>

#include "../events.hpp"
#include "uv.hpp"

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

    // From now on the events tell when something is there to run for. Nobody is called yet, whatever is there. Throws
    // failure.
    void enter(events &e);
    // Takes what is there, without waiting, and passes on what has to be watched from now on. Throws what they throw
    // who are called.
    void run();
    // Something has to be passed on before the descriptor can be waited on.
    bool stale() const { return stale_; }
    // In a forked child: the epoll is the parent's, and nothing may be changed in it.
    void forked() { calls_.loop_fork(&uv_); }

  private:
    friend class watch_point;
    uv_library calls_;
    uv_loop_t uv_;
    std::exception_ptr thrown_;  // by somebody who was called
    bool deaf_ = false;          // nobody is called
    bool stale_ = false;         // libuv itself tells this from 1.44 on only
};

// Watches one descriptor, which stays its owner's and must outlive this.
class watch_point {
  public:
    watch_point() = default;
    watch_point(loop &in, int fd, watched &who);  // throws failure
    watch_point(watch_point &&other) noexcept
        : node_(std::exchange(other.node_, nullptr)), wanted_(std::exchange(other.wanted_, 0)) {}
    watch_point &operator=(watch_point &&other) noexcept {
        std::swap(node_, other.node_);
        std::swap(wanted_, other.wanted_);
        return *this;
    }
    ~watch_point();
    void want(bool readable, bool writable) { want((readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0)); }
    // Only errors and that the peer is gone, both ways. libuv has no name for this; but with whatever is watched these
    // are told, and urgent data is what nobody sends.
    void want_hang_up() { want(UV_PRIORITIZED); }
    // In the place of one of another copy of the library, and wants the same.
    void resume(loop &in, int fd, watched &who);  // throws failure
    template <class Archive>
    void hand_over(Archive &a) {
        a(wanted_);
        a.rebuilt(node_);
    }

  private:
    struct node;
    void want(int events);

    node *node_ = nullptr;
    int wanted_ = 0;
};

}  // namespace libipc::stream
