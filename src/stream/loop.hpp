// A libuv loop for the descriptors of one handle. Its backend is one more descriptor in the epoll of the handle: that
// is waited on, and then the loop runs without waiting, because uv_run would go on after a signal.
//
// Of libuv it is uv_poll that is used, and not its streams: these write without MSG_NOSIGNAL, and a library may not
// touch SIGPIPE; at EMFILE they take in and close whoever waits to be accepted; they close the descriptors that a
// handoff must keep; and they read into one buffer, where a payload and what follows it want two.
#pragma once

#include <utility>

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

    int fd() const { return calls_.backend_fd(&uv_); }
    // Takes what is there, without waiting, and passes on what has to be watched from now on.
    void run();
    // Something has to be passed on before the descriptor can be waited on.
    bool stale() const { return calls_.loop_alive(&uv_) && calls_.backend_timeout(&uv_) == 0; }
    // In a forked child: the epoll is the parent's, and nothing may be changed in it.
    void forked() { calls_.loop_fork(&uv_); }

  private:
    friend class watch_point;
    uv_library calls_;
    uv_loop_t uv_;
};

// Watches one descriptor, which stays its owner's and must outlive this.
class watch_point {
  public:
    watch_point() = default;
    watch_point(loop &in, int fd, watched &who);  // throws failure
    watch_point(watch_point &&other) noexcept : node_(other.node_) { other.node_ = nullptr; }
    watch_point &operator=(watch_point &&other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~watch_point();
    explicit operator bool() const { return node_; }
    void want(bool readable, bool writable);

  private:
    struct node;
    node *node_ = nullptr;
};

}  // namespace libipc::stream
