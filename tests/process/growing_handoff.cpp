// Handles with several rings are handed over.
#include <cstdint>
#include <vector>

#include "growing.hpp"
#include "host.hpp"

TEST_CASE_FIXTURE(
    scratch, "a receiver is handed over with messages held in several rings, and with rings that it has not read") {
    host h;
    h.open_receiver("shm://t");
    child s = sender("shm://t?capacity=64KiB&max_capacity=32MiB");
    auto receive = [&](std::uint64_t tag) {
        ipc_message m = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[0], &m, limit_ns) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        CHECK(proven(m));
        return m;
    };
    s.ask("send 1 3 20000");
    s.ask("send 4 6 100000");
    s.ask("send 7 9 1000000");
    std::vector<ipc_message> held;
    for (std::uint64_t tag = 1; tag <= 5; ++tag) held.push_back(receive(tag));
    auto release = [&](std::size_t i) { CHECK(h.library->ipc_receiver_release(h.receivers[0], &held[i]) == 0); };
    release(1);
    release(4);
    REQUIRE(h.reload(next_build) == 0);
    for (std::uint64_t tag = 6; tag <= 8; ++tag) held.push_back(receive(tag));
    s.ask("send 10 10 3000000");
    REQUIRE(h.reload(this_build) == 0);
    for (std::uint64_t tag = 9; tag <= 10; ++tag) held.push_back(receive(tag));
    for (const ipc_message &m : held) CHECK(proven(m));
    for (std::size_t i : {9, 0, 7, 3, 2, 8, 5, 6}) release(i);
    CHECK(s.ask("unreleased") == "0");
}

TEST_CASE_FIXTURE(scratch, "a sender is handed over with several rings alive, grows, and goes back to the small one") {
    host h;
    h.open_sender("shm://t?capacity=64KiB&max_capacity=32MiB");
    child r1 = receiver();
    auto send = [&](std::uint64_t tag, std::size_t size) {
        void *room;
        REQUIRE(h.library->ipc_sender_reserve(h.senders[0], size, &room, limit_ns) == 0);
        fill(room, size, tag);
        REQUIRE(h.library->ipc_sender_commit(h.senders[0], size, tag) == 0);
    };
    auto stats = [&] {
        ipc_sender_counters c{};
        c.struct_size = sizeof c;
        REQUIRE(h.library->ipc_sender_stats(h.senders[0], &c) == 0);
        return c;
    };
    send(1, 100);
    send(2, 100'000);
    REQUIRE(h.reload(next_build) == 0);
    send(3, 1'000'000);
    REQUIRE(h.reload(this_build) == 0);
    CHECK(r1.ask("hold 3") == "1-3");
    CHECK(r1.ask("release 2") == "0");
    CHECK(stats().unreleased == 2);
    REQUIRE(h.reload(next_build) == 0);
    r1.kill();
    child r2 = receiver();
    REQUIRE(eventually([&] { return stats().links == 1; }));
    send(4, 10'000'000);
    CHECK(r2.ask("read 3") == "1* 3* 4");
    CHECK(eventually([&] { return stats().capacity == 64 * KiB; }));
    CHECK(stats().unreleased == 0);
    send(5, 100);
    CHECK(r2.ask("read 1") == "5");
}
