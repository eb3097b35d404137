// What a source or an outlet has around it: its handle's endpoint, events and loop.
#pragma once

#include <cstdint>

#include "../events.hpp"
#include "../url.hpp"
#include "loop.hpp"

namespace libipc::stream {

class intake;

struct site {
    site(any_endpoint e, handle_words *words);  // throws failure

    any_endpoint where;
    std::uint64_t id;
    events waiting;
    loop uv;
    std::int32_t fd_error = 0;  // -EMFILE or -ENFILE to be told, once

    // The alarm of the source or outlet goes off after this time, or earlier.
    void alarm_in(std::int64_t delay_ns);
    std::int64_t alarm_at = 0;  // 0: it is not set
};

}  // namespace libipc::stream
