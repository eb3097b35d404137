// Under full load, messages pass without the kernel.
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "support.hpp"

// Plays another role under strace, which counts. Only a stop costs time there, so that what is counted is nearly what
// happens without it.
ROLE(counted) {
    char self[PATH_MAX] = {};
    MUST(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    execlp("strace", "strace", "-f", "-c", "-o", me.arg(0).c_str(), self, "--role", me.arg(1).c_str(),
           me.arg(2).c_str(), nullptr);
    MUST(!"strace can be executed");
}

// The number of calls in the last line, "100.00  0.001234  3  396  13 total".
static long calls_in(const std::string &file) {
    std::ifstream table(file);
    for (std::string line; std::getline(table, line);) {
        std::istringstream words(line);
        std::string share, seconds, each;
        long calls = -1;
        if (line.ends_with("total") && words >> share >> seconds >> each >> calls) return calls;
    }
    return -1;
}

ROLE(sends_many) {
    tx s("shm://t");
    me.hear();
    char payload[64] = {};
    for (long i = 0; i < me.number(0); ++i) MUST(ipc_sender_send(s, payload, sizeof payload, 0, limit_ns) == 0);
    MUST(s.close(limit_ns) == 0);
}

ROLE(receives_many) {
    rx r("shm://t");
    me.say("open");
    ipc_message m;
    for (long i = 0; i < me.number(0); ++i) {
        MUST(r.receive(m) == IPC_MESSAGE);
        MUST(r.release(m) == 0);
    }
    MUST(r.read(1) == "end");
}

TEST_CASE_FIXTURE(scratch, "under full load there are fewer than 0.01 system calls for each message") {
    if (std::system("strace -c -o /dev/null true 2>/dev/null") != 0) {
        MESSAGE("skipped: strace, which counts them, is not installed or may not trace here");
        return;
    }
    constexpr long messages = 2'000'000;
    std::string in_sender = folder() + "/sender.strace", in_receiver = folder() + "/receiver.strace";
    child r = start("counted", {in_receiver, "receives_many", std::to_string(messages)});
    r.expect("open");
    child s = start("counted", {in_sender, "sends_many", std::to_string(messages)});
    s.say("go");
    s.done();
    r.done();
    long sender_calls = calls_in(in_sender), receiver_calls = calls_in(in_receiver);
    CHECK(sender_calls > 0);
    CHECK(receiver_calls > 0);
    CHECK(sender_calls + receiver_calls < messages / 100);
    unlink(in_sender.c_str());
    unlink(in_receiver.c_str());
}
