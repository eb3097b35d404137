// A role is a function of the test binary that runs in a process of its own: start("name") executes the binary again.
// Role and test talk in lines over two pipes.
#pragma once

#include <doctest/doctest.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "waiting.hpp"

// A role's view of its test.
class role {
  public:
    explicit role(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}
    const std::string &arg(std::size_t n) const { return arguments_.at(n); }
    long number(std::size_t n) const { return std::stol(arguments_.at(n)); }
    bool has(std::size_t n) const { return n < arguments_.size(); }
    void say(const std::string &line);
    std::string hear();  // a line from the test; ends the role when the test is gone, or is done with it

  private:
    std::vector<std::string> arguments_;
};

struct registered_role {
    registered_role(const char *name, void (*body)(role &));
};
int play(const std::string &name, std::vector<std::string> arguments);  // in a process of its own: its exit status
#define ROLE(name)                                                \
    static void role_##name(role &me);                            \
    static registered_role registered_##name(#name, role_##name); \
    static void role_##name([[maybe_unused]] role &me)

// In a role: ends the process with a word where it was, if not.
#define MUST(condition) must(bool(condition), #condition, __FILE__, __LINE__)
void must(bool holds, const char *condition, const char *file, int line);

// A thread sleeps in epoll or poll, as in a blocking call of the library or with its fd.
bool sleeps(pid_t process, pid_t thread);

// A process that plays a role. It has to end when its test is done with it, at the latest in the destructor. What is
// inherited goes to it: of a descriptor in an argument fd://N it has the only copy.
class child {
  public:
    child(const std::string &role, const std::vector<std::string> &arguments);
    child(child &&other) noexcept;
    child &operator=(child &&) = delete;
    ~child();

    pid_t pid() const { return pid_; }
    void say(const std::string &line);
    std::string hear(std::chrono::nanoseconds patience = limit);  // the next line it says; fails the test if none comes
    void expect(const std::string &line);                         // hears exactly this
    std::string ask(const std::string &line);                     // says this, and hears the answer
    std::vector<std::string> rest();                              // what it has said still, once it is gone
    bool quiet() const;                                           // it has said nothing that was not heard
    void signal(int number);
    void kill();  // SIGKILL, and waits for it
    // SIGUSR1, for which nothing is done, until it says something: what its call returned. It waited in one.
    std::string interrupt();
    void stop();  // SIGSTOP, and waits until it is stopped
    void cont() { signal(18); }
    int wait(std::chrono::nanoseconds patience = limit);  // its exit status, or 128 + signal
    void done() { CHECK(wait() == 0); }
    bool sleeps() const { return ::sleeps(pid_, pid_); }  // its main thread does

  private:
    pid_t pid_ = -1;
    int to_ = -1, from_ = -1;
    std::string heard_;
};
