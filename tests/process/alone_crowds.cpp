// Crowds: more senders at once than one user may have descriptors in flight (1,024), more than a receiver may have
// open, or a good part of them. Alone, since other tests of the same user would have to wait for their share.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "lowered_limit.hpp"
#include "support.hpp"

// Forks so many senders that live for one message, and linger for it. They need no program of their own: an exec for
// each would take longer than all else.
ROLE(crowd) {
    long count = me.number(0);
    std::vector<pid_t> crowd;
    for (long i = 1; i <= count; ++i) {
        pid_t pid;
        while ((pid = fork()) < 0) doze();  // this user has no more processes
        if (pid == 0) {
            ipc_sender *s = nullptr;
            char words[512];
            int code = ipc_sender_open(&s, "shm://t?capacity=64KiB", nullptr, words, sizeof words);
            if (code == 0) code = ipc_sender_send(s, &i, sizeof i, static_cast<std::uint64_t>(i), 5 * limit_ns);
            if (code == 0) code = ipc_sender_close(s, 10 * limit_ns);
            if (code != 0) std::fprintf(stderr, "sender %ld of the crowd: %s, %s\n", i, ipc_strerror(code), words);
            std::_Exit(code == 0 ? 0 : 1);
        }
        crowd.push_back(pid);
    }
    me.say("all are there");
    int failed = 0;
    for (pid_t pid : crowd) {
        int status = 0;
        MUST(waitpid(pid, &status, 0) == pid);
        failed += status != 0;
    }
    me.say(std::to_string(failed) + " have failed");
}

// The receiver computes while they come: it is not called until all are there. That takes a second or two, where a
// receiver's own pause may be longer: it makes no difference to who waits for whom.
TEST_CASE_FIXTURE(scratch, "two thousand short-lived senders linger while the receiver computes, and each is heard") {
    lowered_limit user(RLIMIT_NOFILE, 1024);
    const long count = SLOWER > 1 ? 500 : 2000;  // a sanitizer's fork takes ten times as long
    rx r;
    child c = start("crowd", {std::to_string(count)});
    REQUIRE(c.hear(5 * limit) == "all are there");
    std::set<std::uint64_t> heard;
    long ends = 0;
    ipc_message m;
    while (ends < count) {
        int result = r.receive(m, 5 * limit_ns);
        if (result == -EMFILE) continue;  // told, and they wait
        REQUIRE((result == IPC_MESSAGE || result == IPC_END));
        if (result == IPC_END) {
            ++ends;
            continue;
        }
        REQUIRE(heard.insert(m.tag).second);
        REQUIRE(m.size == sizeof(long));
        REQUIRE(r.release(m) == 0);
    }
    CHECK(heard.size() == static_cast<std::size_t>(count));
    CHECK(r.stats().deaths == 0);
    CHECK(r.stats().refused == 0);
    c.expect("0 have failed");
    c.done();
    CHECK(r.stats().links == 0);
}

// With four receivers the hellos of the crowd are more than may be on their way, so that many can't be linked at first.
TEST_CASE_FIXTURE(scratch, "each of four receivers that compute hears each of two hundred senders") {
    const long count = SLOWER > 1 ? 60 : 200;
    lowered_limit more(RLIMIT_NOFILE, 4096);  // all of them may be linked with each of the four
    rx receivers[4];
    child c = [&] {
        lowered_limit user(RLIMIT_NOFILE, 512);
        return start("crowd", {std::to_string(count)});
    }();
    REQUIRE(c.hear(5 * limit) == "all are there");
    std::set<std::uint64_t> heard[4];
    long ends[4] = {};
    auto take_all = [&] {
        for (int i = 0; i < 4; ++i) {
            ipc_message m;
            for (int result; (result = receivers[i].receive(m, 0)) != -EAGAIN;) {
                REQUIRE(result > 0);
                if (result == IPC_END) ++ends[i];
                if (result != IPC_MESSAGE) continue;
                CHECK(heard[i].insert(m.tag).second);
                REQUIRE(receivers[i].release(m) == 0);
            }
        }
        return std::ranges::all_of(ends, [&](long n) { return n == count; });
    };
    CHECK(eventually(take_all, 5 * limit));
    for (int i = 0; i < 4; ++i) {
        CHECK(heard[i].size() == static_cast<std::size_t>(count));
        CHECK(receivers[i].stats().unheard == 0);
    }
    c.expect("0 have failed");
    c.done();
}

// Many handles in one process. "one N" sends from the Nth, "close" ends all.
ROLE(idle_crowd) {
    std::vector<tx> all;
    auto number = static_cast<std::uint64_t>(me.number(0));
    for (long i = 0; i < me.number(1); ++i) all.emplace_back("shm://t?capacity=64KiB");
    me.say("open");
    for (;;) {
        std::string line = me.hear();
        if (line == "close") return;
        std::size_t which = std::stoul(line);
        MUST(all[which].send(number * 1'000'000 + which) == 0);
    }
}

TEST_CASE_FIXTURE(scratch, "one of two hundred idle senders is heard whenever it speaks") {
    rx r;
    constexpr std::uint64_t processes = 4, each = 50;
    std::vector<child> crowds;
    for (std::uint64_t i = 0; i < processes; ++i) {
        crowds.push_back(start("idle_crowd", {std::to_string(i), std::to_string(each)}));
        crowds.back().expect("open");
        // It takes in a few at each look. Of all at once, more descriptors would be on their way than a user may have
        // so.
        CHECK(eventually([&] { return r.stats().links == (i + 1) * each; }));
    }
    // All fall silent: they are armed now, and ring.
    CHECK(r.read(1, 50 * briefly) == "nothing");
    dice any(1);
    for (int i = 0; i < 1000; ++i) {
        std::uint64_t crowd = any.below(processes), which = any.below(each);
        crowds[crowd].say(std::to_string(which));
        REQUIRE(r.take() == crowd * 1'000'000 + which);
    }
    for (child &c : crowds) c.say("close");
    for (std::uint64_t i = 0; i < processes * each; ++i) REQUIRE(r.read(1) == "end");
    for (child &c : crowds) c.done();
}
