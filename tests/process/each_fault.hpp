// Each system call that opening a handle makes fails once: the n-th for n = 1, 2, ... until there is none left.
// Whatever failed, open says so in words or does without it, keeps nothing, and opens the next time.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "refusal.hpp"
#include "traced_calls.hpp"

// What the process in which a call fails has to say of it.
struct report {
    int code;
    char words[512];
    char broken[512];  // what it left behind, or why it could not open again; empty is good
};

// What a failing call says: enough for it to be believable.
inline int error_of(long call) {
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
inline bool may_fail(long call) {
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
    long failed = -1;
    int status = trace(child, [&](long call) {
        if (!may_fail(call) || --n != 0) return 0;
        failed = call;
        return error_of(call);
    });
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
