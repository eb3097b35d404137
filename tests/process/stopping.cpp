// Stopped is not dead: nothing expires, nothing is lost, and one can tell who is in the way.
#include <cerrno>

#include "support.hpp"

static const std::string small = "shm://t?capacity=64KiB";

// Lets it go on that was stopped while it slept in `call`. SIGCONT may end a wait, with nothing done: then it calls
// again.
static std::string goes_on(child &c, const std::string &call) {
    c.cont();
    std::string said = c.hear();
    bool cut_short = said == std::to_string(-EINTR) || said == ipc_strerror(-EINTR);
    return cut_short ? c.ask(call) : said;
}

TEST_CASE_FIXTURE(scratch, "a stopped receiver gates the sender, whose links name it, and misses nothing") {
    child runs = receiver(), stopped = receiver();
    tx s(small);
    stopped.stop();
    std::uint64_t sent = s.fill_up(1);
    CHECK(runs.ask("read " + std::to_string(sent)) == "1-" + std::to_string(sent));
    CHECK(s.send(sent + 1, 64, briefly) == -ETIMEDOUT);
    auto links = s.links();
    REQUIRE(links.size() == 2);
    for (auto &link : links) {
        bool in_the_way = link.released < link.committed;
        CHECK(in_the_way == (link.pid == stopped.pid()));
        CHECK(link.behind == (in_the_way ? sent : 0));
    }
    stopped.cont();
    CHECK(stopped.ask("read " + std::to_string(sent)) == "1-" + std::to_string(sent));
    CHECK(s.send(sent + 1) == 0);
    CHECK(stopped.ask("read 1") == std::to_string(sent + 1));
}

TEST_CASE_FIXTURE(scratch,
                  "a sender that waits for a stopped receiver can be interrupted, and goes on when that does") {
    child r = receiver();
    r.stop();
    child s = sender(small);
    std::string sent = s.ask("fill 1");
    s.say("try 0 -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    CHECK(s.interrupt() == std::to_string(-EINTR));
    r.cont();
    CHECK(r.ask("read " + sent) == "1-" + sent);
    CHECK(s.ask("try 0 -1") == "0");
}

TEST_CASE_FIXTURE(scratch, "a receiver that is stopped in its sleep sees what came meanwhile") {
    tx s;
    child r = receiver();
    r.say("read 6");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    r.stop();
    s.send_all(1, 5);
    s.end();
    CHECK(goes_on(r, "read 6") == "1-5 end");
}

TEST_CASE_FIXTURE(scratch, "a sender that is stopped in its sleep sees the room that came meanwhile") {
    rx r;
    child s = sender(small);
    std::string sent = s.ask("fill 1");
    s.say("try 0 -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    s.stop();
    CHECK(r.read(std::stoi(sent)) == "1-" + sent);
    CHECK(goes_on(s, "try 0 -1") == "0");
}

TEST_CASE_FIXTURE(scratch, "who comes while the other side is stopped is served when that goes on") {
    child s = sender();
    s.ask("send 1 3");
    s.stop();
    child r = receiver();
    r.say("read 3");
    REQUIRE(eventually([&] { return r.sleeps(); }));
    s.cont();
    s.ask("unreleased");
    r.expect("1-3");
    r.stop();
    child s2 = sender();
    s2.ask("send 4 5");
    CHECK(s2.ask("close 0") == "2");
    r.cont();
    CHECK(r.ask("read 3") == "4-5 end");
}

ROLE(sends_through_stops) {
    tx s(small);
    me.say("open");
    me.hear();
    auto last = static_cast<std::uint64_t>(me.number(0));
    for (std::uint64_t tag = 1; tag <= last;) {
        int result = s.send(tag);
        MUST(result == 0 || result == -EINTR);
        if (result == 0) ++tag;
    }
    MUST(s.end() == 0);
    me.say("sent");
    me.hear();
}

ROLE(receives_through_stops) {
    rx r;
    me.say("open");
    auto last = static_cast<std::uint64_t>(me.number(0));
    for (std::uint64_t tag = 1;;) {
        ipc_message m;
        int result = r.receive(m);
        if (result == -EINTR) continue;
        if (result == IPC_END) {
            MUST(tag == last + 1);
            break;
        }
        MUST(result == IPC_MESSAGE);
        MUST(m.tag == tag);
        MUST(proven(m));
        MUST(r.release(m) == 0);
        ++tag;
    }
    me.say("all");
    me.hear();
}

TEST_CASE_FIXTURE(scratch, "both sides stopped again and again at any moment: nothing is lost") {
    std::string last = std::to_string(300'000 / SLOWER);
    child r = start("receives_through_stops", {last}), s = start("sends_through_stops", {last});
    r.expect("open");
    s.expect("open");
    dice any(1);
    s.say("go");
    for (int i = 0; i < 40; ++i) {
        child &which = any.below(2) ? r : s;
        which.stop();
        if (any.below(3) == 0) {
            child &other = &which == &r ? s : r;
            other.stop();
            other.cont();
        }
        which.cont();
    }
    s.expect("sent");
    r.expect("all");
}
