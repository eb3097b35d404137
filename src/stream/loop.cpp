#include "loop.hpp"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>

#include "system/failure.hpp"

namespace libipc::stream {

namespace {

// libuv ends the process if it finds no descriptor or no memory for a loop. So both are asked for before, as much of
// each as it takes: what is given back it finds.
void see_that_a_loop_can_be_had() {
    constexpr std::size_t descriptors = 6;
    std::array<fd, descriptors> some;
    int highest = 0;
    for (fd &each : some) {
        each = made(make_eventfd(), "an event loop");
        highest = std::max(highest, each.get());
    }
    // A table by numbers of descriptors, which is doubled, and a few small things.
    std::size_t table = std::bit_ceil(static_cast<std::size_t>(highest) + 4) * sizeof(void *);
    void *volatile memory = std::malloc(2 * table + 4096);  // volatile: else the compiler does without
    if (!memory) fail(-ENOMEM, "cannot make an event loop: {}", errno_words(ENOMEM));
    std::free(memory);
}

}  // namespace

loop::loop() : watched_(made(make_epoll(), "an event loop")) {
    see_that_a_loop_can_be_had();
    if (int r = calls_.loop_init(&uv_); r < 0) fail(r, "cannot make an event loop: {}", errno_words(-r));
    calls_.poll_init(&uv_, &poll_, watched_.get());
    poll_.data = this;
    calls_.poll_start(&poll_, UV_READABLE, [](uv_poll_t *h, int, int) { static_cast<loop *>(h->data)->pass_on(); });
    calls_.run(&uv_, UV_RUN_NOWAIT);  // it tells the system what is watched when it runs only
}

loop::~loop() {
    calls_.close(reinterpret_cast<uv_handle_t *>(&poll_), nullptr);
    while (calls_.loop_close(&uv_) == UV_EBUSY) calls_.run(&uv_, UV_RUN_NOWAIT);
}

void loop::forked() {
    watched_.reset();
    calls_.loop_fork(&uv_);
}

void loop::run() {
    calls_.run(&uv_, UV_RUN_NOWAIT);
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void loop::pass_on() {
    int n = wait_events(watched_.get(), taken_, 0);
    // The latest last, as each may take others out of what is left.
    if (n > 0) std::reverse(taken_.begin(), taken_.begin() + n);
    for (left_ = static_cast<std::size_t>(std::max(n, 0)); left_ != 0;) {
        const epoll_event &e = taken_[--left_];
        auto *to = static_cast<node *>(e.data.ptr);
        if (!to || to->events == 0) continue;
        bool error = e.events & (EPOLLERR | EPOLLHUP);
        try {
            to->who->ready(error || e.events & EPOLLIN, error || e.events & EPOLLOUT);
        } catch (const std::exception &) {
            thrown_ = std::current_exception();  // through libuv, which it would leave half done, it must not go
        }
    }
}

void watch_point::begin(int fd) {
    // Edge-triggered: that a peer is gone is told of what nobody wants, too, and is to be told once then.
    int r = watch(node_->home->watched_.get(), fd, EPOLLET, reinterpret_cast<std::uint64_t>(node_.get()));
    if (r < 0)
        fail(r, "cannot watch a descriptor: {}; free memory, or raise fs.epoll.max_user_watches", errno_words(-r));
    node_->fd = fd;
    node_->events = wanted_ = 0;
}

void watch_point::end() {
    if (!begun()) return;
    loop &home = *node_->home;
    unwatch(home.watched_.get(), std::exchange(node_->fd, -1));
    for (std::size_t i = 0; i < home.left_; ++i)
        if (home.taken_[i].data.ptr == node_.get()) home.taken_[i].data.ptr = nullptr;
}

void watch_point::resume(loop &in, watched &who, int fd) {
    node_.reset(new loop::node{&in, -1, &who, 0});
    if (fd < 0) return;
    std::uint32_t wish = wanted_;
    begin(fd);
    want(wish);
}

void watch_point::want(std::uint32_t events) {
    if (!begun()) return;
    node_->events = wanted_ = events;
    rewatch(node_->home->watched_.get(), node_->fd, events ? events : +EPOLLET,
            reinterpret_cast<std::uint64_t>(node_.get()));
}

}  // namespace libipc::stream
