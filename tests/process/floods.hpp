// A host under full load: the other processes are the roles "flood URL" and "drain URL" of handoff_load.cpp, and the
// host changes builds meanwhile.
#pragma once

#include <map>
#include <vector>

#include "host_calls.hpp"

// Sizes from 0 to a few KiB, so that frames of all kinds pass, and pieces of them on pipes.
inline std::size_t flood_size(std::uint64_t tag) { return tag * 37 % 9000; }

// Takes all that three flooding senders send, to their ends, and holds some of it. How many messages came.
inline std::uint64_t receive_floods(host &h, std::vector<child> &senders, int reloads, std::uint64_t seed) {
    std::map<std::uint64_t, std::uint64_t> last;  // tag, by sender
    std::vector<ipc_message> held;
    std::uint64_t wrong = 0, ends = 0, received = 0;
    auto receive_one = [&] {
        ipc_message m;
        int result = receive(h, m);
        ends += result == IPC_END;
        if (result != IPC_MESSAGE) return result;
        ++received;
        wrong += m.tag != ++last[m.sender] || m.sequence != m.tag || m.flags != 0 || !proven(m);
        held.push_back(m);
        return result;
    };
    auto release_one = [&](std::size_t which) {
        wrong += !proven(held[which]) || release(h, held[which]) != 0;
        held.erase(held.begin() + static_cast<long>(which));
    };
    dice random(seed);
    for (int turn = 0; turn < reloads; ++turn) {
        for (std::uint64_t n = random.below(300) + 20; n > 0; --n) {
            REQUIRE(receive_one() == IPC_MESSAGE);
            while (held.size() > 8) release_one(random.below(held.size()));
        }
        REQUIRE(h.reload(build(turn)) == 0);
    }
    for (child &c : senders) c.say("stop");
    while (ends < senders.size()) {
        if (receive_one() < 0) FAIL("a sender's end does not come");
        while (held.size() > 8) release_one(random.below(held.size()));
    }
    while (!held.empty()) release_one(0);
    CHECK(wrong == 0);
    return received;
}

// Sends without a pause, and has a reservation open at some of the changes. How many messages were sent.
inline std::uint64_t send_flood(host &h, int reloads, std::uint64_t seed) {
    std::uint64_t tag = 0;
    void *room = nullptr;
    dice random(seed);
    auto reserve = [&] {
        REQUIRE(h.library->ipc_sender_reserve(h.senders[0], flood_size(tag + 1), &room, limit_ns) == 0);
    };
    for (int turn = 0; turn < reloads; ++turn) {
        for (std::uint64_t n = random.below(300) + 20; n > 0; --n) {
            if (!room) reserve();
            std::size_t size = flood_size(++tag);
            fill(room, size, tag);
            REQUIRE(h.library->ipc_sender_commit(h.senders[0], size, tag) == 0);
            room = nullptr;
        }
        if (turn % 3 == 0) reserve();
        REQUIRE(h.reload(build(turn)) == 0);
    }
    return tag;
}
