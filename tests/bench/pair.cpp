#include "pair.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

#include "clock.hpp"

namespace bench {

namespace {

board &the_board() {
    static shared_memory memory(sizeof(board));
    return *reinterpret_cast<board *>(memory.get());
}

struct usage {
    std::uint64_t switches, cpu_ns;
};
usage used_by_now() {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    auto ns = [](const timeval &t) { return static_cast<std::uint64_t>(t.tv_sec * 1'000'000 + t.tv_usec) * 1000; };
    return {static_cast<std::uint64_t>(u.ru_nvcsw), ns(u.ru_utime) + ns(u.ru_stime)};
}
usage used_at_meet;  // each process has its own

pid_t start(int cpu, int index, const side &run) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid > 0) return pid;
    int code = 1;
    try {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        signal(SIGPIPE, SIG_IGN);
        alarm(60);
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0)
            throw std::system_error(errno, std::generic_category(), "pinning");
        run(the_board());
        usage used = used_by_now();
        the_board().switches[index] = used.switches - used_at_meet.switches;
        the_board().cpu_ns[index] = used.cpu_ns - used_at_meet.cpu_ns;
        code = 0;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "bench: the %s: %s\n", index == 0 ? "sender" : "receiver", e.what());
    }
    _exit(code);
}

}  // namespace

void board::meet() {
    std::uint32_t nth = met.fetch_add(1) / 2 + 1;
    while (met.load() < 2 * nth) pause();
    used_at_meet = used_by_now();
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
    if (address_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
}

shared_memory::~shared_memory() { munmap(address_, bytes_); }

const board &run_pair(const cpus &where, const side &sender, const side &receiver,
                      const std::function<void()> &forked) {
    board &b = the_board();
    std::memset(static_cast<void *>(&b), 0, offsetof(board, samples));
    pid_t pids[2] = {start(where.sender, 0, sender), start(where.receiver, 1, receiver)};
    if (forked) forked();
    bool good = true, late = false;
    for (int left = 2; left > 0; --left) {
        int status = 0;
        pid_t pid;
        while ((pid = wait(&status)) < 0 && errno == EINTR) {
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        good = false;
        late |= WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
        // Its partner would wait for it in vain.
        for (pid_t other : pids)
            if (other != pid && left == 2) kill(other, SIGKILL);
    }
    if (!good) throw std::runtime_error(late ? "it did not come to an end in time" : "a process of the pair failed");
    return b;
}

}  // namespace bench
