// Senders and receivers that go and come again under load: nothing is lost, and what comes twice is marked.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

// Tags: number of the process times a million, and the count.
static constexpr std::uint64_t million = 1'000'000;

static std::uint64_t messages_of(std::uint64_t number) { return 1 + dice(number).below(400); }
static bool dies(std::uint64_t number) { return number % 2; }

ROLE(sends_and_goes) {
    auto number = static_cast<std::uint64_t>(me.number(0));
    tx s(small);
    s.send_all(number * million + 1, number * million + messages_of(number), 100);
    if (!dies(number)) return;
    void *room;
    MUST(ipc_sender_reserve(s, 100, &room, limit_ns) == 0);
    kill(getpid(), SIGKILL);
}

TEST_CASE_FIXTURE(
    scratch, "two hundred senders come, end or are killed: each message is counted once, each end and death told") {
    somebody_was_killed(url);
    rx r;
    leak_check before(folder() + "/none");
    constexpr std::uint64_t at_once = 4, all = 200;
    std::vector<child> running;
    std::uint64_t started = 0, gone = 0;
    struct sender {
        std::uint64_t number, count;
    };
    std::map<std::uint64_t, sender> known;
    while (gone < all) {
        while (started < all && started - gone < at_once) {
            running.push_back(start("sends_and_goes", {std::to_string(started)}));
            ++started;
        }
        ipc_message m;
        int what = r.receive(m);
        if (what == IPC_MESSAGE) {
            REQUIRE(proven(m));
            sender &s = known.try_emplace(m.sender, sender{m.tag / million, 0}).first->second;
            REQUIRE(m.tag == s.number * million + ++s.count);
            REQUIRE(m.sequence == s.count);
            REQUIRE(m.flags == 0);
            REQUIRE(r.release(m) == 0);
            continue;
        }
        REQUIRE(known.count(m.sender));
        sender s = known[m.sender];
        REQUIRE(what == (dies(s.number) ? IPC_DIED : IPC_END));
        REQUIRE(s.count == messages_of(s.number));
        known.erase(m.sender);
        REQUIRE(running.at(s.number).wait() == (dies(s.number) ? 128 + SIGKILL : 0));
        ++gone;
    }
    CHECK(known.empty());
    running.clear();
    CHECK(r.read(1, briefly) == "nothing");
    CHECK(r.stats().ends + r.stats().deaths == all);
    // The receiver that saw them all is as it was before.
    for (auto &leak : before.leaks()) FAIL_CHECK("left over: " << leak);
}

// Says each message before it releases it, so that whoever listens knows all that it can have released.
ROLE(says_what_it_gets) {
    rx r(url);
    me.say("open");
    for (ipc_message m;;) {
        int what = r.receive(m, -1);
        if (what == IPC_END) break;
        MUST(what == IPC_MESSAGE);
        MUST(proven(m));
        me.say(std::to_string(m.tag) + (m.flags & IPC_REDELIVERED ? "*" : ""));
        MUST(r.release(m) == 0);
    }
    me.say("end");
}

static std::size_t entries(const std::string &folder) {
    namespace fs = std::filesystem;
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

static std::size_t mappings(pid_t pid) {
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) count += line.find("memfd:ipc") != line.npos;
    return count;
}

TEST_CASE_FIXTURE(
    scratch,
    "a receiver is killed and restarted under load thirty times: nothing is lost, and nothing comes twice unmarked") {
    somebody_was_killed(url);
    child s = sender(small);
    constexpr std::uint64_t last = 20'000;
    std::size_t fds = 0, maps = 0;
    s.say("send 1 " + std::to_string(last) + " 100");
    s.say("flush -1");       // serves newcomers also when all is sent
    std::uint64_t seen = 0;  // all up to it were said by somebody
    bool ended = false;
    dice any(1);
    for (int life = 0; !ended; ++life) {
        child r = start("says_what_it_gets");
        r.expect("open");
        std::uint64_t expected = 0;  // the next tag of this life
        auto check = [&](const std::string &line) {
            std::uint64_t tag = std::stoul(line);
            bool marked = line.back() == '*';
            if (expected == 0)
                REQUIRE(tag <= seen + 1);  // what nobody said cannot have been released
            else
                REQUIRE(tag == expected);
            expected = tag + 1;
            if (!marked) REQUIRE(tag > seen);
            seen = std::max(seen, tag);
        };
        if (life == 30) {
            s.say("end");
            for (std::string line; (line = r.hear()) != "end";) check(line);
            CHECK(seen == last);
            for (const char *done : {"sent", "0", "0"}) s.expect(done);
            // In the end: it may be looking at the folder just now.
            CHECK(eventually([&] {
                return entries("/proc/" + std::to_string(s.pid()) + "/fd") <= fds && mappings(s.pid()) <= maps;
            }));
            r.done();
            ended = true;
        } else {
            for (std::uint64_t count = any.below(300) + 1; count > 0 && seen < last; --count) check(r.hear());
            if (life == 0) {
                fds = entries("/proc/" + std::to_string(s.pid()) + "/fd") + 1;  // this one's bell may be still to come
                maps = mappings(s.pid());
            }
            r.kill();
            for (auto &line : r.rest()) check(line);
        }
    }
}

ROLE(sends_until_told) {
    tx s(small);
    s.await_links(1);  // or the one that stays would join whoever comes first
    me.say("linked");
    std::uint64_t tag = 0;
    for (pollfd told{STDIN_FILENO, POLLIN, 0}; poll(&told, 1, 0) == 0;) {
        s.send_all(tag + 1, tag + 100);
        tag += 100;
    }
    me.say(std::to_string(tag));
    MUST(s.close(limit_ns) == 0);
}

ROLE(reads_to_the_end) {
    rx r(url);
    me.say("open");
    event_words said;
    for (ipc_message m;;) {
        int what = r.receive(m);
        if (what == IPC_END) break;
        MUST(what == IPC_MESSAGE);
        MUST(proven(m));
        said.message(m.tag, m.flags & IPC_REDELIVERED);
        MUST(r.release(m) == 0);
    }
    me.say(said.text());
}

TEST_CASE_FIXTURE(scratch, "receivers that come and are killed beside one that stays: that one misses nothing") {
    somebody_was_killed(url);
    child stays = start("reads_to_the_end"), s = start("sends_until_told");
    stays.expect("open");
    s.expect("linked");
    dice any(2);
    for (int i = 0; i < 30; ++i) {
        child r = receiver();
        r.say("read " + std::to_string(any.below(500)));
        if (any.below(2)) r.hear();
        r.kill();
    }
    std::string last = s.ask("stop");
    stays.expect("1-" + last);
    s.done();
    stays.done();
}
