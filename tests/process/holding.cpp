// Messages may be held, any number, and released in any order, also after close; deaths in between keep the account.
#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

TEST_CASE_FIXTURE(scratch, "messages are released in any order, and all their room comes back") {
    child s = sender(small);
    rx r;
    dice any(7);
    std::uint64_t sent = std::stoul(s.ask("fill 1 200"));
    for (int round = 0; round < 50; ++round) {
        REQUIRE(r.hold(static_cast<int>(sent)).find("WRONG") == std::string::npos);
        REQUIRE(r.held.size() == sent);
        // All but one in random order: nothing fits before the oldest is gone, and it goes last.
        for (std::size_t left = sent; left > 1; --left) {
            std::uint64_t tag = r.held[1 + any.below(left - 1)].tag;
            REQUIRE(r.release_held(tag) == 0);
        }
        REQUIRE(s.ask("fill 1 200") == "0");
        REQUIRE(r.release_held(r.held[0].tag) == 0);
        REQUIRE(s.ask("unreleased") == "0");
        std::uint64_t again = std::stoul(s.ask("fill 1 200"));
        REQUIRE(again == sent);
    }
    CHECK(r.read(static_cast<int>(sent)) == "1-" + std::to_string(sent));
}

TEST_CASE_FIXTURE(scratch, "what is held stays as it is while the sender goes on and waits") {
    child s = sender(small);
    rx r;
    s.ask("send 1 3 5000");
    CHECK(r.hold(3) == "1-3");
    for (int i = 0; i < 20; ++i) {
        int count = std::stoi(s.ask("fill 100 1000"));
        if (i == 0) CHECK(count > 20);
        r.read(count);
    }
    for (auto &m : r.held) CHECK(proven(m));
    CHECK(r.release_held(2) == 0);
    CHECK(s.ask("fill 100 1000") == "0");
    CHECK(r.release_held(1) == 0);
    CHECK(std::stoi(s.ask("fill 100 1000")) >= 9);
    CHECK(proven(r.held.at(0)));
    CHECK(r.release_held(3) == 0);
}

TEST_CASE_FIXTURE(scratch, "what was released before an older one is not delivered again after a death") {
    somebody_was_killed(url);
    child s = sender(), r1 = receiver();
    s.ask("send 1 10");
    CHECK(r1.ask("hold 6") == "1-6");
    for (const char *early : {"release 2", "release 5", "release 4"}) CHECK(r1.ask(early) == "0");
    CHECK(s.ask("unreleased") == "7");
    r1.kill();
    CHECK(s.ask("unreleased") == "7");
    child r2 = receiver();
    s.ask("unreleased");
    CHECK(r2.ask("hold 3") == "1* 3* 6*");
    CHECK(r2.ask("release 3") == "0");
    CHECK(r2.ask("hold 2") == "7-8");
    CHECK(r2.ask("release 8") == "0");
    r2.kill();
    child r3 = receiver();
    s.ask("unreleased");
    CHECK(r3.ask("read 5") == "1* 6-7* 9-10");
    CHECK(s.ask("unreleased") == "0");
}

TEST_CASE_FIXTURE(scratch, "early releases are kept over deaths at any place of the ring") {
    somebody_was_killed(url);
    child s = sender(small);
    dice any(3);
    std::uint64_t next = 1;  // the first that is not sent
    auto send = [&](std::uint64_t count, std::size_t size) {
        s.ask("send " + std::to_string(next) + " " + std::to_string(next + count - 1) + " " + std::to_string(size));
        next += count;
    };
    for (int round = 0; round < 30; ++round) {
        child r1 = receiver();
        s.ask("unreleased");  // a sender that just looked, and then sends within the same tick, has not seen it
        std::uint64_t first = next;
        send(20, any.below(2500));
        REQUIRE(r1.ask("hold 20") == std::to_string(first) + "-" + std::to_string(next - 1));
        // The oldest stays held, and of the others every second or so.
        event_words left;
        left.message(first, true);
        int count = 1;
        for (std::uint64_t tag = first + 1; tag < next; ++tag) {
            if (any.below(2)) {
                REQUIRE(r1.ask("release " + std::to_string(tag)) == "0");
            } else {
                left.message(tag, true);
                ++count;
            }
        }
        r1.kill();
        child r2 = receiver();
        s.ask("unreleased");
        left.message(next, false);
        send(1, 10);
        REQUIRE(r2.ask("read " + std::to_string(count + 1)) == left.text());
        REQUIRE(s.ask("unreleased") == "0");
        REQUIRE(r2.ask("close") == "0");
    }
}

TEST_CASE_FIXTURE(scratch, "what a closed receiver still holds gates the sender until it is released") {
    child s = sender(small);
    child stays = receiver();
    rx goes;
    std::uint64_t sent = std::stoul(s.ask("fill 1"));
    CHECK(goes.hold(2) == "1-2");
    CHECK(goes.close() == 2);
    CHECK(stays.ask("read " + std::to_string(sent)) == "1-" + std::to_string(sent));
    CHECK(s.ask("fill 1") == "0");
    CHECK(s.ask("unreleased") == "2");
    for (auto &m : goes.held) {
        CHECK(proven(m));
        CHECK(goes.release(m) == 0);
    }
    CHECK(s.ask("unreleased") == "0");
    CHECK(s.ask("fill 1") == std::to_string(sent));
}

TEST_CASE_FIXTURE(scratch, "what is released after close is done with, and what is not goes to the successor") {
    child s = sender();
    rx r1;
    s.ask("send 1 5");
    CHECK(r1.hold(4) == "1-4");
    CHECK(r1.close() == 4);
    CHECK(s.ask("unreleased") == "5");
    CHECK(r1.release(r1.held[0]) == 0);
    CHECK(s.ask("unreleased") == "4");
    CHECK(r1.release(r1.held[2]) == 0);
    child r2 = receiver();
    s.ask("unreleased");
    CHECK(r2.ask("read 3") == "2* 4* 5");
    CHECK(r1.release(r1.held[1]) == 0);
    CHECK(r1.release(r1.held[3]) == 0);
    CHECK(s.ask("unreleased") == "0");
}

TEST_CASE_FIXTURE(scratch, "a closed receiver that has released all leaves nothing but what it had not received") {
    child s = sender();
    rx r1;
    s.ask("send 1 5");
    CHECK(r1.hold(3) == "1-3");
    CHECK(r1.close() == 3);
    for (auto &m : r1.held) CHECK(r1.release(m) == 0);
    CHECK(s.ask("unreleased") == "2");
    child r2 = receiver();
    s.ask("unreleased");
    CHECK(r2.ask("read 2") == "4-5");
    CHECK(s.ask("unreleased") == "0");
}
