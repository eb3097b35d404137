#include "pair.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <system_error>

#include "clock.hpp"

namespace bench {

namespace {

[[noreturn]] void fail(const char *what) { throw std::system_error(errno, std::generic_category(), what); }

board &the_board() {
    static shared_memory memory(sizeof(board));
    return *reinterpret_cast<board *>(memory.get());
}

// Memory of this process, that which it shares counted in part.
std::uint64_t held_memory() {
    std::ifstream file("/proc/self/smaps_rollup");
    for (std::string word; file >> word;)
        if (std::uint64_t kib; word == "Pss:" && file >> kib) return kib * 1024;
    return 0;
}

// What is of this process alone; the board is of both.
int own_index;
usage used_at_meet;
bool left;
std::uint64_t memory_at_start;

usage used_by_now() {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    auto ns = [](const timeval &t) { return static_cast<std::uint64_t>(t.tv_sec * 1'000'000 + t.tv_usec) * 1000; };
    return {ns(u.ru_utime) + ns(u.ru_stime), static_cast<std::uint64_t>(u.ru_nvcsw), the_board().traced[own_index]};
}

void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) fail("pinning");
}

pid_t start(int cpu, int index, bool traced, const side &run) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) return pid;
    int code = 1;
    try {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        prctl(PR_SET_TIMERSLACK, 1);  // a message is sent when it is due, as well as the kernel can
        signal(SIGPIPE, SIG_IGN);
        alarm(60);
        pin(cpu);
        own_index = index;
        memory_at_start = held_memory();
        if (traced) {
            if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) fail("tracing");
            raise(SIGSTOP);
        }
        run(the_board());
        if (!left) the_board().leave();
        code = 0;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "bench: the %s: %s\n", index == 0 ? "sender" : "receiver", e.what());
    }
    _exit(code);
}

// Counts the call that a stopped process, or a thread of one, is about to make, and lets it go on.
void count_and_resume(pid_t stopped, int status, const pid_t (&pids)[2]) {
    int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
        signal = 0;
        __ptrace_syscall_info info{};
        ptrace(PTRACE_GET_SYSCALL_INFO, stopped, sizeof info, &info);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            std::string task = "/proc/" + std::to_string(pids[0]) + "/task/" + std::to_string(stopped);
            ++the_board().traced[access(task.c_str(), F_OK) == 0 ? 0 : 1];
        }
    } else if (signal == SIGSTOP || status >> 16 != 0) {  // it begins, or a thread of it does
        if (signal == SIGSTOP) ptrace(PTRACE_SETOPTIONS, stopped, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE);
        signal = 0;
    }
    ptrace(PTRACE_SYSCALL, stopped, nullptr, static_cast<long>(signal));
}

}  // namespace

void board::meet() {
    std::uint32_t nth = met.fetch_add(1) / 2 + 1;
    while (met.load() < 2 * nth) pause();
    used_at_meet = used_by_now();
}

void board::leave() {
    usage now = used_by_now();
    used[own_index] = {now.cpu_ns - used_at_meet.cpu_ns, now.switches - used_at_meet.switches,
                       now.calls - used_at_meet.calls};
    left = true;
}

void board::note_memory(int side) {
    std::uint64_t now = held_memory();
    memory[side] = now > memory_at_start ? now - memory_at_start : 0;
}

cpus default_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    cpus found{-1, -1};
    for (int i = 0; i < CPU_SETSIZE && found.receiver < 0; ++i)
        if (CPU_ISSET(i, &set)) (found.sender < 0 ? found.sender : found.receiver) = i;
    if (found.receiver < 0) throw std::runtime_error("this process may use one processor only; two are needed");
    return found;
}

shared_memory::shared_memory(std::size_t bytes)
    : address_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)),
      bytes_(bytes) {
    if (address_ == MAP_FAILED) fail("mmap");
}

shared_memory::~shared_memory() { munmap(address_, bytes_); }

const board &run_pair(const setting &s, const side &sender, const side &receiver,
                      const std::function<void(pid_t, pid_t)> &forked) {
    board &b = the_board();
    std::memset(static_cast<void *>(&b), 0, sizeof b);
    const pid_t pids[2] = {start(s.where.sender, 0, s.traced, sender), start(s.where.receiver, 1, s.traced, receiver)};
    if (forked) forked(pids[0], pids[1]);
    bool good = true, late = false;
    for (int left = 2; left > 0;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, s.traced ? __WALL : 0);
        if (pid < 0) {
            if (errno != EINTR) fail("waiting for a pair");
            continue;
        }
        if (WIFSTOPPED(status)) {
            count_and_resume(pid, status, pids);
            continue;
        }
        if (pid != pids[0] && pid != pids[1]) continue;  // a thread
        --left;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        good = false;
        late |= WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
        // Its partner would wait for it in vain.
        for (pid_t other : pids)
            if (other != pid && left == 1) kill(other, SIGKILL);
    }
    if (!good) throw std::runtime_error(late ? "it did not come to an end in time" : "a process of the pair failed");
    return b;
}

}  // namespace bench
