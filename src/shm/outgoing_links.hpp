// A sender's links. Each has a place with an index, by which events name it: the place is used again, with another
// generation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "outgoing.hpp"
#include "waiting/events.hpp"

namespace libipc {

class outgoing_links {
  public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    bool empty() const { return links_.empty(); }
    std::size_t size() const { return links_.size(); }
    outgoing &operator[](std::size_t n) const { return *links_[n]; }
    auto begin() const { return links_.begin(); }
    auto end() const { return links_.end(); }
    // Somebody has a link, and is there to stay.
    bool has_receiver() const {
        return std::ranges::any_of(links_, [](outgoing *l) { return l->stays(); });
    }
    // The link that an event is about; null if it has been taken off since.
    outgoing *find(const event_tag &tag) const {
        if (tag.index >= slots_.size() || !slots_[tag.index] || !tag.is_of(generations_[tag.index])) return nullptr;
        return slots_[tag.index].get();
    }
    outgoing *at(std::uint32_t index) const { return slots_[index].get(); }
    std::uint32_t generation(std::uint32_t index) const { return generations_[index]; }

    // The index of a place for one more: to put it there takes no memory. Throws bad_alloc, and nothing has changed.
    std::uint32_t find_slot() {
        std::size_t index = 0;
        while (index < slots_.size() && slots_[index]) ++index;
        if (index == slots_.size()) {
            links_.reserve(index + 1);
            generations_.reserve(index + 1);
            slots_.emplace_back();
            generations_.push_back(0);
        }
        return static_cast<std::uint32_t>(index);
    }
    // Puts it at its index.
    outgoing &add(std::unique_ptr<outgoing> link) {
        links_.push_back(link.get());
        return *(slots_[link->index] = std::move(link));
    }
    // Calls f(link) for each that is gone, and takes it off.
    template <class F>
    void take_off_gone(F f) {
        for (outgoing *&link : links_) {
            if (!link->gone()) continue;
            f(*link);
            std::uint32_t index = link->index;
            ++generations_[index];
            slots_[index].reset();
            link = nullptr;
        }
        std::erase(links_, nullptr);
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(slots_, generations_);
        a.rebuilt(links_);
    }
    // After a handoff.
    void rebuild() {
        links_.reserve(slots_.size());
        for (auto &slot : slots_)
            if (slot) links_.push_back(slot.get());
    }

  private:
    std::vector<std::unique_ptr<outgoing>> slots_;
    std::vector<std::uint32_t> generations_;
    std::vector<outgoing *> links_;  // those in slots_: what a message on its way goes over
};

}  // namespace libipc
