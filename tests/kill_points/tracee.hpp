// A process that runs under ptrace from one mark to the next, and is killed somewhere between.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <functional>
#include <string>
#include <vector>

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
    bool step();  // an instruction
    // To where others may next see another state: to the entry into, or the exit from, a system call, or to an
    // instruction that is about to store to memory that is shared.
    bool step_visible();
    void kill();  // SIGKILL, and waits until it is gone
    pid_t pid() const { return pid_; }

  private:
    struct range {
        unsigned long begin, end;
        bool operator==(const range &) const = default;
    };
    int resume(int request);  // until the next stop: its signal
    void checked(int request, void *address, void *data);
    user_regs_struct registers();
    void call(long number, const range &memory, long protection);
    void guard();
    void store();
    pid_t pid_;
    unsigned long syscall_at_ = 0;  // an instruction that makes a system call
    std::vector<range> guarded_;    // shared memory that it could write, and for now may only read
    bool at_store_ = false;
};

}  // namespace kill_points
