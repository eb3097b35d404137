// For tests with several processes: a scratch runtime folder, roles, and the check that nothing is left.
//
// A role is a function of the test binary that runs in a process of its own: start("name") executes the binary again.
// Role and test talk in lines over two pipes. Every wait has a limit.
#pragma once

#include <doctest/doctest.h>
#include <ipc/ipc.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "../patience.hpp"

using namespace std::chrono_literals;

// Limits are stretched where everything is slower.
#ifndef SLOWER
#define SLOWER 1
#endif
inline const std::chrono::nanoseconds limit = 20s * SLOWER * busyness();
inline const std::int64_t limit_ns = limit.count();

// ---- Roles ----------------------------------------------------------------------------------------------------------

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

// ---- What is left ---------------------------------------------------------------------------------------------------

// What this process and the folder held at one time, to find what came on top.
class leak_check {
  public:
    explicit leak_check(std::string folder);
    // One line for each fd, child, file, or mapping of ours that was not there at the start. Empty is good.
    std::vector<std::string> leaks() const;

  private:
    std::string folder_;
    std::set<int> fds_;
    std::set<std::string> maps_;
};

// A test's own IPC_DIR; checks at the end that nothing is left.
class scratch {
  public:
    scratch();
    ~scratch();
    child start(const std::string &role, std::vector<std::string> arguments = {}) { return {role, arguments}; }
    // A handle in a process of its own, open already, which does what it is told: see actors.cpp.
    child sender(const std::string &url = "shm://t");
    child receiver(const std::string &url = "shm://t");
    const std::string &folder() const { return folder_; }
    // Processes were killed: the sockets they left are swept by whoever opens the channel next, here by the check.
    void somebody_was_killed(const std::string &url) { killed_.insert(url); }
    static std::size_t sockets(const std::string &folder);
    // Deletes the sockets whose names start so ("r" receivers', "s" senders'), as a cleaner of /tmp would.
    void delete_sockets(const std::string &prefix);

  private:
    std::string folder_;
    leak_check check_;
    std::set<std::string> killed_;
};

// ---- Handles --------------------------------------------------------------------------------------------------------

// A handle that opens or throws the library's words, and closes.
struct tx {
    explicit tx(const std::string &url = "shm://t", const ipc_sender_options *options = nullptr);
    tx(tx &&other) noexcept : h(other.h) { other.h = nullptr; }
    ~tx() { close(); }
    operator ipc_sender *() const { return h; }
    int send(std::uint64_t tag, std::size_t size = 64, std::int64_t timeout = limit_ns);  // a numbered payload
    void send_all(std::uint64_t first, std::uint64_t last, std::size_t size = 64);        // throws
    std::uint64_t fill_up(std::uint64_t first, std::size_t size = 64);  // until no more fits: how many it were
    int end() { return ipc_sender_end(h); }
    int close(std::int64_t linger = 0);
    ipc_sender_counters stats() const;
    std::vector<ipc_link> links() const;
    // Calls it until so many receivers are linked: while a user has too many descriptors in flight, none is.
    void await_links(std::uint64_t receivers) const;
    ipc_sender *h = nullptr;
};

// Events as words: a message is its tag, with a * if it is redelivered, and runs are drawn together: "1-3* 4-100 end".
class event_words {
  public:
    void message(std::uint64_t tag, bool redelivered);
    void word(const std::string &word);
    std::string text() const;

  private:
    std::string text_;
    std::uint64_t first_ = 0, last_ = 0;
    bool run_ = false, marked_ = false;  // of the run that may go on
};

struct rx {
    explicit rx(const std::string &url = "shm://t", const ipc_receiver_options *options = nullptr);
    rx(rx &&other) noexcept : h(other.h) { other.h = nullptr; }
    ~rx();
    operator ipc_receiver *() const { return h; }
    int receive(ipc_message &m, std::int64_t timeout = limit_ns);
    int release(const ipc_message &m) { return ipc_receiver_release(h ? h : closed, &m); }  // also after close
    // Receives a message, checks its payload, releases it, and returns its tag. Throws on anything else.
    std::uint64_t take(std::int64_t timeout = limit_ns);
    // The next events as words; also "died", and "nothing" if the time-out has passed, which is the last word then.
    // Messages are checked, and released, or kept in `held`.
    std::string read(int count, std::int64_t timeout = limit_ns) { return words(count, timeout, false); }
    std::string hold(int count, std::int64_t timeout = limit_ns) { return words(count, timeout, true); }
    int release_held(std::uint64_t tag);  // the first held one with this tag
    int close();
    ipc_receiver_counters stats() const;
    std::vector<ipc_link> links() const;
    std::vector<ipc_message> held;
    ipc_receiver *h = nullptr, *closed = nullptr;

  private:
    std::string words(int count, std::int64_t timeout, bool hold);
};
inline constexpr std::int64_t briefly = 1'000'000;  // for a wait that is to find nothing

// A payload that proves itself: its bytes follow from tag and size.
void fill(void *data, std::size_t size, std::uint64_t tag);
bool proven(const ipc_message &m);

inline ipc_message empty_message() {
    ipc_message m{};
    m.struct_size = sizeof m;
    return m;
}

// Waits until a condition holds, by asking again and again.
void doze();
template <class Condition>
bool eventually(Condition &&condition, std::chrono::nanoseconds patience = limit) {
    auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        doze();
    }
    return true;
}

// Random numbers that are the same in each run, and from the seed alone.
class dice {
  public:
    explicit dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
    std::uint64_t operator()() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    std::uint64_t below(std::uint64_t n) { return (*this)() % n; }

  private:
    std::uint64_t state_;
};
