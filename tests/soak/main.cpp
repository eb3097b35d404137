// The soak: senders and receivers at full speed, and faults at random, until the time is up. Everything follows from
// the seed, but for what the scheduler does. Exit status 0 if nothing was wrong.
//
// It goes in phases of a few seconds, each with a channel of its own, of three kinds
//   lone      there is one receiver, which is killed again and again: each successor must get what was not released,
//             marked if it may have been seen
//   watched   a watcher stays, and must not notice what happens to those that come and go beside it
//   turnover  senders come, end and are killed as fast as they can: the receiver must count each message once, and tell
//             each end from each death
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "../patience.hpp"
#include "board.hpp"

namespace {

using namespace soak;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using clock = std::chrono::steady_clock;

const auto patience = 60s * busyness();  // for what must come to an end by itself

struct totals {
    std::map<std::string, std::uint64_t> faults;
    std::uint64_t messages = 0, received = 0, again = 0, wrong = 0, reloads = 0, senders = 0;
    std::uint64_t injected() const {
        std::uint64_t n = 0;
        for (auto &[what, times] : faults) n += times;
        return n;
    }
};

// A process of ours, killed with us.
class process {
  public:
    explicit process(const std::function<void()> &run) {
        pid_t parent = getpid();
        pid_ = fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ != 0) return;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        run();
        _exit(0);
    }
    process(process &&other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    process &operator=(process &&other) noexcept {
        std::swap(pid_, other.pid_);
        return *this;
    }
    ~process() { kill_now(); }
    void signal(int number) const {
        if (pid_ > 0) kill(pid_, number);
    }
    void kill_now() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    bool ended() {
        int status;
        if (pid_ <= 0) return true;
        if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
        if (WIFSIGNALED(status)) crashed_ = WTERMSIG(status);
        pid_ = -1;
        return true;
    }
    int crashed() const { return crashed_; }  // the signal, or 0
    // Lowers a limit of it, or gives it ours again.
    void limit(__rlimit_resource resource, std::optional<rlim_t> soft) const {
        rlimit now;
        if (pid_ <= 0 || getrlimit(resource, &now) != 0) return;
        if (soft) now.rlim_cur = *soft;
        prlimit(pid_, resource, &now, nullptr);
    }
    rlim_t mapped() const {
        rlim_t pages = 0;
        std::ifstream(fmt::format("/proc/{}/statm", pid_)) >> pages;
        return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
    }

  private:
    pid_t pid_;
    int crashed_ = 0;
};

enum class kind { lone, watched, turnover };

class phase {
  public:
    phase(std::uint64_t seed, kind what, const std::string &folder, totals &sum)
        : random_(seed),
          watched_(what == kind::watched),
          turnover_(what == kind::turnover),
          url_(fmt::format("shm://soak-{:x}", seed)),
          channel_(folder + url_.substr(5)),
          sum_(sum),
          board_(make_board()) {}
    ~phase() {
        bury_forked();
        senders_.clear();
        receivers_.clear();
        munmap(&board_, sizeof board_);
    }

    void run(clock::time_point until, const std::function<void()> &progress) {
        if (watched_) start_receiver();
        start_receiver();
        for (int i = 0; i < 3; ++i) start_sender();
        while (clock::now() < until && board_.wrong.load() == 0) {
            pause(turnover_ ? 1'000 : 60'000);
            fault();
            reap();
            progress();
        }
        finish();
    }
    std::uint64_t messages() const {
        std::uint64_t n = 0;
        for (std::uint32_t i = 0; i < board_.next.load(); ++i) n += board_.senders[i].committed.load();
        return n;
    }

  private:
    struct numbered {
        std::uint32_t number;
        ::process process;
    };

    void start_sender() {
        if (board_.next.load() == ledgers) return;
        std::uint32_t number = board_.next.fetch_add(1);
        std::uint64_t seed = random_();
        senders_.push_back({number, process([=, this] { run_sender(board_, url_.c_str(), number, seed); })});
    }
    void start_receiver() {
        std::uint32_t number = ++receivers_made_;
        std::uint64_t seed = random_();
        receivers_.push_back({number, process([=, this] {
                                  if (watched_)
                                      run_watcher(board_, url_.c_str(), number);
                                  else
                                      run_receiver(board_, url_.c_str(), number, seed);
                              })});
    }
    void did(const char *what) { ++sum_.faults[what]; }
    void pause(unsigned most_us) { std::this_thread::sleep_for(std::chrono::microseconds(random_() % most_us)); }

    // A dead sender's last messages are with its receivers alone: the only one must live until it has told of the
    // death.
    bool may_kill_receiver() const {
        if (watched_) return true;
        for (std::uint32_t i = 0; i < board_.next.load(); ++i)
            if (board_.senders[i].killed.load() && board_.senders[i].reported.load() == 0) return false;
        return true;
    }
    // ... and a sender that has no receiver takes its messages with it.
    bool may_kill_sender(const numbered &s) const {
        const ledger &l = board_.senders[s.number];
        return l.id.load() != 0 && l.ended.load() == 0 && (watched_ || l.seen_by.load() == receivers_made_);
    }

    void fault() {
        numbered &s = senders_[random_() % senders_.size()];
        numbered &r = receivers_.back();  // the watcher, if there is one, is at the front
        switch (turnover_ ? random_() % 2 : random_() % 12) {
            case 0:
                if (!may_kill_sender(s)) return;
                board_.senders[s.number].killed.store(1);
                s.process.kill_now();
                start_sender();
                return did("senders killed");
            case 1:
                board_.senders[s.number].ended.store(1);
                start_sender();
                return did("senders ended and replaced");
            case 2:
                if (!may_kill_receiver()) return;
                r.process.kill_now();
                receivers_.pop_back();
                if (random_() % 2) pause(30'000);
                start_receiver();
                return did("receivers killed");
            case 3:
                stop(s.process);
                return did("senders stopped for a while");
            case 4:
                stop(r.process);
                return did("receivers stopped for a while");
            case 5:
                for (int i = 0; i < 20; ++i) {
                    for (numbered &all : senders_) all.process.signal(SIGUSR1);
                    for (numbered &all : receivers_) all.process.signal(SIGUSR1);
                    pause(500);
                }
                return did("storms of signals");
            case 6: {
                std::error_code gone;
                for (auto &name : fs::directory_iterator(channel_, gone))
                    if (random_() % 3 == 0) fs::remove(name.path(), gone);
                return did("socket files deleted");
            }
            case 7: {
                std::error_code gone;
                fs::remove_all(channel_, gone);
                return did("channel folders deleted");
            }
            case 8:
                board_.reload.fetch_add(1);
                return did("exchanges of the library asked of all");
            case 9:
                if (!leave_fork(r.number)) return;
                if (!may_kill_receiver()) return did("receivers forked");
                r.process.kill_now();
                receivers_.pop_back();
                start_receiver();
                return did("receivers killed that leave a fork");
            case 10:
                if (!while_limited(RLIMIT_NOFILE, s, r)) return;
                return did("descriptor limits reached and lifted");
            default:
                if (!while_limited(RLIMIT_AS, s, r)) return;
                return did("memory limits reached and lifted");
        }
    }
    // A sender goes and another comes while neither it nor the receiver gets a descriptor, or memory for another ring.
    // Both are open: an open would be refused.
    bool while_limited(__rlimit_resource resource, const numbered &s, const numbered &r) {
        if (board_.senders[s.number].id.load() == 0 || board_.opened.load() != r.number) return false;
        for (const numbered *one : {&s, &r})
            one->process.limit(resource, resource == RLIMIT_NOFILE ? 4 : one->process.mapped() + random_() % (4 << 20));
        if (random_() % 2) {
            board_.senders[s.number].ended.store(1);
            start_sender();
        }
        pause(100'000);
        for (auto *all : {&senders_, &receivers_})
            for (numbered &p : *all) p.process.limit(resource, {});
        return true;
    }
    void stop(const process &p) {
        p.signal(SIGSTOP);
        pause(100'000);
        p.signal(SIGCONT);
    }

    // Has a receiver fork. Its child becomes ours when it dies.
    bool leave_fork(std::uint32_t receiver) {
        bury_forked();
        board_.to_fork.store(receiver);
        for (auto late = clock::now() + 2s; board_.forked.load() == 0; std::this_thread::sleep_for(1ms)) {
            if (clock::now() < late) continue;
            if (board_.to_fork.exchange(0) == 0) continue;  // it is about to
            return false;
        }
        return true;
    }
    void bury_forked() {
        pid_t forked = board_.forked.exchange(0);
        if (forked <= 0) return;
        kill(forked, SIGKILL);
        waitpid(forked, nullptr, 0);
    }

    void reap() {
        for (auto *all : {&senders_, &receivers_})
            for (auto &p : *all)
                if (p.process.ended()) check_end(p);
        std::erase_if(senders_, [](numbered &p) { return p.process.ended(); });
        while (senders_.size() < 3 && board_.next.load() < ledgers) start_sender();
    }

    void check_end(const numbered &p) {
        bool sends = std::any_of(senders_.begin(), senders_.end(), [&](numbered &s) { return &s == &p; });
        if (int signal = p.process.crashed())
            board_.is_wrong("%s %u crashed: signal %d", sends ? "sender" : "receiver", p.number, signal);
    }

    void finish() {
        board_.over.store(1);
        all_must_end(senders_, "senders do not come to their end");
        board_.over.store(2);
        all_must_end(receivers_, "receivers do not come to their end");
        if (turnover_ && board_.wrong.load() == 0)
            for (std::uint32_t i = 0; i < board_.next.load(); ++i)
                if (ledger &l = board_.senders[i]; l.committed.load() != 0 && l.reported.load() != 1)
                    board_.is_wrong("sender %lx: its end or death was told %u times", l.id.load(), l.reported.load());
        sum_.messages += messages();
        sum_.received += board_.received.load();
        sum_.again += board_.again.load();
        sum_.reloads += board_.reloads.load();
        sum_.senders += board_.next.load();
        sum_.wrong += board_.wrong.load();
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(board_.wrong.load(), reasons); ++i)
            fmt::print("wrong: {}\n", board_.why[i]);
    }
    void all_must_end(std::vector<numbered> &all, const char *otherwise) {
        auto late = clock::now() + patience;
        while (!std::all_of(all.begin(), all.end(), [](numbered &p) { return p.process.ended(); })) {
            if (clock::now() > late) return board_.is_wrong("%s", otherwise);
            std::this_thread::sleep_for(5ms);
        }
        for (numbered &p : all) check_end(p);
    }

    std::mt19937_64 random_;
    bool watched_, turnover_;
    std::string url_, channel_;
    totals &sum_;
    board &board_;
    std::uint32_t receivers_made_ = 0;
    std::vector<numbered> senders_, receivers_;
};

struct own_folder {
    std::string path = (fs::temp_directory_path() / "libipc-soak-XXXXXX").string();
    own_folder() {
        if (!mkdtemp(path.data())) throw std::runtime_error("cannot make " + path);
        setenv("IPC_DIR", path.c_str(), 1);
        setenv("TMPDIR", path.c_str(), 1);  // for copies of the library
        path += '/';
    }
    ~own_folder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
};

int run(double seconds, std::uint64_t seed) {
    own_folder folder;
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // of what a killed receiver has forked
    struct sigaction quiet {};
    quiet.sa_handler = [](int) {};        // without SA_RESTART: waits end with EINTR
    sigaction(SIGUSR1, &quiet, nullptr);  // for all processes, from their first moment
    totals sum;
    std::mt19937_64 random(seed);
    auto start = clock::now(),
         end = start + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    fmt::print("seed {}: the same faults again with `tests/soak.sh {} {}`\n", seed, seconds, seed);
    for (unsigned n = 0; clock::now() < end && sum.wrong == 0; ++n) {
        phase p(random(), static_cast<kind>(n % 3), folder.path, sum);
        auto shown = clock::now();
        p.run(std::min(end, clock::now() + 5s), [&] {
            if (!isatty(2) || clock::now() - shown < 500ms) return;
            shown = clock::now();
            fmt::print(stderr, "\r{:.0f} of {:.0f} s, {} faults, {} messages ",
                       std::chrono::duration<double>(shown - start).count(), seconds, sum.injected(),
                       sum.messages + p.messages());
        });
    }
    if (isatty(2)) fmt::print(stderr, "\r{:60}\r", "");
    for (auto &[what, times] : sum.faults) fmt::print("{:>8} {}\n", times, what);
    fmt::print("{} senders; the library was exchanged under {} handles\n", sum.senders, sum.reloads);
    fmt::print("{} faults injected, {} messages sent, {} received ({} of them again, and marked so), {} wrong\n",
               sum.injected(), sum.messages, sum.received, sum.again, sum.wrong);
    return sum.wrong != 0;
}

}  // namespace

int main(int argc, char **argv) {
    CLI::App app{"Senders and receivers at full speed, killed, stopped and disturbed at random; nothing may be lost"};
    double seconds = 60;
    std::uint64_t seed = std::random_device{}();
    app.add_option("SECONDS", seconds, "how long (60)")->check(CLI::PositiveNumber);
    app.add_option("SEED", seed, "of the faults (a new one)");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(seconds, seed);
    } catch (const std::exception &e) {
        fmt::print(stderr, "soak: {}\n", e.what());
        return 2;
    }
}
