// A list through things that are known by an index: to add one, or to take any out, takes no time and no memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace libipc::stream {

class chain {
  public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    // What each thing in it has.
    struct hook {
        std::uint32_t before = none, after = none;
        bool in = false;
    };

    std::uint32_t first() const { return first_; }
    bool empty() const { return first_ == none; }
    std::size_t size() const { return size_; }

    // at(index) is the hook of a thing. Nothing happens to one that is in it already.
    template <class At>
    void push_back(std::uint32_t index, At at) {
        hook &h = at(index);
        if (h.in) return;
        h = {last_, none, true};
        (last_ == none ? first_ : at(last_).after) = index;
        last_ = index;
        ++size_;
    }
    // ... or to one that is not.
    template <class At>
    void remove(std::uint32_t index, At at) {
        hook &h = at(index);
        if (!h.in) return;
        (h.before == none ? first_ : at(h.before).after) = h.after;
        (h.after == none ? last_ : at(h.after).before) = h.before;
        h = {};
        --size_;
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(first_, last_, size_);
    }

  private:
    std::uint32_t first_ = none, last_ = none;
    std::size_t size_ = 0;
};

}  // namespace libipc::stream
