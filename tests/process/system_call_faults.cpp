// Each system call that opening a handle makes fails once: the n-th for n = 1, 2, ... until there is none left.
// Whatever failed, open says so in words or does without it, keeps nothing, and opens the next time.
//
// Sanitizers make calls of their own in between, and can't bear it when these fail.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "forge.hpp"
#include "refusal.hpp"

namespace {

// What the process in which a call fails has to say of it.
struct report {
    int code;
    char words[512];
    char broken[512];  // what it left behind, or why it could not open again; empty is good
};

// The calls between two of these are counted.
constexpr long marker = SYS_getpgid;
void mark() { syscall(marker, 0); }

// What a failing call says: enough for it to be believable.
int error_of(long call) {
    switch (call) {
        case SYS_mmap:
        case SYS_mremap:
        case SYS_mprotect:
        case SYS_brk:
        case SYS_madvise:
        case SYS_fallocate:
        case SYS_epoll_ctl:
            return ENOMEM;
        case SYS_membarrier:
            return ENOSYS;
        case SYS_mkdir:
        case SYS_bind:
        case SYS_rename:
        case SYS_renameat:
            return EROFS;
        default:
            return EMFILE;
    }
}

// Calls that give something back or tell the time are taken to succeed.
bool may_fail(long call) {
    switch (call) {
        case SYS_close:
        case SYS_munmap:
        case SYS_unlinkat:
        case SYS_rmdir:
        case SYS_shutdown:
        case SYS_clock_gettime:
        case SYS_rt_sigprocmask:
        case SYS_rt_sigaction:
        case SYS_futex:
        case SYS_getpid:
        case SYS_geteuid:
        case SYS_gettid:
            return false;
    }
    return true;
}

// Runs `child` with its n-th call between the marks failing. Returns the number of that call, or -1 if there were
// fewer.
template <class Child>
long fail_nth(int n, Child child) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        child();
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    bool counting = false, entering = true;
    long failed = -1, failing = -1;
    for (int signal = 0;;) {
        ptrace(PTRACE_SYSCALL, pid, nullptr, signal);
        signal = 0;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) break;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            signal = WSTOPSIG(status);
            continue;
        }
        if (entering) {
            long call = ptrace(PTRACE_PEEKUSER, pid, offsetof(user, regs.orig_rax), nullptr);
            if (call == marker) counting = !counting;
            if (counting && call != marker && may_fail(call) && --n == 0) {
                failed = failing = call;
                ptrace(PTRACE_POKEUSER, pid, offsetof(user, regs.orig_rax), -1L);
            }
        } else if (failing >= 0) {
            ptrace(PTRACE_POKEUSER, pid, offsetof(user, regs.rax), static_cast<long>(-error_of(failing)));
            failing = -1;
        }
        entering = !entering;
    }
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    return failed;
}

// What `open` says in each case, and what it leaves. It opens, closes and keeps nothing, in the child.
template <class Open>
void each_fault(const std::string &folder, Open open) {
    void *page = mmap(nullptr, sizeof(report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED);
    auto *r = static_cast<report *>(page);
    int refusals = 0, n = 1;
    for (;; ++n) {
        *r = {};
        r->code = 1;
        long call = fail_nth(n, [&] {
            open();  // whatever is made once in a process is there
            leak_check check(folder);
            mark();
            refusal got = open();
            mark();
            r->code = got.code;
            got.words.copy(r->words, sizeof r->words - 1);
            std::string broken;
            for (auto &leak : check.leaks()) broken += leak + "; ";
            if (refusal again = open(); again.code != 0) broken += "then: " + again.words;
            broken.copy(r->broken, sizeof r->broken - 1);
        });
        if (call < 0) break;
        CAPTURE(n);
        CAPTURE(call);
        std::string words = r->words, broken = r->broken;
        CAPTURE(words);
        CHECK(broken == "");
        CHECK(r->code <= 0);
        if (r->code == 0) continue;
        ++refusals;
        CHECK(words.starts_with("cannot open a "));
        // What was tried, what is in the way, and what to do.
        CHECK(words.find("; ") != words.npos);
    }
    CHECK(n > 30);
    CHECK(refusals > 10);
    munmap(page, sizeof(report));
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a sender opens, it says so, and keeps nothing") {
    each_fault(folder(), [] { return try_sender("shm://t"); });
}

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a receiver opens, it says so, and keeps nothing") {
    each_fault(folder(), [] { return try_receiver("shm://t"); });
}

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a sender opens and connects, it says so or tries again") {
    rx r;
    each_fault("/nowhere", [] { return try_sender("shm://t"); });
    ipc_message m;
    int result;
    do result = r.receive(m, 0);
    while (result == IPC_END || result == IPC_DIED);
    CHECK(r.stats().deaths == 0);
    CHECK(r.stats().links == 0);
}
#endif
