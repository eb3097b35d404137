#include "tracee.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

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

bool tracee::step() { return resume(PTRACE_SINGLESTEP); }
bool tracee::step_syscall() { return resume(PTRACE_SYSCALL); }

bool tracee::resume(int request) {
    if (ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, nullptr) != 0)
        throw std::system_error(errno, std::generic_category(), "ptrace");
    int status;
    waitpid(pid_, &status, 0);
    if (!WIFSTOPPED(status)) {
        pid_ = -1;
        throw std::runtime_error("the traced process has ended by itself");
    }
    return WSTOPSIG(status) != SIGSTOP;
}

void tracee::kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

}  // namespace kill_points
