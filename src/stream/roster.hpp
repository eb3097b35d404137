// What is known of senders, by their ids: of so many at most. Anybody can make up ids, so that there is an end to them,
// and to what one of them costs: whoever adds one to a full roster takes out another before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "chain.hpp"
#include "system/os.hpp"

namespace libipc::stream {

template <class T>
class roster {
  public:
    roster() = default;
    explicit roster(std::size_t most) : most_(most), salt_(random_id() | 1) {}  // throws failure

    // From now on it takes no memory to add one. Throws bad_alloc.
    void reserve() {
        while (entries_.size() < most_) grow();
    }
    bool full() const { return order_.size() == most_; }
    bool empty() const { return order_.empty(); }
    T *find(std::uint64_t id) {
        std::uint32_t i = index_of(id);
        return i == chain::none ? nullptr : &entries_[i].what;
    }
    // A new one, which is not there; not if it is full. What was found before may move. Throws bad_alloc, and nothing
    // has changed then.
    T &add(std::uint64_t id) {
        if (free_ == chain::none) grow();
        std::uint32_t i = std::exchange(free_, entries_[free_].next);
        entry &e = entries_[i];
        e.id = id;
        e.next = std::exchange(bucket_of(id), i);
        order_.push_back(i, hooks());
        return e.what;
    }
    // From now on it is the one that was heard of last.
    void touch(std::uint64_t id) {
        std::uint32_t i = index_of(id);
        order_.remove(i, hooks());
        order_.push_back(i, hooks());
    }
    // The one that was heard of longest ago; not if there is none.
    std::uint64_t oldest() const { return entries_[order_.first()].id; }
    T &at_oldest() { return entries_[order_.first()].what; }
    void erase(std::uint64_t id) {
        std::uint32_t i = index_of(id);
        if (i == chain::none) return;
        std::uint32_t *at = &bucket_of(id);
        while (*at != i) at = &entries_[*at].next;
        *at = entries_[i].next;
        order_.remove(i, hooks());
        entries_[i].what = T();
        entries_[i].next = std::exchange(free_, i);
    }
    void clear() {
        while (!empty()) erase(oldest());
    }
    // In the order in which they were heard of.
    template <class F>
    void each(F f) {
        for (std::uint32_t i = order_.first(), after; i != chain::none; i = after) {
            after = entries_[i].place.after;
            f(entries_[i].what);
        }
    }

    template <class Archive>
    void hand_over(Archive &a) {
        a(entries_, buckets_, order_, free_, most_, salt_);
    }

  private:
    struct entry {
        std::uint64_t id = 0;
        T what{};
        std::uint32_t next = chain::none;  // of its bucket, or of the free ones
        chain::hook place;
        template <class Archive>
        void hand_over(Archive &a) {
            a(id, what, next, place);
        }
    };

    auto hooks() {
        return [this](std::uint32_t i) -> chain::hook & { return entries_[i].place; };
    }
    // Nobody outside knows the salt: made-up ids can't be made to fall into one bucket.
    std::size_t hash(std::uint64_t id) const {
        std::uint64_t h = (id ^ salt_) * 0x9e3779b97f4a7c15;
        h = (h ^ h >> 32) * salt_;
        return static_cast<std::size_t>(h >> 32) & (buckets_.size() - 1);
    }
    std::uint32_t &bucket_of(std::uint64_t id) { return buckets_[hash(id)]; }
    std::uint32_t index_of(std::uint64_t id) {
        if (buckets_.empty()) return chain::none;
        std::uint32_t i = bucket_of(id);
        while (i != chain::none && entries_[i].id != id) i = entries_[i].next;
        return i;
    }
    void grow() {
        std::size_t before = entries_.size(), after = std::max<std::size_t>(16, 2 * before);
        std::vector<std::uint32_t> fresh(after, chain::none);
        entries_.resize(after);
        buckets_.swap(fresh);
        for (std::size_t i = 0; i < after; ++i) {
            auto index = static_cast<std::uint32_t>(i);
            entry &e = entries_[i];
            e.next = std::exchange(i < before ? bucket_of(e.id) : free_, index);
        }
    }

    std::vector<entry> entries_;
    std::vector<std::uint32_t> buckets_;  // as many as entries
    chain order_;
    std::uint32_t free_ = chain::none;
    std::size_t most_ = 0;
    std::uint64_t salt_ = 1;
};

}  // namespace libipc::stream
