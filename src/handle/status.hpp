// What a handle shows of itself to other processes of the user.
#pragma once

#include <ipc/ipc.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "memory/layout.hpp"
#include "memory/mapping.hpp"

namespace libipc {

struct endpoint;

struct status_figures {
    std::uint64_t messages, bytes, backlog, capacity, skipped, lost;
    std::size_t links;
};

// A link that can't be made yet, as it is shown from outside and to its own program.
inline layout::status_link unlinked(std::uint64_t peer, std::int32_t pid, std::int32_t lack) {
    layout::status_link link{};
    link.peer = peer;
    link.pid = pid;
    link.state = IPC_LINK_UNLINKED;
    link.lack = static_cast<std::int16_t>(lack);
    return link;
}
inline void show_unlinked(ipc_link &out, std::uint64_t peer, std::int32_t pid, std::int32_t lack) {
    std::size_t size = out.struct_size;
    out = {};
    out.struct_size = size;
    out.peer = peer;
    out.pid = pid;
    out.state = IPC_LINK_UNLINKED;
    out.lack = lack;
}

// The links that are shown: as many as fit.
class shown_links {
  public:
    bool full() const { return count_ == links_.size(); }
    void add(const layout::status_link &link) { links_[count_++] = link; }
    std::span<const layout::status_link> get() const { return std::span(links_).first(count_); }

  private:
    std::array<layout::status_link, layout::status_links> links_;
    std::size_t count_ = 0;
};

class status_page {
  public:
    status_page() = default;
    // `folder` is where it looks for others, if that is a folder. Throws failure.
    status_page(const endpoint &e, std::uint64_t id, int role, std::string_view folder = {});
    void show(const status_figures &figures, const shown_links &links);
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

}  // namespace libipc
