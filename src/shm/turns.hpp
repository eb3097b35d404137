// Whose turn it is: a receiver looks in each call at those who are active, one after the other. The others have armed
// bells, and cost nothing until they ring.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "peers.hpp"

namespace libipc {

class turns {
  public:
    // So many links are looked at in each call, whether something comes from them or not; in a larger crowd, those from
    // which nothing comes are armed.
    static constexpr std::size_t always_active = 8;

    bool empty() const { return active_.empty(); }
    std::size_t size() const { return active_.size(); }
    const std::vector<std::uint32_t> &active() const { return active_; }
    // Those that were active when the receiver last fell asleep, and have not been looked at since.
    const std::vector<std::uint32_t> &settled() const { return settled_; }
    bool any_ready(const peers &all) const;

    // The peer whose turn has begun; null if none has. Not to outlive any change.
    peer *serving() const { return serving_; }
    std::uint32_t served() const { return active_[turn_]; }  // its index
    // It may be given one more message in this turn.
    bool goes_on() const { return left_ != 0 && serving_; }
    void count_message() { --left_; }
    // Calls take(index, peer) for each until it returns something else than 0, and returns that. If it is IPC_MESSAGE,
    // the turn of that one has begun.
    template <class F>
    std::int32_t each(peers &all, F take);
    // Whatever cuts a turn short, the next sender comes next: else one could be heard again and again.
    void end_turn() {
        if (std::exchange(serving_, nullptr)) ++turn_;
    }

    void activate(std::uint32_t index, peer &p) {
        p.link->set_awake();
        p.active = true;
        p.idle_looks = 0;
        active_.push_back(index);
    }
    // It takes no part any more. As the turns do not end by that, the next one is in its place.
    void deactivate(std::uint32_t index, peer &p) {
        p.active = false;
        serving_ = nullptr;
        std::erase(active_, index);
    }
    void drop(std::uint32_t index) {
        end_turn();
        std::erase(active_, index);
        std::erase(settled_, index);
    }

    // The sleeper's part of waking.hpp. True if a membarrier is due before settle().
    bool forbid_unfenced(peers &all);
    // Arms the bells of all. True if nothing is there: the receiver may sleep. Else they are active still.
    bool settle(peers &all);
    // After a sleep: looks again at those that were looked at before it. In a crowd, those that ring are enough.
    template <class F>
    void end_sleep(F activate);

    // The same for those alone from which nothing comes. True if a membarrier is due before rest().
    bool choose_idle(peers &all);
    void rest(peers &all);

    void make_room(std::size_t count) {
        for (auto *list : {&active_, &settled_, &resting_}) list->reserve(count);
    }
    template <class Archive>
    void hand_over(Archive &a) {
        a(active_, settled_, turn_);
        a.rebuilt(serving_);
        a(left_);
        a.rebuilt(resting_);
    }

  private:
    // So many messages of one sender are taken in a row before the next one has its turn: enough to run along a few
    // cache lines, too few for the others to notice.
    static constexpr std::uint32_t messages_a_turn = 16;

    std::vector<std::uint32_t> active_;
    std::vector<std::uint32_t> settled_;
    std::size_t turn_ = 0;     // in active_
    peer *serving_ = nullptr;  // at turn_ in active_
    std::uint32_t left_ = 0;   // messages left to it in this turn
    std::vector<std::uint32_t> resting_;
};

template <class F>
std::int32_t turns::each(peers &all, F take) {
    end_turn();
    for (std::size_t looked = 0; looked < active_.size();) {
        if (turn_ >= active_.size()) turn_ = 0;
        std::uint32_t index = active_[turn_];
        peer &p = all[index];
        std::int32_t r = take(index, p);
        if (r == 0) {
            if (!p.active) continue;  // it waits for something: the next is in its place
            ++looked;
            ++turn_;
            continue;
        }
        if (r == IPC_MESSAGE) {
            serving_ = &p;
            left_ = messages_a_turn - 1;
        }
        return r;
    }
    return 0;
}

template <class F>
void turns::end_sleep(F activate) {
    if (settled_.size() <= always_active)
        for (std::uint32_t i : settled_) activate(i);
    settled_.clear();
}

}  // namespace libipc
