// Hundreds of handoffs under full load from other processes: nothing is lost, doubled or left behind.
#include <malloc.h>

#include <atomic>
#include <thread>

#include "floods.hpp"

namespace {
constexpr int reloads = 200;
}

// Sends until it is told to stop, then ends; says how many it sent.
ROLE(flood) {
    tx s(me.arg(0));
    std::atomic<bool> stop{false};
    std::thread listener([&] {
        me.hear();
        stop = true;
    });
    std::uint64_t tag = 0;
    me.say("open");
    while (!stop) {
        ++tag;
        MUST(s.send(tag, flood_size(tag)) == 0);
    }
    listener.join();
    s.end();
    me.say(std::to_string(tag));
    MUST(s.close(limit_ns) == 0);
}

// Takes all that comes from one sender, in order, to its end.
ROLE(drain) {
    rx r(me.arg(0));
    me.say("open");
    std::uint64_t last = 0;
    for (;;) {
        ipc_message m;
        int result = r.receive(m);
        if (result == IPC_END) break;
        MUST(result == IPC_MESSAGE && m.tag == last + 1 && m.sequence == m.tag && m.size == flood_size(m.tag));
        MUST(proven(m) && m.flags == 0);
        MUST(r.release(m) == 0);
        last = m.tag;
    }
    me.say(std::to_string(last));
}

TEST_CASE_FIXTURE(scratch, "a receiver of three flooding senders changes builds 200 times: 0 lost, 0 doubled") {
    host h;
    h.open_receiver("shm://t");
    std::vector<child> senders;
    for (int i = 0; i < 3; ++i) senders.push_back(start("flood", {"shm://t?max_capacity=4MiB"}));
    for (child &c : senders) c.expect("open");
    std::uint64_t received = receive_floods(h, senders, reloads, 4);
    std::uint64_t sent = 0;
    for (child &c : senders) {
        sent += std::stoull(c.hear());
        c.done();
    }
    CHECK(received == sent);
    MESSAGE(sent << " messages, " << reloads << " reloads");
}

TEST_CASE_FIXTURE(scratch, "a flooding sender to two receivers changes builds 200 times: 0 lost, 0 doubled") {
    host h;
    h.open_sender("shm://t", 1 << 16);
    child one = start("drain", {"shm://t"}), two = start("drain", {"shm://t"});
    one.expect("open");
    two.expect("open");
    REQUIRE(eventually([&] { return h.library->ipc_sender_links(h.senders[0], nullptr, 0) == 2; }));
    std::uint64_t tag = send_flood(h, reloads, 5);
    CHECK(h.library->ipc_sender_end(h.senders[0]) == 0);
    for (child *c : {&one, &two}) {
        c->expect(std::to_string(tag));
        c->done();
    }
}

TEST_CASE_FIXTURE(scratch, "after 200 handoffs descriptors, mappings and memory are what they were") {
    host h;
    h.open_sender("shm://out");
    h.open_receiver("shm://in");
    rx r("shm://out");
    tx s("shm://in");
    std::uint64_t tag = 0;
    auto turn = [&](int n) {
        ++tag;
        s.send_all(tag, tag);
        ipc_message m = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[0], &m, limit_ns) == IPC_MESSAGE);
        CHECK(m.tag == tag);
        REQUIRE(h.library->ipc_sender_send(h.senders[0], m.data, m.size, m.tag, limit_ns) == 0);
        CHECK(r.take() == tag);
        std::string old = h.library->name();
        REQUIRE(h.reload(build(n)) == 0);
        REQUIRE(lines_with(old) == 0);
        REQUIRE(lines_with(h.library->name()) > 0);
        CHECK(h.library->ipc_receiver_release(h.receivers[0], &m) == 0);
    };
    for (int n = 0; n < 20; ++n) turn(n);
    std::size_t descriptors = entries("/proc/self/fd");
    [[maybe_unused]] std::size_t mappings = lines_with("");
    [[maybe_unused]] auto memory = mallinfo2().uordblks;
    for (int n = 20; n < 20 + reloads; ++n) turn(n);
    CHECK(entries("/proc/self/fd") == descriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which map memory of their own
    CHECK(lines_with("") <= mappings + 2);                           // the allocator's may come and go
    CHECK(mallinfo2().uordblks <= memory + 1000);
#endif
}
