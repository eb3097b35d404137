// What tests do with the handles of a host: its first sender, its first receiver.
#pragma once

#include <poll.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "host.hpp"
#include "support.hpp"

// The builds in turn.
inline const std::string &build(int turn) { return turn % 2 ? this_build : next_build; }

inline int receive(const host &h, ipc_message &m, std::int64_t timeout = limit_ns) {
    m = empty_message();
    return h.library->ipc_receiver_receive(h.receivers[0], &m, timeout);
}

inline int release(const host &h, const ipc_message &m) { return h.library->ipc_receiver_release(h.receivers[0], &m); }

// The tag of the next message, which is released.
inline std::uint64_t take(const host &h) {
    ipc_message m;
    REQUIRE(receive(h, m) == IPC_MESSAGE);
    REQUIRE(proven(m));
    REQUIRE(release(h, m) == 0);
    return m.tag;
}

inline int send(const host &h, std::uint64_t tag, std::size_t size = 64, std::int64_t timeout = limit_ns) {
    void *room;
    if (int result = h.library->ipc_sender_reserve(h.senders[0], size, &room, timeout)) return result;
    fill(room, size, tag);
    return h.library->ipc_sender_commit(h.senders[0], size, tag);
}

inline ipc_sender_counters sender_stats(const host &h) {
    ipc_sender_counters c{};
    c.struct_size = sizeof c;
    REQUIRE(h.library->ipc_sender_stats(h.senders[0], &c) == 0);
    return c;
}

inline ipc_receiver_counters receiver_stats(const host &h) {
    ipc_receiver_counters c{};
    c.struct_size = sizeof c;
    REQUIRE(h.library->ipc_receiver_stats(h.receivers[0], &c) == 0);
    return c;
}

inline bool ready(int fd, int timeout_ms = static_cast<int>(limit_ns / 1'000'000)) {
    pollfd p{fd, POLLIN, 0};
    return poll(&p, 1, timeout_ms) == 1;
}

// Arms; what there is to be served is served.
inline void arm(const host &h) {
    while (h.library->ipc_receiver_arm(h.receivers[0]) == 0) {
        ipc_message m;
        REQUIRE(receive(h, m, 0) == -EAGAIN);
    }
}

// A frozen handle refuses every call but url, fd, interrupt and forget. `state` is what it was frozen to.
inline void check_frozen(const copy &l, ipc_sender *s, std::vector<std::byte> state) {
    void *room = nullptr;
    ipc_sender_counters counters{};
    counters.struct_size = sizeof counters;
    ipc_link link{};
    link.struct_size = sizeof link;
    CHECK(l.ipc_sender_reserve(s, 8, &room, -1) == -EBUSY);
    CHECK(l.ipc_sender_commit(s, 8, 0) == -EBUSY);
    CHECK(l.ipc_sender_abort(s) == -EBUSY);
    CHECK(l.ipc_sender_send(s, "x", 1, 0, -1) == -EBUSY);
    CHECK(l.ipc_sender_end(s) == -EBUSY);
    CHECK(l.ipc_sender_flush(s, -1) == -EBUSY);
    CHECK(l.ipc_sender_arm(s) == -EBUSY);
    CHECK(l.ipc_sender_stats(s, &counters) == -EBUSY);
    CHECK(l.ipc_sender_links(s, &link, 1) == -EBUSY);
    CHECK(l.ipc_sender_close(s, -1) == -EBUSY);
    CHECK(l.ipc_sender_freeze(s, state.data(), state.size()) == -EBUSY);
}
inline void check_frozen(const copy &l, ipc_receiver *r, std::vector<std::byte> state, const ipc_message &held) {
    ipc_message m = held;
    ipc_receiver_counters counters{};
    counters.struct_size = sizeof counters;
    ipc_link link{};
    link.struct_size = sizeof link;
    CHECK(l.ipc_receiver_receive(r, &m, -1) == -EBUSY);
    CHECK(l.ipc_receiver_release(r, &m) == -EBUSY);
    CHECK(l.ipc_receiver_arm(r) == -EBUSY);
    CHECK(l.ipc_receiver_stats(r, &counters) == -EBUSY);
    CHECK(l.ipc_receiver_links(r, &link, 1) == -EBUSY);
    CHECK(l.ipc_receiver_close(r) == -EBUSY);
    CHECK(l.ipc_receiver_freeze(r, state.data(), state.size()) == -EBUSY);
}

// What a process has.
inline std::size_t entries(const char *folder) {
    std::size_t n = 0;
    for ([[maybe_unused]] auto &entry : std::filesystem::directory_iterator(folder)) ++n;
    return n;
}
inline std::size_t lines_with(const std::string &text) {
    std::ifstream maps("/proc/self/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);) n += line.find(text) != line.npos;
    return n;
}
