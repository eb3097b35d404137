#include "roles.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>

static std::map<std::string, void (*)(role &)> &roles() {
    static std::map<std::string, void (*)(role &)> all;
    return all;
}

registered_role::registered_role(const char *name, void (*body)(role &)) {
    if (roles().emplace(name, body).second) return;
    std::fprintf(stderr, "two roles have the name %s\n", name);
    std::abort();
}

void must(bool holds, const char *condition, const char *file, int line) {
    if (holds) return;
    std::fprintf(stderr, "%s:%d: in process %d: not so: %s\n", file, line, getpid(), condition);
    _exit(70);
}

struct test_is_gone {};
static constexpr int done_with = 72;  // exit status of a role that waited for a word when its test was done with it

void role::say(const std::string &line) {
    std::string text = line + "\n";
    if (write(STDOUT_FILENO, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(71);
}

std::string role::hear() {
    std::string line;
    for (char c;;) {
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got != 1) throw test_is_gone();
        if (c == '\n') return line;
        line += c;
    }
}

int play(const std::string &name, std::vector<std::string> arguments) {
    auto found = roles().find(name);
    if (found == roles().end()) return 75;
    role me(std::move(arguments));
    try {
        found->second(me);
    } catch (const test_is_gone &) {
        return done_with;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "role %s, process %d: %s\n", name.c_str(), getpid(), error.what());
        return 76;
    }
    return 0;
}

child::child(const std::string &role, const std::vector<std::string> &arguments) {
    int in[2], out[2];
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    std::vector<std::string> words = {"/proc/self/exe", "--role", role};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char *> argv;
    for (auto &word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<int> inherited;
    for (auto &argument : arguments)
        if (argument.starts_with("fd://")) inherited.push_back(std::stoi(argument.substr(5)));
    pid_t parent = getpid();
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(73);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        for (int fd : inherited) fcntl(fd, F_SETFD, 0);
        execv(argv[0], argv.data());
        _exit(74);
    }
    for (int fd : inherited) close(fd);
    close(in[0]);
    close(out[1]);
    to_ = in[1];
    from_ = out[0];
}

child::child(child &&other) noexcept
    : pid_(other.pid_), to_(other.to_), from_(other.from_), heard_(std::move(other.heard_)) {
    other.pid_ = other.to_ = other.from_ = -1;
}

child::~child() {
    if (to_ >= 0) close(to_);
    if (pid_ > 0) {
        int status = 0;
        if (eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, limit / 4)) {
            bool as_told = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == done_with);
            if (!as_told) FAIL_CHECK("process " << pid_ << " went wrong: wait status " << status);
        } else {
            ::kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
            FAIL_CHECK("process " << pid_ << " does not end when its test is done with it");
        }
    }
    if (from_ >= 0) close(from_);
}

void child::say(const std::string &line) {
    std::string text = line + "\n";
    REQUIRE(write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string child::hear(std::chrono::nanoseconds patience) {
    auto end = std::chrono::steady_clock::now() + patience;
    for (;;) {
        if (auto at = heard_.find('\n'); at != heard_.npos) {
            std::string line = heard_.substr(0, at);
            heard_.erase(0, at + 1);
            return line;
        }
        auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        pollfd p{from_, POLLIN, 0};
        char buffer[4096];
        ssize_t got = -1;
        if (left > 0 && ::poll(&p, 1, static_cast<int>(left)) == 1) {
            got = read(from_, buffer, sizeof buffer);
            if (got > 0) {
                heard_.append(buffer, static_cast<std::size_t>(got));
                continue;
            }
        }
        if (left > 0 && got != 0) continue;
        FAIL((got == 0 ? "the other process has ended without a word" : "the other process says nothing"));
    }
}

std::vector<std::string> child::rest() {
    char buffer[4096];
    for (ssize_t got; (got = read(from_, buffer, sizeof buffer)) > 0;)
        heard_.append(buffer, static_cast<std::size_t>(got));
    std::vector<std::string> lines;
    for (std::size_t end; (end = heard_.find('\n')) != heard_.npos; heard_.erase(0, end + 1))
        lines.push_back(heard_.substr(0, end));
    return lines;
}

void child::expect(const std::string &line) { REQUIRE(hear() == line); }

std::string child::ask(const std::string &line) {
    say(line);
    return hear();
}

bool child::quiet() const {
    pollfd p{from_, POLLIN, 0};
    return heard_.empty() && ::poll(&p, 1, 0) == 0;
}

void child::signal(int number) { REQUIRE(::kill(pid_, number) == 0); }

void child::kill() {
    signal(SIGKILL);
    CHECK(wait() == 128 + SIGKILL);
}

std::string child::interrupt() {
    bool heard = eventually([&] {
        signal(SIGUSR1);
        return !quiet();
    });
    REQUIRE(heard);
    return hear();
}

void child::stop() {
    signal(SIGSTOP);
    int status = 0;
    REQUIRE(waitpid(pid_, &status, WUNTRACED) == pid_);
    REQUIRE(WIFSTOPPED(status));
}

int child::wait(std::chrono::nanoseconds patience) {
    int status = 0;
    bool ended = eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, patience);
    REQUIRE_MESSAGE(ended, "the other process does not end");
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool sleeps(pid_t process, pid_t thread) {
    std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/syscall");
    long number = -1;  // stays so if it says "running"
    file >> number;
    for (long wait : {
#ifdef SYS_epoll_wait
             long{SYS_epoll_wait}, long{SYS_poll},
#endif
             long{SYS_epoll_pwait}, long{SYS_epoll_pwait2}, long{SYS_ppoll}})
        if (number == wait) return true;
    return false;
}
