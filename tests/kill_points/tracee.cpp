#include "tracee.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace kill_points {

void mark() { raise(SIGSTOP); }

tracee::tracee(const std::string &role, const std::function<void()> &meanwhile) {
    pid_ = fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(77);
        execl("/proc/self/exe", "kill_points", "--role", role.c_str(), nullptr);
        _exit(78);
    }
    int status;
    waitpid(pid_, &status, 0);
    if (WIFEXITED(status)) {
        pid_ = -1;
        throw std::runtime_error("a process can't be traced here");
    }
    ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
    for (int tries = 0; waitpid(pid_, &status, WNOHANG) != pid_; ++tries) {
        if (tries == 10'000) throw std::runtime_error("the role " + role + " does not come to its mark");
        meanwhile();
        usleep(1000);
    }
    if (!WIFSTOPPED(status)) pid_ = -1;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
        throw std::runtime_error("the role " + role + " has not come to its mark");
}

bool tracee::step() { return resume(PTRACE_SINGLESTEP) != SIGSTOP; }

bool tracee::step_visible() {
    if (syscall_at_ == 0) {
        syscall_at_ = registers().rip - 2;  // the mark is a system call
        guard();
    }
    if (std::exchange(at_store_, false)) store();
    int stopped_by = resume(PTRACE_SYSCALL);
    if (stopped_by == SIGSEGV) {
        siginfo_t fault;
        checked(PTRACE_GETSIGINFO, nullptr, &fault);
        auto at = reinterpret_cast<unsigned long>(fault.si_addr);
        at_store_ =
            std::any_of(guarded_.begin(), guarded_.end(), [&](const range &r) { return r.begin <= at && at < r.end; });
        if (!at_store_) throw std::runtime_error("the traced process has crashed by itself");
    } else if (stopped_by != SIGSTOP) {
        guard();
    }
    return stopped_by != SIGSTOP;
}

// Lets it do the one store that it stands at.
void tracee::store() {
    for (const range &r : guarded_) call(SYS_mprotect, r, PROT_READ | PROT_WRITE);
    if (resume(PTRACE_SINGLESTEP) != SIGTRAP) throw std::runtime_error("the store of the traced process fails");
    for (const range &r : guarded_) call(SYS_mprotect, r, PROT_READ);
}

// Takes the right to write from what shared memory of the library it has now.
void tracee::guard() {
    __ptrace_syscall_info info;
    checked(PTRACE_GET_SYSCALL_INFO, reinterpret_cast<void *>(sizeof info), &info);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) return;  // it can't be made to do anything else here
    std::vector<range> still;
    std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
    for (std::string line; std::getline(maps, line);) {
        range r;
        char rights[5];
        if (line.find("/memfd:ipc") == line.npos ||
            std::sscanf(line.c_str(), "%lx-%lx %4s", &r.begin, &r.end, rights) != 3)
            continue;
        bool writes = rights[1] == 'w';
        if (writes) call(SYS_mprotect, r, PROT_READ);
        if (writes || std::find(guarded_.begin(), guarded_.end(), r) != guarded_.end()) still.push_back(r);
    }
    guarded_ = std::move(still);
}

// Has it make a system call, and stand where it stood.
void tracee::call(long number, const range &memory, long protection) {
    user_regs_struct before = registers(), other = before;
    other.rip = syscall_at_;
    other.rax = static_cast<unsigned long>(number);
    other.orig_rax = static_cast<unsigned long>(-1);
    other.rdi = memory.begin;
    other.rsi = memory.end - memory.begin;
    other.rdx = static_cast<unsigned long>(protection);
    checked(PTRACE_SETREGS, nullptr, &other);
    if (resume(PTRACE_SINGLESTEP) != SIGTRAP || registers().rax != 0)
        throw std::runtime_error("the traced process can't be made to protect its memory");
    checked(PTRACE_SETREGS, nullptr, &before);
}

user_regs_struct tracee::registers() {
    user_regs_struct r;
    checked(PTRACE_GETREGS, nullptr, &r);
    return r;
}

void tracee::checked(int request, void *address, void *data) {
    if (ptrace(static_cast<__ptrace_request>(request), pid_, address, data) < 0)
        throw std::system_error(errno, std::generic_category(), "ptrace");
}

int tracee::resume(int request) {
    checked(request, nullptr, nullptr);
    int status;
    waitpid(pid_, &status, 0);
    if (!WIFSTOPPED(status)) {
        pid_ = -1;
        throw std::runtime_error("the traced process has ended by itself");
    }
    return WSTOPSIG(status);
}

void tracee::kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

}  // namespace kill_points
