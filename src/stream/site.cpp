#include "site.hpp"

#include "../os.hpp"

namespace libipc::stream {

site::site(any_endpoint e, handle_words *words) : where(std::move(e)), id(random_id()), waiting(words) {
    // A channel's status page is named for it, and memory files have short names.
    where.name = where.url.substr(0, 200);
    waiting.add(uv.fd(), {event_tag::of::stream});
}

void site::alarm_in(std::int64_t delay_ns) {
    std::int64_t at = now_ns() + delay_ns;
    if (alarm_at != 0 && alarm_at <= at) return;
    alarm_at = at;
    waiting.set_alarm(delay_ns);
}

}  // namespace libipc::stream
