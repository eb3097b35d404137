// Whoever waits is found again, and finds, after its runtime folder was deleted, moved or hidden by a mount: in
// whichever way it waits, and also if the folder can't be made again at first.
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "own_mounts.hpp"
#include "support.hpp"

namespace fs = std::filesystem;

namespace {

void make_folder(const fs::path &path) { MUST(mkdir(path.c_str(), 0700) == 0); }

void mount_tmpfs(const fs::path &path) { MUST(mount("tmpfs", path.c_str(), "tmpfs", 0, "mode=0700") == 0); }

// They that wait make their names again meanwhile.
void remove_folder(const fs::path &path) {
    std::error_code in_the_way;
    do fs::remove_all(path, in_the_way);
    while (in_the_way);
}

// Four that wait, each on a channel of its own: a receiver and a sender, in a call and in a host's poll.
class waiters {
  public:
    waiters() {
        start([] {
            rx r("shm://called");
            ipc_message m;
            r.receive(m, -1);
        });
        start([] {
            rx r("shm://polled");
            for (;;) wait(ipc_receiver_arm(r), ipc_receiver_fd(r));
        });
        start([] {
            tx s("shm://flushing");
            s.send(1);
            ipc_sender_flush(s, -1);
        });
        start([] {
            tx s("shm://armed");
            for (;;) wait(ipc_sender_arm(s), ipc_sender_fd(s));
        });
        MUST(eventually(
            [&] { return std::all_of(pids_.begin(), pids_.end(), [](pid_t pid) { return sleeps(pid, pid); }); }));
    }
    ~waiters() {
        for (pid_t pid : pids_) ::kill(pid, SIGKILL);
        for (pid_t pid : pids_) waitpid(pid, nullptr, 0);
    }
    // How often they have slept, all together.
    long sleeps_so_far() const {
        long sum = 0;
        for (pid_t pid : pids_) {
            std::ifstream status("/proc/" + std::to_string(pid) + "/status");
            for (std::string line; std::getline(status, line);)
                if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stol(line.substr(line.find(':') + 1));
        }
        return sum;
    }

  private:
    static void wait(int armed, int fd) {
        pollfd p{fd, POLLIN, 0};
        if (armed == 1) poll(&p, 1, -1);
    }
    void start(void (*body)()) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            body();
            std::_Exit(0);
        }
        pids_.push_back(pid);
    }
    std::vector<pid_t> pids_;
};

// Newcomers, each on the channel of one that waits: "all", or on which channels none was found.
std::string who_is_found() {
    tx called("shm://called"), polled("shm://polled");
    rx flushing("shm://flushing"), armed("shm://armed");
    std::string missing;
    auto look = [&](const auto &handle, const std::string &name) {
        if (!eventually([&] { return handle.stats().links == 1; })) missing += name + " was not found; ";
    };
    look(called, "a receiver in a call");
    look(polled, "a receiver in a poll");
    look(flushing, "a sender in a call");
    look(armed, "a sender in a poll");
    return missing.empty() ? "all" : missing;
}

struct way {
    const char *name;
    bool mounts;
    std::function<void(const fs::path &at, const waiters &)> happen;
};

// The runtime folder is AT/user/ipc; user is a file system of its own if there are mounts, and a link elsewhere.
const way ways[] = {
    {"deleted", false, [](auto &at, auto &) { remove_folder(at / "user/ipc"); }},
    {"deleted with its parent", false,
     [](auto &at, auto &) {
         remove_folder(at / "target");
         make_folder(at / "target");
     }},
    {"deleted with its parent, which is missing for a while", false,
     [](auto &at, auto &all) {
         long before = all.sleeps_so_far();
         fs::rename(at / "target", at / "gone");
         // Each has tried in vain, twice in part.
         MUST(eventually([&] { return all.sleeps_so_far() >= before + 8; }));
         make_folder(at / "target");
     }},
    {"moved", false, [](auto &at, auto &) { fs::rename(at / "user/ipc", at / "user/old"); }},
    {"moved, and brought back", false,
     [](auto &at, auto &all) {
         long before = all.sleeps_so_far();
         fs::rename(at / "target", at / "gone");
         MUST(eventually([&] { return all.sleeps_so_far() >= before + 8; }));
         fs::rename(at / "gone", at / "target");
     }},
    {"moved with its parent", false,
     [](auto &at, auto &) {
         fs::rename(at / "target", at / "old");
         make_folder(at / "target");
     }},
    {"moved with the parent of its parent", false,
     [](auto &at, auto &) {
         fs::rename(at, at.string() + ".old");
         make_folder(at);
         make_folder(at / "user");
     }},
    {"reached through a link that was turned elsewhere", false,
     [](auto &at, auto &) {
         make_folder(at / "other");
         fs::create_symlink("other", at / "new");
         fs::rename(at / "new", at / "user");
     }},
    {"mounted over", true, [](auto &at, auto &) { mount_tmpfs(at / "user"); }},
    {"mounted over for a while", true,
     [](auto &at, auto &all) {
         long before = all.sleeps_so_far();
         mount_tmpfs(at / "user");
         MUST(eventually([&] { return all.sleeps_so_far() >= before + 4; }));
         MUST(umount2((at / "user").c_str(), MNT_DETACH) == 0);
     }},
    {"detached, and mounted anew", true,
     [](auto &at, auto &) {
         MUST(umount2((at / "user").c_str(), MNT_DETACH) == 0);
         mount_tmpfs(at / "user");
     }},
    {"taken away by a logout, and there again after a login", true,
     [](auto &at, auto &all) {
         long before = all.sleeps_so_far();
         remove_folder(at / "user/ipc");
         MUST(umount2((at / "user").c_str(), MNT_DETACH) == 0);
         remove_folder(at / "user");
         MUST(eventually([&] { return all.sleeps_so_far() >= before + 8; }));
         make_folder(at / "user");
         mount_tmpfs(at / "user");
     }},
};

}  // namespace

ROLE(waits_in_a_folder) {
    pid_t pid = fork();  // of one thread, as the kernel wants it
    MUST(pid >= 0);
    if (pid != 0) {
        int status;
        MUST(waitpid(pid, &status, 0) == pid);
        MUST(status == 0);
        return;
    }
    const way &its = *std::find_if(std::begin(ways), std::end(ways), [&](const way &w) { return w.name == me.arg(0); });
    fs::path at = me.arg(1);
    if (its.mounts && !own_mounts()) {
        me.say("skipped: this process can have no mounts of its own");
        std::_Exit(0);
    }
    if (its.mounts) {
        make_folder(at / "user");
        mount_tmpfs(at / "user");
    } else {
        make_folder(at / "target");
        fs::create_symlink("target", at / "user");
    }
    setenv("IPC_DIR", (at / "user/ipc").c_str(), 1);
    {
        waiters all;
        its.happen(at, all);
        me.say(who_is_found());
    }
    std::_Exit(0);
}

namespace {

void found_again(scratch &here, const char *way) {
    std::string at = here.folder() + "/at";
    REQUIRE(mkdir(at.c_str(), 0700) == 0);
    child c = here.start("waits_in_a_folder", {way, at});
    std::string line = c.hear(4 * limit);
    if (line.starts_with("skipped"))
        MESSAGE(line);
    else
        CHECK(line == "all");
    c.done();
    fs::remove_all(at);
    fs::remove_all(at + ".old");
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was deleted") { found_again(*this, "deleted"); }
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was deleted with its parent") {
    found_again(*this, "deleted with its parent");
}
TEST_CASE_FIXTURE(
    scratch, "who waits is found again when its folder was deleted with its parent, which is missing for a while") {
    found_again(*this, "deleted with its parent, which is missing for a while");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was moved") { found_again(*this, "moved"); }
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was moved, and brought back") {
    found_again(*this, "moved, and brought back");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was moved with its parent") {
    found_again(*this, "moved with its parent");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was moved with the parent of its parent") {
    found_again(*this, "moved with the parent of its parent");
}
TEST_CASE_FIXTURE(scratch,
                  "who waits is found again when its folder is reached through a link that was turned elsewhere") {
    found_again(*this, "reached through a link that was turned elsewhere");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was mounted over") {
    found_again(*this, "mounted over");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was mounted over for a while") {
    found_again(*this, "mounted over for a while");
}
TEST_CASE_FIXTURE(scratch, "who waits is found again when its folder was detached, and mounted anew") {
    found_again(*this, "detached, and mounted anew");
}
TEST_CASE_FIXTURE(
    scratch, "who waits is found again when its folder was taken away by a logout, and there again after a login") {
    found_again(*this, "taken away by a logout, and there again after a login");
}
