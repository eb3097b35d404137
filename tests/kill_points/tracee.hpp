// A process that runs under ptrace from one mark to the next, and is killed somewhere between.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace kill_points {

// In the traced process: the beginning and the end of what is to be interrupted.
void mark();

class tracee {
  public:
    // Executes this program again with --role NAME, and lets it run to its first mark; calls meanwhile() again and
    // again until it is there.
    tracee(const std::string &role, const std::function<void()> &meanwhile);
    tracee(const tracee &) = delete;
    ~tracee() { kill(); }

    // Each lets it go on by one, and is false once it is at its second mark.
    bool step();          // an instruction
    bool step_syscall();  // to the next entry into, or exit from, a system call
    void kill();          // SIGKILL, and waits until it is gone
    pid_t pid() const { return pid_; }

  private:
    bool resume(int request);
    pid_t pid_;
};

}  // namespace kill_points
