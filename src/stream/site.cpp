#include "site.hpp"

#include <fcntl.h>

#include <cerrno>

#include "system/failure.hpp"
#include "system/os.hpp"

namespace libipc::stream {

namespace {

// Before the handle opens any itself: one that was not there would be found among those.
any_endpoint with_open_descriptor(any_endpoint e) {
    if (e.scheme == transport::fd && fcntl(e.descriptor, F_GETFD) < 0)
        fail(-EINVAL,
             "descriptor {} is not open in this process; a parent hands it down by leaving it open without "
             "FD_CLOEXEC",
             e.descriptor);
    return e;
}

}  // namespace

site::site(any_endpoint e, handle_words *words)
    : where(with_open_descriptor(std::move(e))), id(random_id()), waiting(words) {
    // A channel's status page is named for it, and memory files have short names.
    where.name = where.url.substr(0, 200);
    uv.emplace();
    uv->enter(waiting);
}

}  // namespace libipc::stream
