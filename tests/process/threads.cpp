// Calls on one handle are made by one thread at a time. A debug build of the library, as those with sanitizers are,
// tells a second thread so, and nothing is broken.
#ifdef IPC_DEBUG_THREADS

#include <cerrno>
#include <thread>

#include "support.hpp"

namespace {

// A thread that makes one blocking call, which another thread's short call may keep out at first.
template <class Call>
std::thread inside(int &result, Call call) {
    return std::thread([&result, call] {
        do result = call();
        while (result == -EBUSY);
    });
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a second thread that enters a receiver is told so, and may interrupt the first") {
    tx s;
    rx r;
    s.await_links(1);
    REQUIRE(s.send(1) == 0);
    ipc_message held, m = empty_message();
    REQUIRE(r.receive(held) == IPC_MESSAGE);
    ipc_receiver_counters counters{};
    counters.struct_size = sizeof counters;
    ipc_link link{};
    link.struct_size = sizeof link;
    int result = 0;
    ipc_message first = empty_message();
    std::thread thread = inside(result, [&] { return ipc_receiver_receive(r, &first, -1); });
    CHECK(eventually([&] { return ipc_receiver_stats(r, &counters) == -EBUSY; }));
    CHECK(ipc_receiver_receive(r, &m, 0) == -EBUSY);
    CHECK(ipc_receiver_release(r, &held) == -EBUSY);
    CHECK(ipc_receiver_arm(r) == -EBUSY);
    CHECK(ipc_receiver_links(r, &link, 1) == -EBUSY);
    CHECK(ipc_receiver_close(r) == -EBUSY);
    CHECK(ipc_receiver_interrupt(r) == 0);
    thread.join();
    CHECK(result == -ECANCELED);
    CHECK(r.release(held) == 0);
    CHECK(s.send(2) == 0);
    CHECK(r.take() == 2);
}

TEST_CASE_FIXTURE(scratch, "a second thread that enters a sender is told so, and may interrupt the first") {
    tx s("shm://t?capacity=64KiB");
    std::uint64_t sent = s.fill_up(1);
    ipc_sender_counters counters{};
    counters.struct_size = sizeof counters;
    ipc_link link{};
    link.struct_size = sizeof link;
    int result = 0;
    void *room = nullptr;
    std::thread thread = inside(result, [&] { return ipc_sender_send(s, "x", 1, 0, -1); });
    CHECK(eventually([&] { return ipc_sender_stats(s, &counters) == -EBUSY; }));
    CHECK(ipc_sender_reserve(s, 1, &room, 0) == -EBUSY);
    CHECK(ipc_sender_commit(s, 1, 0) == -EBUSY);
    CHECK(ipc_sender_abort(s) == -EBUSY);
    CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EBUSY);
    CHECK(ipc_sender_end(s) == -EBUSY);
    CHECK(ipc_sender_flush(s, 0) == -EBUSY);
    CHECK(ipc_sender_arm(s) == -EBUSY);
    CHECK(ipc_sender_links(s, &link, 1) == -EBUSY);
    CHECK(ipc_sender_close(s, 0) == -EBUSY);
    CHECK(ipc_sender_interrupt(s) == 0);
    thread.join();
    CHECK(result == -ECANCELED);
    CHECK(s.stats().messages == sent);
    rx r;
    s.await_links(1);
    for (std::uint64_t tag = 1; tag <= sent; ++tag) CHECK(r.take() == tag);
}

TEST_CASE_FIXTURE(scratch, "threads that take turns are no second thread") {
    tx s;
    rx r;
    for (std::uint64_t tag = 1; tag <= 20; ++tag) {
        std::thread([&] { CHECK(s.send(tag) == 0); }).join();
        std::thread([&] { CHECK(r.take() == tag); }).join();
    }
}

#endif
