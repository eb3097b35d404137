// A receiver that takes its time between messages.
#include <set>

#include "support.hpp"

TEST_CASE_FIXTURE(scratch,
                  "a receiver that is slow hears each sender of a crowd in turn, and not one again and again") {
    rx r;
    std::vector<tx> senders(12);
    for (tx &s : senders) s.await_links(1);
    for (tx &s : senders)
        for (std::uint64_t tag = 1; tag <= 60; ++tag) REQUIRE(s.send(tag) == 0);
    std::set<std::uint64_t> heard;
    ipc_message m;
    // A turn has 16 messages at most, fewer where a pause brings a look at the events.
    for (int i = 0; i < 16 * 12; ++i) {
        doze();
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(r.release(m) == 0);
        heard.insert(m.sender);
    }
    CHECK(heard.size() == senders.size());
}
