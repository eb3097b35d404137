// The protocol of src/waiting/waking.hpp as a model, searched through all interleavings of both sides and of their
// store buffers: no wake-up is lost; and each part of it that is left out is missed, by a search that finds the lost
// wake-up.
//
// The processor is x86's: each side has a first-in first-out buffer of stores (TSO). A load sees the own buffer first,
// then memory. A fence or a locked instruction waits until the own buffer is empty; a membarrier moreover for a moment
// in which the other's is. Where the memory model is weaker, the same fences are full ones, and acquire and release in
// ring.hpp order the rest.
//
// Whoever changes waking.hpp changes `waker` or `sleeper` below, line for line.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace {

constexpr std::uint8_t messages = 4;

// Who waits for what. For room, the word `asleep` (wants) holds the position that is waited for, which may lie several
// releases ahead, and the waker rings only when it is reached.
enum class direction { message, room };

struct protocol {
    direction waits_for = direction::message;
    bool waker_fences = true;
    bool sleeper_fences = true;
    bool takes_back = true;
    bool membarriers = true;
    bool looks_keep_bell = true;  // a call between arm and the wait that drains a bell rings it again
};

// ---- The machine ----------------------------------------------------------------------------------------------------

enum word : std::uint8_t { published, unfenced, asleep, words };

struct store_buffer {
    struct store {
        std::uint8_t where, value;
    };
    std::uint8_t size = 0;
    std::array<store, 4> stores{};

    bool empty() const { return size == 0; }
    bool full() const { return size == stores.size(); }
    void put(word where, unsigned value) { stores[size++] = {where, static_cast<std::uint8_t>(value)}; }
};

enum class at_waker : std::uint8_t { publish, must_fence, fence, must_ring, exchange, ring };
enum class at_sleeper : std::uint8_t {
    look,
    take_back,
    membarrier,
    membarrier_other,
    sleep,
    fence,
    look_again,
    wait,
    done
};

struct state {
    std::array<std::uint8_t, words> memory{};
    store_buffer waker, sleeper;
    at_waker waker_at{};
    at_sleeper sleeper_at{};
    std::uint8_t sent = 0;    // by the waker
    std::uint8_t target = 1;  // what the sleeper waits for
    bool given = false;       // fence_leave
    bool bell = false;        // rung, and not seen yet

    unsigned load(const store_buffer &own, word where) const {
        for (int i = own.size; i-- != 0;)
            if (own.stores[i].where == where) return own.stores[i].value;
        return memory[where];
    }
    // The oldest store of a buffer becomes visible.
    void drain(store_buffer &buffer) {
        memory[buffer.stores[0].where] = buffer.stores[0].value;
        std::shift_left(buffer.stores.begin(), buffer.stores.end(), 1);
        buffer.stores[--buffer.size] = {};
    }
    std::string_view bytes() const { return {reinterpret_cast<const char *>(this), sizeof *this}; }
};
static_assert(std::has_unique_object_representations_v<state>);  // equal bytes are equal states

// ---- The two sides, as waking.hpp has them --------------------------------------------------------------------------

// Calls go(what, next) for what the waker can do now.
template <class Go>
void waker(const protocol &p, const state &now, Go go) {
    using at = at_waker;
    state next = now;
    auto then = [&](at step, const char *what) {
        next.waker_at = step;
        go(what, next);
    };
    switch (now.waker_at) {
        case at::publish:
            if (now.sent == messages || now.waker.full()) return;
            next.waker.put(published, ++next.sent);
            return then(at::must_fence, "waker: publish");
        case at::must_fence:
            if (now.load(now.waker, unfenced)) return then(at::must_ring, "waker: unfenced is set");
            return then(p.waker_fences ? at::fence : at::must_ring, "waker: unfenced is not set");
        case at::fence:
            if (!now.waker.empty()) return;
            return then(at::must_ring, "waker: fence");
        case at::must_ring: {
            unsigned mark = now.load(now.waker, asleep);
            if (mark == 0) return then(at::publish, "waker: nobody is asleep");
            if (p.waits_for == direction::room && now.sent < mark) return then(at::publish, "waker: not yet enough");
            return then(at::exchange, "waker: somebody is asleep");
        }
        case at::exchange:
            if (!now.waker.empty()) return;
            next.memory[asleep] = 0;
            if (now.memory[asleep] == 0) return then(at::publish, "waker: awake meanwhile");
            return then(at::ring, "waker: asleep = 0");
        case at::ring:
            next.bell = true;
            return then(at::publish, "waker: ring");
    }
}

// The same for the sleeper. Spinning is looking more than once, and no state of its own.
template <class Go>
void sleeper(const protocol &p, const state &now, Go go) {
    using at = at_sleeper;
    state next = now;
    auto then = [&](at step, const char *what) {
        next.sleeper_at = step;
        go(what, next);
    };
    auto there = [&] { return now.load(now.sleeper, published) >= now.target; };
    // Another link may have had something: then this one's word stays set, as after arm and a reserve that succeeds.
    auto wake = [&](const char *what) {
        then(at::look, what);
        if (now.sleeper.full()) return;
        next.sleeper.put(asleep, 0);
        then(at::look, what);
    };
    switch (now.sleeper_at) {
        case at::look:
            if (now.bell) {
                next.bell = false;
                then(at::look, "sleeper: drain the bell while awake");
                next = now;
            }
            if (!there()) return then(at::take_back, "sleeper: nothing there");
            if (now.target == messages) return then(at::done, "sleeper: take the last");
            next.target = now.target + 1;
            do {
                then(at::look, "sleeper: take");
                if (now.given || now.sleeper.full()) continue;
                state without = next;
                next.given = true;
                next.sleeper.put(unfenced, 1);
                then(at::look, "sleeper: take, unfenced = 1");
                next = without;
            } while (p.waits_for == direction::room && ++next.target <= messages);
            return;
        case at::take_back:
            if (!now.given) return then(at::sleep, "sleeper: no leave to take back");
            if (now.sleeper.full()) return;
            next.given = false;
            if (p.takes_back) next.sleeper.put(unfenced, 0);
            return then(p.membarriers ? at::membarrier : at::sleep, "sleeper: unfenced = 0");
        case at::membarrier:
            if (!now.sleeper.empty()) return;
            return then(at::membarrier_other, "sleeper: membarrier, own stores are out");
        case at::membarrier_other:
            if (!now.waker.empty()) return;
            return then(at::sleep, "sleeper: membarrier, the waker's stores are out");
        case at::sleep:
            if (now.sleeper.full()) return;
            next.sleeper.put(asleep, p.waits_for == direction::room ? now.target : 1);
            return then(p.sleeper_fences ? at::fence : at::look_again, "sleeper: asleep");
        case at::fence:
            if (!now.sleeper.empty()) return;
            return then(at::look_again, "sleeper: fence");
        case at::look_again:
            if (there()) return wake("sleeper: look once more, something there");
            return then(at::wait, "sleeper: look once more, nothing there");
        case at::wait:
            if (now.bell) {
                next.bell = false;
                wake("sleeper: woken");
                next = now;
                next.bell = p.looks_keep_bell;
                then(at::wait, "sleeper: another call looks at the events");
                next = now;
            }
            return wake("sleeper: time-out, signal, or disarmed");
        case at::done:
            return;
    }
}

// ---- The search -----------------------------------------------------------------------------------------------------

// The sleeper waits for a bell, what it waits for is there, and the waker, which may never publish again, did not ring.
bool lost(const state &s) {
    return s.sleeper_at == at_sleeper::wait && !s.bell && s.memory[published] >= s.target &&
           s.waker_at == at_waker::publish && s.waker.empty() && s.sleeper.empty();
}

struct search {
    std::size_t states = 0;
    std::vector<std::string> trace;  // the shortest way to a lost wake-up; empty if there is none
    unsigned slept = 0;              // bit n: it can sleep and be woken when n are published
    bool unfenced_used = false;      // the waker can go without its fence
    bool buffers_suffice = true;     // no store ever had to wait for room in a buffer

    explicit search(const protocol &p) {
        struct origin {
            const std::string *from;
            const char *what;
        };
        std::unordered_map<std::string, origin> seen;
        std::vector<const std::string *> queue;
        auto reach = [&](const state &s, const std::string *from, const char *what) {
            auto [at, fresh] = seen.try_emplace(std::string(s.bytes()), origin{from, what});
            if (fresh) queue.push_back(&at->first);
        };
        reach({}, nullptr, "");
        for (std::size_t next = 0; next < queue.size(); ++next) {
            const std::string *bytes = queue[next];
            state now;
            std::memcpy(&now, bytes->data(), sizeof now);
            if (lost(now)) {
                for (const std::string *at = bytes; at; at = seen.at(*at).from) trace.emplace_back(seen.at(*at).what);
                std::reverse(trace.begin(), trace.end());
                break;
            }
            if (now.sleeper_at == at_sleeper::wait && now.bell) slept |= 1u << now.memory[published];
            unfenced_used |= now.waker_at == at_waker::must_ring && !now.waker.empty();
            buffers_suffice &= !now.waker.full() || now.sent == messages;
            buffers_suffice &= !now.sleeper.full();
            auto go = [&](const char *what, const state &then) { reach(then, bytes, what); };
            waker(p, now, go);
            sleeper(p, now, go);
            if (!now.waker.empty()) {
                state then = now;
                then.drain(then.waker);
                go("the waker's oldest store becomes visible", then);
            }
            if (!now.sleeper.empty()) {
                state then = now;
                then.drain(then.sleeper);
                go("the sleeper's oldest store becomes visible", then);
            }
        }
        states = seen.size();
    }
};

void print_states(const std::string &what, const search &found) { MESSAGE(what << ": " << found.states << " states"); }

std::string steps(const search &found) {
    std::string all;
    for (const std::string &step : found.trace) all += "\n    " + step;
    return all;
}

void check_finds(const std::string &what, protocol p) {
    for (direction d : {direction::message, direction::room}) {
        p.waits_for = d;
        search found(p);
        print_states(what, found);
        CHECK_FALSE(found.trace.empty());
    }
}

void check_loses_nothing(direction d) {
    search found({.waits_for = d});
    print_states(d == direction::message ? "waiting for messages" : "waiting for room", found);
    CHECK_MESSAGE(found.trace.empty(), "a wake-up is lost:" << steps(found));
    // It is no proof if what it is about can't happen.
    CHECK(found.slept == 0b11110);
    CHECK(found.unfenced_used);
    CHECK(found.buffers_suffice);
}

}  // namespace

TEST_CASE("a receiver that waits for messages loses no wake-up, in any interleaving") {
    check_loses_nothing(direction::message);
}

TEST_CASE("a sender that waits for room loses no wake-up, in any interleaving") {
    check_loses_nothing(direction::room);
}

TEST_CASE("without the waker's fence the search finds a lost wake-up") {
    check_finds("without the waker's fence", {.waker_fences = false});
}

TEST_CASE("without the sleeper's fence the search finds a lost wake-up") {
    check_finds("without the sleeper's fence", {.sleeper_fences = false});
}

TEST_CASE("without the membarrier the search finds a lost wake-up") {
    check_finds("without the membarrier", {.membarriers = false});
}

TEST_CASE("without taking back the leave to go unfenced the search finds a lost wake-up") {
    check_finds("without the taking back", {.takes_back = false});
}

TEST_CASE("if a look at the events after arm eats the bell, the search finds a lost wake-up") {
    check_finds("with a bell eaten after arm", {.looks_keep_bell = false});
}
