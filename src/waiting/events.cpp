#include "events.hpp"

#include "system/failure.hpp"

namespace libipc {

events::events(handle_words *words)
    : words_(words),
      epoll_(made(make_epoll(), "an epoll")),
      interrupt_bell_(made(make_eventfd(), "an eventfd")),
      timer_(made(make_timer(), "a timer")) {
    add(interrupt_bell_.get(), {event_tag::of::interrupt}, true);
    add(timer_.get(), {event_tag::of::timer});
}

void events::add(int fd, event_tag tag, bool edge) {
    if (int r = try_add(fd, tag, edge); r < 0)
        fail(r, "cannot watch a descriptor: {}; free memory, or raise fs.epoll.max_user_watches", errno_words(-r));
}

int events::try_add(int fd, event_tag tag, bool edge) noexcept {
    return watch(epoll_.get(), fd, edge ? EPOLLIN | EPOLLET : EPOLLIN | EPOLLRDHUP, tag.pack());
}

}  // namespace libipc
