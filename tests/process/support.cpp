#define DOCTEST_CONFIG_IMPLEMENT
#include "support.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <thread>

namespace fs = std::filesystem;

void doze() { std::this_thread::sleep_for(2ms); }

// ---- Roles ----------------------------------------------------------------------------------------------------------

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

// ---- What is left ---------------------------------------------------------------------------------------------------

static std::map<int, std::string> open_fds() {
    std::map<int, std::string> fds;
    DIR *folder = opendir("/proc/self/fd");
    while (dirent *entry = readdir(folder)) {
        int fd = std::atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(folder)) continue;
        char link[256] = {};
        if (readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1) > 0) fds[fd] = link;
    }
    closedir(folder);
    return fds;
}

static std::set<std::string> our_maps() {
    std::set<std::string> found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.find("memfd:ipc") != line.npos) found.insert(line);
    return found;
}

static std::vector<std::string> children() {
    std::vector<std::string> found;
    for (auto &thread : fs::directory_iterator("/proc/self/task")) {
        std::ifstream list(thread.path() / "children");
        for (std::string pid; list >> pid;) found.push_back(pid);
    }
    return found;
}

leak_check::leak_check(std::string folder) : folder_(std::move(folder)), maps_(our_maps()) {
    for (auto &[fd, link] : open_fds()) fds_.insert(fd);
}

std::vector<std::string> leak_check::leaks() const {
    std::vector<std::string> found;
    for (auto &[fd, link] : open_fds())
        if (!fds_.count(fd)) found.push_back("fd " + std::to_string(fd) + " -> " + link);
    for (auto &pid : children()) found.push_back("child " + pid);
    for (auto &map : our_maps())
        if (!maps_.count(map)) found.push_back("mapping " + map);
    std::error_code gone;
    for (auto &entry : fs::recursive_directory_iterator(folder_, gone))
        if (!entry.is_directory()) found.push_back("file " + entry.path().string());
    return found;
}

static std::string make_folder() {
    std::string name = (fs::temp_directory_path() / "ipc-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));  // 0700
    REQUIRE(setenv("IPC_DIR", name.c_str(), 1) == 0);
    return name;
}

scratch::scratch() : folder_(make_folder()), check_(folder_) {}

scratch::~scratch() {
    setenv("IPC_DIR", folder_.c_str(), 1);
    for (auto &url : killed_) {
        tx sweep_receivers(url);
        rx sweep_senders(url);
    }
    for (auto &leak : check_.leaks()) FAIL_CHECK("left behind: " << leak);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
}

std::size_t scratch::sockets(const std::string &folder) {
    std::size_t count = 0;
    for (auto &entry : fs::recursive_directory_iterator(folder)) count += entry.is_socket();
    return count;
}

void scratch::delete_sockets(const std::string &prefix) {
    std::vector<fs::path> found;
    for (auto &entry : fs::recursive_directory_iterator(folder_))
        if (entry.is_socket() && entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
    REQUIRE(!found.empty());
    for (auto &path : found) fs::remove(path);
}

child scratch::sender(const std::string &url) {
    child c = start("sender", {url});
    c.expect("open");
    return c;
}

child scratch::receiver(const std::string &url) {
    child c = start("receiver", {url});
    c.expect("open");
    return c;
}

// ---- Handles --------------------------------------------------------------------------------------------------------

void fill(void *data, std::size_t size, std::uint64_t tag) {
    auto *bytes = static_cast<unsigned char *>(data);
    for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<unsigned char>((tag + i * 7 + size) * 31 >> 2);
}

bool proven(const ipc_message &m) {
    auto *bytes = static_cast<const unsigned char *>(m.data);
    for (std::size_t i = 0; i < m.size; i++)
        if (bytes[i] != static_cast<unsigned char>((m.tag + i * 7 + m.size) * 31 >> 2)) return false;
    auto alignment = reinterpret_cast<std::uintptr_t>(m.data) % (m.size >= 256 ? 64 : 16);
    return alignment == 0 && m.data;
}

static void opened(int result, const char *words) {
    if (result < 0) throw std::runtime_error(std::string(ipc_strerror(result)) + ": " + words);
}

tx::tx(const std::string &url, const ipc_sender_options *options) {
    char words[1024];
    opened(ipc_sender_open(&h, url.c_str(), options, words, sizeof words), words);
}

int tx::send(std::uint64_t tag, std::size_t size, std::int64_t timeout) {
    void *room = nullptr;
    int result = ipc_sender_reserve(h, size, &room, timeout);
    if (result < 0) return result;
    fill(room, size, tag);
    return ipc_sender_commit(h, size, tag);
}

void tx::send_all(std::uint64_t first, std::uint64_t last, std::size_t size) {
    for (std::uint64_t tag = first; tag <= last; ++tag)
        if (int r = send(tag, size); r != 0)
            throw std::runtime_error("send of " + std::to_string(tag) + ": " + ipc_strerror(r));
}

std::uint64_t tx::fill_up(std::uint64_t first, std::size_t size) {
    std::uint64_t count = 0;
    int r;
    while ((r = send(first + count, size, 0)) == 0) ++count;
    if (r != -EAGAIN) throw std::runtime_error(std::string("send: ") + ipc_strerror(r));
    return count;
}

int tx::close(std::int64_t linger) { return ipc_sender_close(std::exchange(h, nullptr), linger); }

ipc_sender_counters tx::stats() const {
    ipc_sender_counters c{};
    c.struct_size = sizeof c;
    if (ipc_sender_stats(h, &c) != 0) throw std::runtime_error("stats");
    return c;
}

void tx::await_links(std::uint64_t receivers) const {
    if (!eventually([&] { return stats().links == receivers; })) throw std::runtime_error("await_links");
}

template <class Handle>
static std::vector<ipc_link> links_of(Handle *h, std::int32_t (*read)(Handle *, ipc_link *, std::size_t)) {
    std::vector<ipc_link> links(1024);
    links[0].struct_size = sizeof(ipc_link);
    int count = read(h, links.data(), links.size());
    if (count < 0 || count > 1024) throw std::runtime_error("links");
    links.resize(static_cast<std::size_t>(count));
    return links;
}
std::vector<ipc_link> tx::links() const { return links_of(h, ipc_sender_links); }
std::vector<ipc_link> rx::links() const { return links_of(h, ipc_receiver_links); }

rx::rx(const std::string &url, const ipc_receiver_options *options) {
    char words[1024];
    opened(ipc_receiver_open(&h, url.c_str(), options, words, sizeof words), words);
}

rx::~rx() {
    if (!h) return;
    for (auto &m : held) release(m);  // else it would live on, as nobody would release them any more
    close();
}

int rx::receive(ipc_message &m, std::int64_t timeout) {
    m = empty_message();
    return ipc_receiver_receive(h, &m, timeout);
}

std::uint64_t rx::take(std::int64_t timeout) {
    ipc_message m;
    int result = receive(m, timeout);
    if (result != IPC_MESSAGE)
        throw std::runtime_error("receive gave " + std::to_string(result) + (result < 0 ? ipc_strerror(result) : ""));
    if (!proven(m)) throw std::runtime_error("the payload of message " + std::to_string(m.sequence) + " is wrong");
    if (release(m) != 0) throw std::runtime_error("release");
    return m.tag;
}

void event_words::message(std::uint64_t tag, bool redelivered) {
    if (!run_ || tag != last_ + 1 || redelivered != marked_) {
        word({});
        run_ = true;
        first_ = tag;
        marked_ = redelivered;
    }
    last_ = tag;
}

void event_words::word(const std::string &word) {
    text_ = text();
    run_ = false;
    if (!text_.empty() && !word.empty()) text_ += ' ';
    text_ += word;
}

std::string event_words::text() const {
    if (!run_) return text_;
    return text_ + (text_.empty() ? "" : " ") + std::to_string(first_) +
           (last_ == first_ ? "" : "-" + std::to_string(last_)) + (marked_ ? "*" : "");
}

std::string rx::words(int count, std::int64_t timeout, bool hold) {
    event_words said;
    for (int i = 0; i < count; ++i) {
        ipc_message m;
        int result = receive(m, timeout);
        if (result == IPC_MESSAGE) {
            said.message(m.tag, m.flags & IPC_REDELIVERED);
            if (!proven(m)) said.word("WRONG");
            if (hold)
                held.push_back(m);
            else if (release(m) != 0)
                said.word("UNRELEASED");
        } else {
            said.word(result == IPC_END                           ? "end"
                      : result == IPC_DIED                        ? "died"
                      : result == -ETIMEDOUT || result == -EAGAIN ? "nothing"
                                                                  : ipc_strerror(result));
            if (result < 0) break;
        }
    }
    return said.text();
}

int rx::release_held(std::uint64_t tag) {
    auto found = std::find_if(held.begin(), held.end(), [&](const ipc_message &m) { return m.tag == tag; });
    if (found == held.end()) throw std::runtime_error("message " + std::to_string(tag) + " is not held");
    ipc_message m = *found;
    held.erase(found);
    return release(m);
}

int rx::close() {
    closed = std::exchange(h, nullptr);
    return ipc_receiver_close(closed);
}

ipc_receiver_counters rx::stats() const {
    ipc_receiver_counters c{};
    c.struct_size = sizeof c;
    if (ipc_receiver_stats(h, &c) != 0) throw std::runtime_error("stats");
    return c;
}

// ---- The program ----------------------------------------------------------------------------------------------------

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};
    nothing.sa_flags = SA_RESTART;  // as most programs install theirs; waits in the library end all the same
    sigaction(SIGUSR1, &nothing, nullptr);
    if (argc < 3 || std::strcmp(argv[1], "--role") != 0) return doctest::Context(argc, argv).run();
    auto found = roles().find(argv[2]);
    if (found == roles().end()) return 75;
    role me(std::vector<std::string>(argv + 3, argv + argc));
    try {
        found->second(me);
    } catch (const test_is_gone &) {
        return done_with;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "role %s, process %d: %s\n", argv[2], getpid(), error.what());
        return 76;
    }
    return 0;
}
