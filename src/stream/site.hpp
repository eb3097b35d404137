// What a source or an outlet has around it: its handle's endpoint, events and loop.
#pragma once

#include <cstdint>
#include <optional>

#include "handle/url.hpp"
#include "loop.hpp"
#include "waiting/events.hpp"

namespace libipc::stream {

struct site {
    site() = default;
    site(any_endpoint e, handle_words *words);  // throws failure

    any_endpoint where;
    std::uint64_t id = 0;
    events waiting;
    std::optional<loop> uv;
    std::int32_t fd_error = 0;  // -EMFILE, -ENFILE or -ENOMEM to be told, once

    // Takes what has happened, waiting for the first of it up to timeout_ns, and calls alarm() if that has gone off. 0,
    // or -EINTR.
    template <class Alarm>
    int look(std::int64_t timeout_ns, Alarm alarm) {
        return waiting.take(timeout_ns, [&](event_tag tag) {
            keep_ready();
            if (tag.kind == event_tag::of::stream) {
                uv->run();
            } else if (tag.kind == event_tag::of::timer) {
                waiting.drain_alarm();
                alarm();
            }
        });
    }
    // The host is told to wait, and another call comes before it does: what that takes was to wake it.
    bool armed = false;
    void keep_ready() {
        if (armed) waiting.stay_ready();
    }

    // The alarm of the source or outlet goes off after this time, or earlier.
    void alarm_in(std::int64_t delay_ns) { waiting.alarm_within(delay_ns); }

    template <class Archive>
    void hand_over(Archive &a) {
        a(where, id, waiting, fd_error, armed);
        a.rebuilt(uv);
    }
};

}  // namespace libipc::stream
