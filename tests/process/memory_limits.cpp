// Memory that is not to be had, because a limit of the process forbids it: an error in words at open, and never a
// signal then or later.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "forge.hpp"
#include "lowered_limit.hpp"
#include "own_mounts.hpp"
#include "refusal.hpp"

namespace {

// What a signal would do to the process is done to the test.
struct no_sigxfsz : scratch {
    static inline volatile sig_atomic_t signals = 0;
    no_sigxfsz() {
        signals = 0;
        signal(SIGXFSZ, [](int) { signals = signals + 1; });
    }
    ~no_sigxfsz() {
        signal(SIGXFSZ, SIG_DFL);
        CHECK(signals == 0);
    }
};

}  // namespace

// ---- Size of files --------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(no_sigxfsz, "a ring beyond the limit of a file's size is refused, and a smaller one taken") {
    lowered_limit limit(RLIMIT_FSIZE, 100 << 10);
    refusal s = try_sender("shm://t");
    CAPTURE(s);
    CHECK(s.code == -ENOSPC);
    CHECK(s.says("ring of 1048576 bytes"));
    CHECK(s.says("RLIMIT_FSIZE: 102400 bytes"));
    CHECK(s.says("`ulimit -f`"));
    CHECK(s.says("smaller capacity"));
    CHECK(try_sender("shm://t?capacity=64KiB").code == 0);
}

TEST_CASE_FIXTURE(no_sigxfsz, "a process that may write no file at all is told so, in either role") {
    lowered_limit limit(RLIMIT_FSIZE, 0);
    for (const refusal &r : {try_sender("shm://t"), try_receiver("shm://t")}) {
        CAPTURE(r);
        CHECK(r.code == -ENOSPC);
        CHECK(r.says("RLIMIT_FSIZE: 0 bytes"));
        CHECK(r.says("`ulimit -f`"));
        CHECK(!r.says("capacity"));
    }
}

TEST_CASE_FIXTURE(no_sigxfsz,
                  "a sender whose limit is lowered later keeps its messages until a receiver can be linked") {
    tx s("shm://t?capacity=64KiB");
    s.send_all(1, 3);
    rx r;
    {
        lowered_limit limit(RLIMIT_FSIZE, 2048);
        CHECK(s.stats().links == 0);
        CHECK(s.stats().unlinked == 1);
        CHECK(s.send(4, 64, 0) == -EAGAIN);
    }
    CHECK(s.send(4) == 0);
    CHECK(r.read(4) == "1-4");
}

// ---- The machine's memory -------------------------------------------------------------------------------------------

// On a machine that says it has 100 MiB left.
ROLE(opens_on_a_full_machine) {
    std::string meminfo = me.arg(0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid != 0) {
        int status;
        MUST(waitpid(pid, &status, 0) == pid);
        MUST(status == 0);
        return;
    }
    if (!own_mounts() || mount(meminfo.c_str(), "/proc/meminfo", nullptr, MS_BIND, nullptr) != 0) {
        me.say("skipped: this process can have no mounts of its own");
        std::_Exit(0);
    }
    for (auto url : {"shm://t?capacity=128MiB", "shm://t?capacity=1MiB"}) {
        refusal s = try_sender(url);
        me.say(std::to_string(s.code) + " " + s.words);
    }
    std::_Exit(0);
}

TEST_CASE_FIXTURE(scratch, "a ring beyond what the machine has left is refused, and a smaller one taken") {
    std::string meminfo = folder() + ".meminfo";  // beside the folder, in which nothing may be left
    std::ofstream(meminfo) << "MemTotal: 16000000 kB\nMemFree: 4 kB\nMemAvailable: 51200 kB\nSwapFree: 51200 kB\n";
    child c = start("opens_on_a_full_machine", {meminfo});
    std::string words = c.hear();
    if (words.starts_with("skipped")) {
        MESSAGE(words);
    } else {
        CAPTURE(words);
        CHECK(words.starts_with(std::to_string(-ENOMEM) + " "));
        CHECK(words.find("ring of 134217728 bytes") != words.npos);
        CHECK(words.find("this machine has left (104857600 bytes)") != words.npos);
        CHECK(words.find("smaller capacity") != words.npos);
        c.expect("0 ");
    }
    c.done();
    unlink(meminfo.c_str());
}

// ---- Address space --------------------------------------------------------------------------------------------------

// Sanitizers need terabytes of address space for themselves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

static std::uint64_t mapped() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t pages = 0;
    statm >> pages;
    return pages * 4096;
}

TEST_CASE_FIXTURE(scratch, "a ring beyond the limit of address space is refused, and a smaller one taken") {
    lowered_limit limit(RLIMIT_AS, mapped() + (4 << 20));
    refusal s = try_sender("shm://t?capacity=4MiB");
    CAPTURE(s);
    CHECK(s.code == -ENOMEM);
    CHECK(s.says("ring of 4194304 bytes"));
    CHECK(s.says("RLIMIT_AS"));
    CHECK(s.says("`ulimit -v`"));
    CHECK(s.says("smaller capacity"));
    CHECK(try_sender("shm://t?capacity=64KiB").code == 0);
}

TEST_CASE_FIXTURE(scratch,
                  "a receiver without address space for a ring takes smaller ones, and that one once it has room") {
    rx r;
    tx small("shm://t?capacity=64KiB"), large("shm://t?capacity=32MiB");
    small.await_links(1);
    {
        lowered_limit limit(RLIMIT_AS, mapped() + (16 << 20));
        REQUIRE(large.send(1) == 0);
        CHECK(r.stats().links == 1);
        CHECK(r.stats().refused == 0);
        CHECK(small.send(2) == 0);
        CHECK(r.take() == 2);
    }
    CHECK(eventually([&] {
        r.stats();
        large.stats();
        return r.stats().links == 2;
    }));
    CHECK(r.take() == 1);
}

#endif
