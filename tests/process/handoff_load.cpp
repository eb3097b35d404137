// Hundreds of handoffs under full load from other processes: nothing is lost, doubled or left behind.
#include <malloc.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

#include "host.hpp"
#include "support.hpp"

namespace {

constexpr int reloads = 200;

const std::string &build(int turn) { return turn % 2 ? this_build : next_build; }

// Sizes from 0 to a few KiB, so that frames of all kinds pass.
std::size_t size_of(std::uint64_t tag) { return tag * 37 % 3000; }

std::size_t entries(const char *folder) {
    std::size_t n = 0;
    for ([[maybe_unused]] auto &entry : std::filesystem::directory_iterator(folder)) ++n;
    return n;
}

std::size_t lines_with(const std::string &text) {
    std::ifstream maps("/proc/self/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);) n += line.find(text) != line.npos;
    return n;
}

}  // namespace

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
        MUST(s.send(tag, size_of(tag)) == 0);
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
        MUST(result == IPC_MESSAGE && m.tag == last + 1 && m.sequence == m.tag && m.size == size_of(m.tag));
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
    std::map<std::uint64_t, std::uint64_t> last;  // tag, by sender
    std::vector<ipc_message> held;
    std::uint64_t wrong = 0, ends = 0, received = 0;
    auto receive = [&](std::int64_t timeout) {
        ipc_message m = empty_message();
        int result = h.library->ipc_receiver_receive(h.receivers[0], &m, timeout);
        ends += result == IPC_END;
        if (result != IPC_MESSAGE) return result;
        ++received;
        wrong += m.tag != ++last[m.sender] || m.sequence != m.tag || m.flags != 0 || !proven(m);
        held.push_back(m);
        return result;
    };
    auto release_one = [&](std::size_t which) {
        wrong += !proven(held[which]) || h.library->ipc_receiver_release(h.receivers[0], &held[which]) != 0;
        held.erase(held.begin() + static_cast<long>(which));
    };
    dice random(4);
    for (int turn = 0; turn < reloads; ++turn) {
        for (std::uint64_t n = random.below(300) + 20; n > 0; --n) {
            REQUIRE(receive(limit_ns) == IPC_MESSAGE);
            while (held.size() > 8) release_one(random.below(held.size()));
        }
        REQUIRE(h.reload(build(turn)) == 0);
    }
    for (child &c : senders) c.say("stop");
    while (ends < 3) {
        if (receive(limit_ns) < 0) FAIL("a sender's end does not come");
        while (held.size() > 8) release_one(random.below(held.size()));
    }
    while (!held.empty()) release_one(0);
    std::uint64_t sent = 0;
    for (child &c : senders) {
        sent += std::stoull(c.hear());
        c.done();
    }
    CHECK(wrong == 0);
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
    std::uint64_t tag = 0;
    void *room = nullptr;
    dice random(5);
    for (int turn = 0; turn < reloads; ++turn) {
        for (std::uint64_t n = random.below(300) + 20; n > 0; --n) {
            std::size_t size = size_of(tag + 1);
            if (!room) REQUIRE(h.library->ipc_sender_reserve(h.senders[0], size, &room, limit_ns) == 0);
            fill(room, size, ++tag);
            REQUIRE(h.library->ipc_sender_commit(h.senders[0], size, tag) == 0);
            room = nullptr;
        }
        if (turn % 3 == 0) REQUIRE(h.library->ipc_sender_reserve(h.senders[0], size_of(tag + 1), &room, limit_ns) == 0);
        REQUIRE(h.reload(build(turn)) == 0);
    }
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
