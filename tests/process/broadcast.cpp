// Several receivers: each gets every message, from one copy, and the slowest of them sets the pace.
#include <fstream>
#include <sstream>

#include "support.hpp"

static const std::string small = "shm://t?capacity=64KiB";

TEST_CASE_FIXTURE(scratch, "each receiver gets every message, in order, and the end") {
    std::vector<child> receivers;
    for (int i = 0; i < 4; ++i) receivers.push_back(receiver());
    child s = sender(small);
    for (child &r : receivers) r.say("read 5001");
    s.ask("send 1 5000 100");
    s.ask("end");
    for (child &r : receivers) r.expect("1-5000 end");
}

// The inodes of the rings that a process has mapped.
static std::set<std::string> rings_of(pid_t pid) {
    std::set<std::string> inodes;
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::string range, mode, offset, device, inode, path;
        words >> range >> mode >> offset >> device >> inode >> path;
        if (path == "/memfd:ipc-ring") inodes.insert(device + "/" + inode);
    }
    return inodes;
}

TEST_CASE_FIXTURE(scratch, "all receivers read the sender's one copy") {
    child a = receiver(), b = receiver(), s = sender();
    s.ask("send 1 1");
    CHECK(a.ask("read 1") == "1");
    CHECK(b.ask("read 1") == "1");
    REQUIRE(rings_of(s.pid()).size() == 1);
    CHECK(rings_of(a.pid()) == rings_of(s.pid()));
    CHECK(rings_of(b.pid()) == rings_of(s.pid()));
}

TEST_CASE_FIXTURE(scratch, "the slowest receiver gates the sender, and goes on where it was") {
    child fast = receiver(), slow = receiver();
    tx s(small);
    std::uint64_t sent = s.fill_up(1);
    REQUIRE(sent > 100);
    CHECK(fast.ask("read " + std::to_string(sent)) == "1-" + std::to_string(sent));
    CHECK(s.send(0, 64, 0) == -EAGAIN);
    CHECK(slow.ask("read 10") == "1-10");
    CHECK(s.fill_up(sent + 1) == 10);
    CHECK(fast.ask("read 10") == std::to_string(sent + 1) + "-" + std::to_string(sent + 10));
    CHECK(slow.ask("read " + std::to_string(sent)) == "11-" + std::to_string(sent + 10));
}

ROLE(streams_a_hundred_rings) {
    tx s(small);
    me.hear();
    std::uint64_t bytes = 0, tag = 0;
    while (bytes < 100 * (64 << 10)) {
        MUST(s.send(++tag, 1000) == 0);
        bytes += 1000;
    }
    me.say(std::to_string(tag));
    MUST(s.close() >= 0);
}

TEST_CASE_FIXTURE(scratch, "of two receivers one is busy while a hundred rings' worth is sent: both get all of it") {
    rx busy;  // makes no call until the sender has been waiting for it
    child r = receiver();
    child s = start("streams_a_hundred_rings");
    s.say("go");
    std::string all = "1-6554";
    r.say("read 6555");
    REQUIRE(eventually([&] { return s.sleeps() && r.sleeps(); }));
    CHECK(busy.read(6555) == all + " end");
    r.expect(all + " end");
    s.expect("6554");
    s.done();
}

TEST_CASE_FIXTURE(scratch, "a receiver that is killed holds nobody up, and the others miss nothing") {
    somebody_was_killed("shm://t");
    child stays = receiver(), goes = receiver();
    child s = sender(small);
    s.ask("send 1 10");
    CHECK(goes.ask("hold 5") == "1-5");
    stays.say("read 5001");
    s.say("send 11 5000");
    REQUIRE(eventually([&] { return s.sleeps() && stays.sleeps(); }));
    goes.kill();
    s.expect("sent");
    s.ask("end");
    stays.expect("1-5000 end");
}

TEST_CASE_FIXTURE(scratch, "a receiver that closes holds nobody up, and the others miss nothing") {
    child stays = receiver(), goes = receiver();
    child s = sender(small);
    s.ask("send 1 10");
    CHECK(goes.ask("read 5") == "1-5");
    stays.say("read 5001");
    s.say("send 11 5000");
    REQUIRE(eventually([&] { return s.sleeps() && stays.sleeps(); }));
    CHECK(goes.ask("close") == "0");
    s.expect("sent");
    s.ask("end");
    stays.expect("1-5000 end");
}

TEST_CASE_FIXTURE(scratch, "a receiver that has not accepted yet gates from the connect on") {
    rx late;  // never calls while the sender sends
    tx s(small);
    std::uint64_t sent = s.fill_up(1);
    CHECK(s.links().at(0).state == IPC_LINK_CONNECTING);
    CHECK(late.read(static_cast<int>(sent)) == "1-" + std::to_string(sent));
    CHECK(s.fill_up(1) == sent);
}
