// What a handle shows of itself to other processes of the user, and the reading of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "layout.hpp"
#include "memory.hpp"

namespace libipc {

struct endpoint;

struct status_figures {
    std::uint64_t messages, bytes, backlog, capacity;
    std::uint32_t links;
};

class status_page {
  public:
    status_page() = default;
    status_page(const endpoint &e, std::uint64_t id, int role);  // throws failure
    void show(const status_figures &figures);
    // The URL turned out to be another one, before anybody was told of it.
    void rename(std::string_view url);
    // For a forked child.
    void forget() { memory_.map.forget(); }
    template <class Archive>
    void hand_over(Archive &a) {
        a(memory_);
    }

  private:
    shared_memory memory_;
};

// Calls f with a copy of each status page that /proc shows; processes that are gone meanwhile, or not ours, are passed
// over. Throws failure if no descriptor is free to look with.
void each_status(const std::function<void(const layout::status_page &)> &f);

}  // namespace libipc
