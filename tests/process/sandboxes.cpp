// A sandbox refuses one side of a pair a system call: each of those that it makes, found by watching it, with EPERM or
// with ENOSYS, before or after it opens. It goes on without the call, or open says which it was. Whatever comes of it,
// a wait lasts as long as it was told to, and takes no time of the processor.
//
// Sanitizers make calls of their own in between, and can't bear it when these fail.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>

#include "refused_call.hpp"
#include "traced_calls.hpp"

namespace {

constexpr std::int64_t ms = 1'000'000;
// How long a side waits for what may never come, as it lacks a call.
constexpr std::int64_t patience = 150 * ms * SLOWER;
constexpr std::int64_t idle = 50 * ms;

enum class moment { before, after };

// Shared by a side, the one that it talks to, and the test.
struct scene {
    std::atomic<int> open, other_open, may_release, finished;
    std::int32_t code;  // of open
    char words[512];
    bool whole;         // all was sent, or received, and told
    std::int32_t last;  // what the last call returned
    bool short_wait;    // one ended in a time-out before its time
    bool told;          // a call has said that it is refused something
    std::int64_t cpu, waited;
    long sleeps;  // of the longest of its waits
};

struct play {
    std::string url;
    bool sends, other_first;
    moment when;
    long call;  // none: -1
    int error;
    // The side that is watched does without the call: it must come to its end, whatever time that takes.
    bool must_go_on;
};

std::int64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

bool until(const std::atomic<int> &word, std::int64_t limit) {
    for (std::int64_t end = now() + limit; word.load() == 0; doze())
        if (now() > end) return false;
    return true;
}

// A call that may wait for `timeout`, and what that took.
template <class Call>
std::int32_t measured(scene &s, std::int64_t timeout, Call call) {
    rusage before, after;
    std::int64_t start = now();
    getrusage(RUSAGE_SELF, &before);
    std::int32_t r = call(timeout);
    getrusage(RUSAGE_SELF, &after);
    std::int64_t took = now() - start;
    auto cpu = [](const rusage &u) {
        return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000'000 +
               (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1'000;
    };
    s.last = r;
    s.short_wait |= (r == -ETIMEDOUT || r > IPC_DIED) && took < timeout;
    s.told |= r == -EPERM || r == -ENOSYS;
    if (std::int64_t used = cpu(after) - cpu(before); used > s.cpu) {
        s.cpu = used;
        s.waited = took;
        s.sleeps = after.ru_nvcsw - before.ru_nvcsw;
    }
    return r;
}

void receive_and_check(scene &s, ipc_receiver *r, std::int64_t limit) {
    std::uint64_t next = 1;
    for (std::int64_t end = now() + limit; next <= 3 && now() < end;) {
        ipc_message m = empty_message();
        std::int32_t code = measured(s, limit, [&](std::int64_t t) { return ipc_receiver_receive(r, &m, t); });
        if (code != IPC_MESSAGE) continue;
        if (m.tag != next++ || !proven(m) || ipc_receiver_release(r, &m) != 0) return;
    }
    s.whole = next == 4;
    ipc_message m = empty_message();
    measured(s, idle, [&](std::int64_t t) { return ipc_receiver_receive(r, &m, t); });
}

bool send_three(ipc_sender *h) {
    for (std::uint64_t tag = 1; tag <= 3; ++tag) {
        void *room;
        if (ipc_sender_reserve(h, 64, &room, 0) != 0) return false;
        fill(room, 64, tag);
        if (ipc_sender_commit(h, 64, tag) != 0) return false;
    }
    return true;
}

// Something is sent; once nobody has released it yet, once all have.
void send_and_flush(scene &s, ipc_sender *h, std::int64_t limit) {
    bool sent = send_three(h);
    auto flush = [&](std::int64_t t) { return ipc_sender_flush(h, t); };
    measured(s, idle, flush);
    s.may_release = 1;
    std::int32_t left = -1;
    for (std::int64_t end = now() + limit; left != 0 && now() < end;) left = measured(s, limit, flush);
    s.whole = sent && left == 0;
}

void act(scene &s, const play &p) {
    if (p.other_first && !until(s.other_open, limit_ns)) return;
    if (p.when == moment::before && p.call >= 0)
        refuse_call(static_cast<unsigned>(p.call), static_cast<unsigned>(p.error));
    ipc_sender *h = nullptr;
    ipc_receiver *r = nullptr;
    mark();
    s.code = p.sends ? ipc_sender_open(&h, p.url.c_str(), nullptr, s.words, sizeof s.words)
                     : ipc_receiver_open(&r, p.url.c_str(), nullptr, s.words, sizeof s.words);
    if (p.when == moment::after && p.call >= 0)
        refuse_call(static_cast<unsigned>(p.call), static_cast<unsigned>(p.error));
    s.open = 1;
    if (s.code == 0) {
        std::int64_t limit = p.must_go_on || p.when == moment::before ? limit_ns : patience;
        if (p.sends) {
            send_and_flush(s, h, limit);
            ipc_sender_close(h, 0);
        } else {
            receive_and_check(s, r, limit);
            ipc_receiver_close(r);
        }
    }
    mark();
}

void other_acts(scene &s, const play &p) {
    if (!p.other_first && !until(s.open, limit_ns)) return;
    char words[512];
    ipc_message m = empty_message();
    if (p.sends) {
        ipc_receiver *r;
        if (ipc_receiver_open(&r, p.url.c_str(), nullptr, words, sizeof words) != 0) return;
        s.other_open = 1;
        ipc_message held[3] = {m, m, m};
        for (std::size_t n = 0; s.finished == 0;) {
            if (n < 3)
                n += ipc_receiver_receive(r, &held[n], 5 * ms) == IPC_MESSAGE;
            else if (s.may_release.exchange(0) != 0)
                for (auto &one : held) ipc_receiver_release(r, &one);
            else
                ipc_receiver_receive(r, &m, 5 * ms);
        }
        ipc_receiver_close(r);
    } else {
        ipc_sender *h;
        if (ipc_sender_open(&h, p.url.c_str(), nullptr, words, sizeof words) != 0) return;
        s.other_open = 1;
        send_three(h);
        while (s.finished == 0) {
            ipc_sender_flush(h, 5 * ms);
            doze();
        }
        ipc_sender_close(h, 0);
    }
}

// Two processes that talk, or fail to.
class performance {
  public:
    explicit performance(play p) : what(std::move(p)) {
        void *page = mmap(nullptr, sizeof(scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(page != MAP_FAILED);
        seen = new (page) scene{};
        other_ = process([this] { other_acts(*seen, what); });
    }
    performance(const performance &) = delete;
    ~performance() {
        seen->finished = 1;
        for (pid_t pid : {side_, other_})
            if (pid > 0 && !ended(pid, limit)) kill(pid, SIGKILL), waitpid(pid, nullptr, 0);
        munmap(seen, sizeof *seen);
    }
    void begin() {
        side_ = process([this] { act(*seen, what); });
    }
    // The side's wait status; -1 if it does not end.
    int end() {
        int status = -1;
        ended(side_, 2 * limit, &status);
        if (status != -1) side_ = 0;
        return status;
    }

    play what;
    scene *seen;

  private:
    template <class Body>
    static pid_t process(Body body) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid != 0) return pid;
        body();
        _exit(0);
    }
    static bool ended(pid_t pid, std::chrono::nanoseconds patience, int *status = nullptr) {
        return eventually([&] { return waitpid(pid, status, WNOHANG) == pid; }, patience);
    }
    pid_t side_ = 0, other_ = 0;
};

// ---- The calls ------------------------------------------------------------------------------------------------------

// Names as the kernel's header has them.
std::map<long, std::string> names_of_calls() {
    std::map<long, std::string> names;
    for (const char *header : {"/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"}) {
        std::ifstream in(header);
        for (std::string line; std::getline(in, line);) {
            std::istringstream words(line);
            std::string define, name;
            long number;
            if (words >> define >> name >> number && name.starts_with("__NR_")) names[number] = name.substr(5);
        }
    }
    return names;
}

// Those of the tests themselves, and without which no process can be.
bool is_watched(long call) {
    switch (call) {
        case SYS_getrusage:
        case SYS_clock_nanosleep:
        case SYS_prctl:
        case SYS_brk:
        case SYS_futex:
        case SYS_rt_sigreturn:
        case SYS_restart_syscall:
            return false;
    }
    return true;
}

std::set<long> calls_of(const play &p) {
    std::set<long> calls;
    performance one(p);
    int status = trace([&] { act(*one.seen, p); },
                       [&](long call) {
                           if (is_watched(call)) calls.insert(call);
                           return 0;
                       });
    CHECK(WIFEXITED(status));
    CAPTURE(std::string(one.seen->words));
    CHECK(one.seen->whole);
    return calls;
}

// ---- The table ------------------------------------------------------------------------------------------------------

std::string outcome(const scene &s, moment when) {
    if (s.code != 0) return "refused";
    return s.whole ? "goes on" : when == moment::before ? "LOST" : "waits";
}

void check(performance &one, const std::string &name) {
    int status = one.end();
    const scene &s = *one.seen;
    std::string words = s.words;
    CAPTURE(name);
    CAPTURE(one.what.url);
    CAPTURE(one.what.sends);
    CAPTURE(one.what.other_first);
    CAPTURE(one.what.when == moment::before);
    CAPTURE(one.what.error);
    CAPTURE(words);
    CAPTURE(s.last);
    CAPTURE(s.cpu);
    CAPTURE(s.waited);
    CAPTURE(s.sleeps);
    CHECK(status == 0);
    if (s.code != 0) {
        CHECK(one.what.when == moment::before);
        CHECK(s.code == -one.what.error);
        CHECK(words.find("system call " + name + " ") != words.npos);
        CHECK(words.find("; allow it in ") != words.npos);
    } else if (one.what.must_go_on || one.what.when == moment::before) {
        CHECK(s.whole);
        CHECK(!s.told);
    }
    if (one.what.must_go_on) CHECK(s.code == 0);
    CHECK(!s.short_wait);
    // A wait that spins takes all there is.
    CHECK(s.cpu < idle / 2 + s.waited / 10);
    CHECK(s.sleeps < 30 + s.waited / (2 * ms));
}

void each_refusal(const std::function<std::string(int)> &url, bool sends, const std::set<std::string> &done_without) {
    std::map<long, std::string> names = names_of_calls();
    REQUIRE(names.size() > 300);
    int number = 0;
    std::set<long> calls;
    for (bool other_first : {true, false})
        calls.merge(calls_of({url(number++), sends, other_first, moment::before, -1, 0, true}));
    std::map<std::string, std::string> table;
    std::deque<std::unique_ptr<performance>> running;
    auto finish_one = [&] {
        performance &one = *running.front();
        check(one, names[one.what.call]);
        std::string &line = table[names[one.what.call]];
        if (std::string came = outcome(*one.seen, one.what.when); line.find(came) == line.npos)
            line += (line.empty() ? "" : ", ") + came + (one.what.when == moment::before ? "" : " (after)");
        running.pop_front();
    };
    for (long call : calls)
        for (int error : {EPERM, ENOSYS})
            for (moment when : {moment::before, moment::after})
                for (bool other_first : {true, false}) {
                    // Of an open handle it is libuv that lacks it then, and that ends the process.
                    if (names[call] == "epoll_wait" && when == moment::after && url(0).find("shm://") != 0) continue;
                    if (running.size() == 12) finish_one();
                    running.push_back(std::make_unique<performance>(play{url(number++), sends, other_first, when, call,
                                                                         error, done_without.count(names[call]) != 0}));
                    running.back()->begin();
                }
    while (!running.empty()) finish_one();
    std::string text;
    for (auto &[name, line] : table) text += "\n    " + name + ": " + line;
    text = "without a system call, a " + std::string(sends ? "sender" : "receiver") + " on " + url(0) + text;
    MESSAGE(text);
}

// A process may leave its sockets and files behind when it can't remove them.
struct untidy : scratch {
    ~untidy() {
        for (auto &entry : std::filesystem::directory_iterator(folder())) std::filesystem::remove_all(entry.path());
    }
    static std::string on_memory(int n) { return "shm://c" + std::to_string(n); }
    std::function<std::string(int)> in_folder(const std::string &scheme) const {
        return [this, scheme](int n) { return scheme + "://" + folder() + "/c" + std::to_string(n); };
    }
};

const std::set<std::string> always{"epoll_pwait2",  "pidfd_open",        "membarrier",
                                   "inotify_init1", "inotify_add_watch", "prlimit64"};

std::set<std::string> also(std::set<std::string> more) {
    more.insert(always.begin(), always.end());
    return more;
}

}  // namespace

TEST_CASE_FIXTURE(untidy, "a sender on shared memory goes on without a system call, or open says which it lacks") {
    each_refusal(on_memory, true, also({"epoll_wait", "sendmsg", "recvmsg", "recvfrom", "read", "write", "shutdown"}));
}

TEST_CASE_FIXTURE(untidy, "a receiver on shared memory goes on without a system call, or open says which it lacks") {
    each_refusal(
        on_memory, false,
        also({"epoll_wait", "sendmsg", "recvmsg", "recvfrom", "read", "write", "accept4", "readlink", "sendto"}));
}

TEST_CASE_FIXTURE(untidy, "a sender on a Unix socket goes on without a system call, or open says which it lacks") {
    each_refusal(in_folder("unix"), true, always);
}

TEST_CASE_FIXTURE(untidy, "a receiver on a Unix socket goes on without a system call, or open says which it lacks") {
    each_refusal(in_folder("unix"), false, also({"accept4"}));
}

TEST_CASE_FIXTURE(untidy, "a sender on a pipe goes on without a system call, or open says which it lacks") {
    each_refusal(in_folder("pipe"), true, always);
}

TEST_CASE_FIXTURE(untidy, "a receiver on a pipe goes on without a system call, or open says which it lacks") {
    each_refusal(in_folder("pipe"), false, always);
}

ROLE(talks_without_pidfds) {
    refuse_call(SYS_pidfd_open, ENOSYS);
    bool sends = me.arg(0) == "sender";
    tx s(sends ? "shm://t" : "shm://elsewhere");
    rx r(sends ? "shm://elsewhere" : "shm://t");
    MUST(!sends || s.send(1) == 0);
    MUST(sends || r.read(1) == "1");
    me.say("talked");
    me.hear();
}

TEST_CASE_FIXTURE(untidy, "a process that has no pidfds is dead to the others when it hangs up, and they to it") {
    rx r;
    child s = start("talks_without_pidfds", {"sender"});
    s.expect("talked");
    CHECK(r.read(1) == "1");
    s.kill();
    CHECK(r.read(1) == "died");
    r.close();
    tx other;
    other.send(1);
    child c = start("talks_without_pidfds", {"receiver"});
    other.await_links(1);
    c.expect("talked");
    c.kill();
    CHECK(eventually([&] { return other.stats().links == 0; }));
}

ROLE(may_accept_nobody) {
    rx r(me.arg(0));
    refuse_call(SYS_accept4, EPERM);
    refuse_call(SYS_accept, EPERM);
    me.say("open");
    ipc_message m;
    MUST(r.receive(m) == -EPERM);  // told once
    scene s{};
    for (int i = 0; i < 3; ++i) measured(s, idle, [&](std::int64_t t) { return r.receive(m, t); });
    MUST(s.last == -ETIMEDOUT && !s.short_wait);
    MUST(s.cpu < idle / 2);
}

TEST_CASE_FIXTURE(untidy,
                  "a receiver that may accept nobody any more says so, and waits without taking the processor") {
    for (const std::string &url : {on_memory(0), in_folder("unix")(0)}) {
        CAPTURE(url);
        child c = start("may_accept_nobody", {url});
        c.expect("open");
        tx s(url);
        s.stats();  // connects
        c.done();
    }
}

// vm.memfd_noexec=2 does so, too, in a pid namespace.
ROLE(may_not_make_memory_that_can_be_executed) {
    refuse_call_if(SYS_memfd_create, 0x8, false, EACCES);  // MFD_NOEXEC_SEAL
    rx r;
    tx s;
    MUST(s.send(1) == 0);
    MUST(r.read(1) == "1");
}

TEST_CASE_FIXTURE(scratch, "where memory files that could be executed are refused, a pair goes on") {
    start("may_not_make_memory_that_can_be_executed").done();
}

// Linux before 6.3.
ROLE(has_no_memory_that_can_not_be_executed) {
    refuse_call_if(SYS_memfd_create, 0x8, true, EINVAL);
    rx r;
    tx s;
    MUST(s.send(1) == 0);
    MUST(r.read(1) == "1");
}

TEST_CASE_FIXTURE(scratch, "where memory files have to be ones that could be executed, a pair goes on") {
    start("has_no_memory_that_can_not_be_executed").done();
}
#endif
