// A process whose system calls are seen, and may fail.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "support.hpp"

// The calls between two of these are seen.
inline constexpr long call_marker = SYS_getpgid;
inline void mark() { syscall(call_marker, 0); }

// Runs `child` in a process of its own, and calls enter(call) for each of its calls between the marks: 0, or the error
// with which it is to fail. Its wait status.
template <class Child, class Enter>
int trace(Child child, Enter enter) {
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
    bool seen = false, entering = true;
    long error = 0;
    for (int signal = 0;;) {
        ptrace(PTRACE_SYSCALL, pid, nullptr, signal);
        signal = 0;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) return status;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            signal = WSTOPSIG(status);
            continue;
        }
        if (entering) {
            long call = ptrace(PTRACE_PEEKUSER, pid, offsetof(user, regs.orig_rax), nullptr);
            if (call == call_marker)
                seen = !seen;
            else if (seen && (error = enter(call)) != 0)
                ptrace(PTRACE_POKEUSER, pid, offsetof(user, regs.orig_rax), -1L);
        } else if (error != 0) {
            ptrace(PTRACE_POKEUSER, pid, offsetof(user, regs.rax), -error);
            error = 0;
        }
        entering = !entering;
    }
}
