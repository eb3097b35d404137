#include "receiver_name.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "memory/layout.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

// Each that waits to be accepted has descriptors on their way, of which a user may have 1,024: a receiver that makes no
// call takes a fifth of them at most, and leaves some for others.
constexpr int most_unaccepted = 64;

}  // namespace

receiver_name::fresh receiver_name::make(events &e, const std::function<void()> &tell) const {
    std::string name = receiver_name_text({layout::version, id_, times_});
    for (int tries = 0;; ++tries) {
        fd socket(made(make_socket(SOCK_SEQPACKET), "a socket"));
        channel_folder folder = channel_folder::open(runtime_, channel_);
        std::string temporary = fmt::format(".new-{:016x}", random_id());
        const char *attempt = "make a socket";
        int r = folder.bind(socket.get(), temporary);
        try {
            if (r == 0) {
                attempt = "rename a socket";
                if (::listen(socket.get(), most_unaccepted) != 0) folder.fail("listen", -errno);
                e.add(socket.get(), {event_tag::of::listener});
                tell();
                r = folder.rename(temporary, name);
            }
            if (r == 0) return {std::move(socket), std::move(folder), std::move(name)};
            if (r != -ENOENT || tries == most_tries) folder.fail(attempt, r);
        } catch (...) {
            folder.unlink(temporary);
            throw;
        }
    }
}

void receiver_name::become(fresh name, events &e) {
    e.remove(listener_.get());
    watch_.stop(e);
    listener_ = std::move(name.listener);
    folder_ = std::move(name.folder);
    name_ = std::move(name.name);
    ++times_;
    findable_ = true;
}

void receiver_name::remove(events &e) {
    e.remove(listener_.get());
    listener_.reset();
    if (name_.empty()) return;
    folder_.unlink(name_);
    folder_.remove_if_empty();
}

void receiver_name::knock_on_senders(int socket) const {
    for (const std::string &name : folder_.names()) {
        if (parse_sender_name(name)) {
            // Full: it has been knocked on already. Refused: its owner is gone, and the name will never be used again.
            if (folder_.knock(socket, name) == -ECONNREFUSED) folder_.unlink(name);
        } else if (name != name_) {
            folder_.unlink_if_dead(name);
        }
    }
}

}  // namespace libipc
