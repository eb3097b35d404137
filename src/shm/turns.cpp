#include "turns.hpp"

#include <algorithm>

#include "system/fence.hpp"

namespace libipc {

namespace {

constexpr std::uint32_t idle_looks_before_rest = 3;

}  // namespace

bool turns::any_ready(const peers &all) const {
    return std::ranges::any_of(active_, [&](std::uint32_t i) { return all[i].ready(); });
}

bool turns::forbid_unfenced(peers &all) {
    bool barrier = false;
    for (std::uint32_t i : active_) barrier |= all[i].link->forbid_unfenced();
    return barrier;
}

bool turns::settle(peers &all) {
    for (std::uint32_t i : active_) all[i].link->set_asleep();
    full_fence();  // pairs with the sender's, see waking.hpp
    bool nothing = true;
    for (std::uint32_t i : active_) {
        if (!all[i].ready()) continue;
        all[i].link->set_awake();
        nothing = false;
    }
    if (!nothing) return false;
    for (std::uint32_t i : active_) all[i].active = false;
    serving_ = nullptr;
    settled_.swap(active_);
    active_.clear();
    return true;
}

bool turns::choose_idle(peers &all) {
    resting_.clear();
    bool barrier = false;
    for (std::uint32_t i : active_) {
        peer &p = all[i];
        if (p.gone() || ++p.idle_looks < idle_looks_before_rest) continue;
        barrier |= p.link->forbid_unfenced();
        resting_.push_back(i);
    }
    return barrier;
}

void turns::rest(peers &all) {
    for (std::uint32_t i : resting_) all[i].link->set_asleep();
    full_fence();  // as in settle()
    for (std::uint32_t i : resting_) {
        peer &p = all[i];
        if (p.link->has_frame()) {
            p.link->set_awake();
            p.idle_looks = 0;
        } else {
            p.active = false;
        }
    }
    end_turn();
    std::erase_if(active_, [&](std::uint32_t i) { return !all[i].active; });
}

}  // namespace libipc
