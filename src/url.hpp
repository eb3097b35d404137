// Endpoint URLs: shm://name?option=value&...
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace libipc {

struct endpoint {
    std::string url;   // as given, without the options
    std::string name;  // of the channel
    std::optional<std::uint64_t> capacity;
    std::optional<std::int32_t> from;
    std::optional<std::int32_t> overflow;
    template <class Archive>
    void hand_over(Archive &a) {
        a(url, name, capacity, from, overflow);
    }
};

// Throws failure in words that say which part is wrong and what it may be. Options of the other role are refused.
endpoint parse_url(std::string_view url, bool sender);

// What is wrong with a capacity; throws failure.
void check_capacity(std::uint64_t capacity);

}  // namespace libipc
