#include "loop.hpp"

#include <fcntl.h>

#include <cerrno>

#include "../failure.hpp"

namespace libipc::stream {

loop::loop() {
    if (int r = calls_.loop_init(&uv_); r < 0) fail(r, "cannot make an event loop: {}", errno_words(-r));
}

loop::~loop() {
    // Whoever watched has gone before: what is left are closed handles that libuv has not called back for yet.
    while (calls_.loop_close(&uv_) == UV_EBUSY) calls_.run(&uv_, UV_RUN_NOWAIT);
}

void loop::enter(events &e) {
    // libuv tells the system what is watched when it runs only. What it finds then it finds again.
    deaf_ = true;
    stale_ = false;
    calls_.run(&uv_, UV_RUN_NOWAIT);
    deaf_ = false;
    e.add(calls_.backend_fd(&uv_), {event_tag::of::stream});
}

void loop::run() {
    do {
        stale_ = false;
        calls_.run(&uv_, UV_RUN_NOWAIT);
    } while (stale_ && !thrown_);
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

struct watch_point::node {
    uv_poll_t handle;
    loop *home;
    watched *who;
    int events;

    static void start(node &n);
};

watch_point::watch_point(loop &in, int fd, watched &who) : node_(new node{{}, &in, &who, 0}) {
    int flags = fcntl(fd, F_GETFL);
    if (int r = in.calls_.poll_init(&in.uv_, &node_->handle, fd); r < 0) {
        delete node_;
        fail(r, "cannot watch a descriptor: {}", errno_words(-r));
    }
    // libuv makes it non-blocking, and whoever shares an inherited socket would notice. No call of ours waits anyway.
    if (flags >= 0 && !(flags & O_NONBLOCK)) fcntl(fd, F_SETFL, flags);
    node_->handle.data = node_;
}

watch_point::~watch_point() {
    if (!node_) return;
    node_->home->stale_ = true;  // its memory is freed by the next run
    node_->home->calls_.close(reinterpret_cast<uv_handle_t *>(&node_->handle),
                              [](uv_handle_t *h) { delete static_cast<node *>(h->data); });
}

void watch_point::node::start(node &n) {
    n.home->stale_ = true;
    n.home->calls_.poll_start(&n.handle, n.events, [](uv_poll_t *h, int status, int what) {
        node &n = *static_cast<node *>(h->data);
        // At an error libuv stops watching; but data may lie before it, and then the owner wants to hear of it again.
        if (status < 0) start(n);
        if (n.home->deaf_) return;
        loop &home = *n.home;
        try {
            n.who->ready(status < 0 || (what & UV_READABLE) != 0, status < 0 || (what & UV_WRITABLE) != 0);
        } catch (const std::exception &) {
            home.thrown_ = std::current_exception();  // through libuv, which it would leave half done, it must not go
        }
    });
}

void watch_point::resume(loop &in, int fd, watched &who) {
    watch_point fresh(in, fd, who);
    fresh.want(wanted_);
    *this = std::move(fresh);
}

void watch_point::want(int events) {
    node_->events = wanted_ = events;
    if (events == 0)
        node_->home->calls_.poll_stop(&node_->handle);
    else
        node::start(*node_);
}

}  // namespace libipc::stream
