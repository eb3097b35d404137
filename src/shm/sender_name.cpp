#include "sender_name.hpp"

#include <cerrno>
#include <cstddef>
#include <exception>
#include <utility>

#include "memory/layout.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr std::int64_t check_ns = 500'000'000;

}  // namespace

sender_name::sender_name(std::string runtime, std::string channel, std::uint64_t id, events &e)
    : runtime_(std::move(runtime)), channel_(std::move(channel)), id_(id) {
    take(e);
}

void sender_name::take(events &e) {
    fd socket(made(make_socket(SOCK_DGRAM), "a socket"));
    std::string name = sender_name_text({layout::version, id_, times_++});
    for (int tries = 0;; ++tries) {
        channel_folder folder = channel_folder::open(runtime_, channel_);
        int r = folder.bind(socket.get(), name);
        if (r == 0) {
            folder_ = std::move(folder);
            break;
        }
        if (r != -ENOENT || tries == most_tries) folder.fail("make a socket", r);
    }
    name_ = std::move(name);  // a copy could find no memory, and leave the socket there
    try {
        e.add(socket.get(), {event_tag::of::knock});
    } catch (...) {
        folder_.unlink(name_);
        throw;
    }
    if (knocks_) e.remove(knocks_.get());
    knocks_ = std::move(socket);
}

void sender_name::remove() const {
    folder_.unlink(name_);
    folder_.remove_if_empty();
}

void sender_name::hear_knocks() const {
    std::byte byte;
    for (int i = 0; i < 64 && receive_bytes(knocks_.get(), {&byte, 1}) >= 0; ++i) {
    }
}

bool sender_name::check(events &e) {
    if (folder_.finds(name_)) return false;
    no_cancel here;
    watch_.stop(e);
    try {
        take(e);
    } catch (const std::exception &) {
        e.alarm_within(folder_look_ns);
    }
    return true;
}

bool sender_name::check_now_and_then(events &e) {
    if (watch_ || e.looked_at() < due_ns_) return false;
    due_ns_ = e.looked_at() + check_ns;
    return check(e);
}

bool sender_name::watch(events &e, bool linked) {
    if (linked) {
        // What the watch has not told yet, it tells no more.
        bool watched = static_cast<bool>(watch_);
        watch_.stop(e);
        return watched && check(e);
    }
    if (watch_) return false;
    watch_ = folder_watch(folder_, e);
    if (!watch_) e.alarm_within(folder_look_ns);
    // What changed before the watch was there. Receivers are seen by their knock, which is waiting then.
    return check(e);
}

void sender_name::hear_watch(events &e) {
    watch_.take([](std::string_view) {});
    check(e);
}

}  // namespace libipc
