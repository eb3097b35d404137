// Many senders, one receiver: all are heard, in turn, whether few of them are busy or all.
#include <map>

#include "support.hpp"

// Tags: sender's number times a million, and the count.
static constexpr std::uint64_t million = 1'000'000;

ROLE(streams) {
    tx s("shm://t?capacity=64KiB");
    auto number = static_cast<std::uint64_t>(me.number(0)), count = static_cast<std::uint64_t>(me.number(1));
    me.say("open");
    me.hear();
    s.send_all(number * million + 1, number * million + count);
    MUST(s.close() >= 0);
}

TEST_CASE_FIXTURE(scratch, "ten senders at once: each arrives whole and in its own order, and ends once") {
    rx r;
    constexpr std::uint64_t senders = 10, count = 3000;
    std::vector<child> all;
    for (std::uint64_t i = 0; i < senders; ++i) {
        all.push_back(start("streams", {std::to_string(i), std::to_string(count)}));
        all.back().expect("open");
    }
    for (child &c : all) c.say("go");
    struct seen {
        std::uint64_t number, last;
        bool ended;
    };
    std::map<std::uint64_t, seen> by_id;
    for (std::uint64_t i = 0; i < senders * (count + 1); ++i) {
        ipc_message m;
        int what = r.receive(m);
        if (what == IPC_END) {
            REQUIRE(by_id.count(m.sender));
            REQUIRE(by_id[m.sender].last == count);
            REQUIRE(!by_id[m.sender].ended);
            by_id[m.sender].ended = true;
            continue;
        }
        REQUIRE(what == IPC_MESSAGE);
        REQUIRE(proven(m));
        seen &s = by_id.try_emplace(m.sender, seen{m.tag / million, 0, false}).first->second;
        REQUIRE(m.tag == s.number * million + ++s.last);
        REQUIRE(m.sequence == s.last);
        REQUIRE(r.release(m) == 0);
    }
    CHECK(by_id.size() == senders);
    CHECK(r.read(1, briefly) == "nothing");
    for (child &c : all) c.done();
}

TEST_CASE_FIXTURE(scratch, "senders that all have a full ring are served in turn") {
    rx r;
    constexpr int senders = 5;
    std::vector<child> all;
    for (int i = 0; i < senders; ++i) {
        all.push_back(sender("shm://t?capacity=64KiB"));
        all.back().ask("fill " + std::to_string(i * million));
    }
    // Nobody waits for longer than a turn of all others takes.
    constexpr int turn = 16;
    std::map<std::uint64_t, int> last_heard;
    for (int i = 0; i < senders; ++i) last_heard[i] = 0;
    for (int i = 1; i <= 100 * senders; ++i) {
        last_heard[r.take() / million] = i;
        for (auto &[sender, last] : last_heard) REQUIRE(i - last <= (senders - 1) * turn);
    }
    for (child &c : all) c.ask("close 0");
    while (r.stats().ends < senders) r.read(1000, briefly);
}

TEST_CASE_FIXTURE(scratch, "a sender that never stops keeps nobody else from being heard") {
    rx r;
    child busy = start("streams", {"0", "200000"});
    busy.expect("open");
    busy.say("go");
    child quiet = sender();
    quiet.say("send 2000000 2000000");
    bool heard = false;
    std::uint64_t from_busy = 0;
    while (from_busy < 200000) {
        std::uint64_t tag = r.take();
        if (tag == 2 * million) {
            heard = true;
            break;
        }
        ++from_busy;
    }
    CHECK(heard);
    while (from_busy < 200000) {
        r.take();
        ++from_busy;
    }
    quiet.expect("sent");
    quiet.ask("close 0");
    CHECK(r.read(2) == "end end");
    busy.done();
}
