// What a process sees from outside of all handles of the user: running, waiting, or stopped.
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <tuple>

#include "own_mounts.hpp"
#include "support.hpp"

// Those of this test: other tests run at the same time.
static std::vector<ipc_channel> list(const std::string &url) {
    std::vector<ipc_channel> all(static_cast<std::size_t>(ipc_channel_list(nullptr, 0)) + 100);
    all[0].struct_size = sizeof(ipc_channel);
    int count = ipc_channel_list(all.data(), all.size());
    REQUIRE(count >= 0);
    REQUIRE(static_cast<std::size_t>(count) <= all.size());
    all.resize(static_cast<std::size_t>(count));
    std::erase_if(all, [&](const ipc_channel &c) { return std::string(c.url) != url; });
    return all;
}

// The one link of a handle.
static const ipc_channel_link &link_of(const ipc_channel &c) {
    REQUIRE(c.links == 1);
    REQUIRE(c.shown == 1);
    return c.link[0];
}

// A channel that no other process has.
static std::string own_url() { return "shm://listed-" + std::to_string(getpid()); }

TEST_CASE_FIXTURE(scratch, "handles are listed from outside, also those of stopped processes with a backlog") {
    std::string url = own_url();
    child s = sender(url + "?capacity=128KiB"), r = receiver(url);
    auto sent = static_cast<std::uint64_t>(std::stol(s.ask("fill 1 1000")));
    std::string some = std::to_string(sent / 2);
    CHECK(r.ask("hold " + some) == "1-" + some);
    s.ask("unreleased");
    s.stop();
    r.stop();
    auto all = list(url);
    REQUIRE(all.size() == 2);
    CHECK(all[0].role == IPC_SENDER);
    CHECK(all[0].pid == s.pid());
    CHECK(all[0].messages == sent);
    CHECK(all[0].bytes == sent * 1000);
    CHECK(all[0].backlog >= sent * 1000);
    CHECK(all[0].backlog <= 128 << 10);
    CHECK(all[0].capacity == 128 << 10);
    CHECK(all[0].links == 1);
    CHECK(all[0].layout == 3);
    CHECK(all[1].role == IPC_RECEIVER);
    CHECK(all[1].pid == r.pid());
    CHECK(all[1].links == 1);
    CHECK(all[1].capacity == 0);
    CHECK(all[0].id != all[1].id);
    CHECK(all[0].id != 0);
    // The figures grow old while their process is stopped, and say so.
    auto later = list(url);
    REQUIRE(later.size() == 2);
    for (std::size_t i : {0, 1}) {
        CHECK(later[i].age_ns > all[i].age_ns);
        CHECK(later[i].messages == all[i].messages);
    }
    s.cont();
    r.cont();
}

TEST_CASE_FIXTURE(scratch, "what a receiver holds is listed as its backlog, also when the sender has ended") {
    std::string url = own_url();
    child s = sender(url), r = receiver(url);
    s.ask("send 1 1");
    CHECK(r.ask("hold 1") == "1");
    s.ask("close 0");
    s.done();
    CHECK(r.ask("read 1") == "end");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));  // a receiver tells before it waits
    auto all = list(url);
    REQUIRE(all.size() == 1);
    CHECK(all[0].backlog > 0);
    CHECK(r.ask("release 1") == "0");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));
    CHECK(list(url).at(0).backlog == 0);
}

TEST_CASE_FIXTURE(scratch, "each side of a link is listed with its peer, how far behind that is, and what it holds") {
    std::string url = own_url();
    child s = sender(url + "?capacity=128KiB"), r = receiver(url);
    s.ask("send 1 10 1000");
    CHECK(r.ask("hold 3") == "1-3");
    r.stop();
    s.ask("send 11 20 1000");
    s.ask("unreleased");
    s.stop();
    auto all = list(url);
    REQUIRE(all.size() == 2);
    for (std::size_t i : {0, 1}) {
        const ipc_channel_link &l = link_of(all[i]);
        CHECK(l.peer == all[1 - i].id);
        CHECK(l.pid == all[1 - i].pid);
        CHECK(l.state == IPC_LINK_UP);
        // 17 messages of 1,000 bytes, and 3 of them, each with its header and what aligns it.
        CHECK(l.behind >= 17'000);
        CHECK(l.behind <= 17 * 1'080);
        CHECK(l.held >= 3'000);
        CHECK(l.held <= 3 * 1'080);
        CHECK(l.lost == 0);
        CHECK(std::string(all[i].folder) == folder());
    }
    s.cont();
    r.cont();
}

TEST_CASE_FIXTURE(scratch, "what a receiver has taken since its sender looked is not listed as behind") {
    std::string url = own_url();
    child s = sender(url), r = receiver(url);
    s.ask("send 1 10 100");
    s.ask("unreleased");
    s.stop();
    CHECK(r.ask("read 10") == "1-10");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));
    auto all = list(url);
    REQUIRE(all.size() == 2);
    for (const ipc_channel &c : all) {
        CHECK(link_of(c).behind == 0);
        CHECK(link_of(c).held == 0);
        CHECK(c.backlog == 0);
    }
    s.cont();
}

TEST_CASE_FIXTURE(scratch, "a receiver's link whose sender is not to be seen does not say how far behind it is") {
    std::string url = own_url();
    somebody_was_killed(url);
    child s = sender(url), r = receiver(url);
    s.ask("send 1 1 100");
    CHECK(r.ask("hold 1") == "1");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));
    r.stop();
    s.ask("send 2 10 100");
    s.kill();
    auto all = list(url);
    REQUIRE(all.size() == 1);
    CHECK(link_of(all[0]).behind == IPC_UNKNOWN);
    CHECK(link_of(all[0]).held > 0);
    r.cont();
}

TEST_CASE_FIXTURE(scratch, "what waits of a sender that was killed is listed, whether it was begun to be read or not") {
    for (int taken : {0, 1}) {
        std::string url = own_url();
        somebody_was_killed(url);
        child s = sender(url), r = receiver(url);
        s.ask("send 1 10 1000");
        CHECK(r.ask("poll") == "ready");
        if (taken != 0) CHECK(r.ask("read 1") == "1");
        s.kill();
        auto gone = [&] { return r.ask("poll") == "ready" && link_of(list(url).at(0)).state == IPC_LINK_ENDED; };
        REQUIRE(eventually(gone));
        auto all = list(url);
        REQUIRE(all.size() == 1);
        CHECK(link_of(all[0]).behind >= std::uint64_t(10 - taken) * 1'000);
        CHECK(link_of(all[0]).behind <= std::uint64_t(10 - taken) * 1'080);
    }
}

TEST_CASE_FIXTURE(scratch, "what a receiver passed over is listed, also when its sender has gone") {
    std::string url = own_url();
    child s = sender(url);
    s.ask("send 1 10");
    child r = receiver(url + "?from=latest");
    s.ask("unreleased");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));
    s.ask("send 11 11");
    CHECK(r.ask("read 1") == "11");
    s.ask("unreleased");
    auto all = list(url);
    REQUIRE(all.size() == 2);
    CHECK(link_of(all[0]).skipped == 10);
    CHECK(link_of(all[1]).skipped == 10);
    CHECK(all[1].skipped == 10);
    s.ask("close 0");
    CHECK(r.ask("read 1") == "end");
    CHECK(r.ask("receive 1") == std::to_string(-ETIMEDOUT));
    auto alone = list(url);
    REQUIRE(alone.size() == 1);
    CHECK(alone[0].links == 0);
    CHECK(alone[0].skipped == 10);
}

TEST_CASE_FIXTURE(scratch, "of more links than fit a page as many as fit are listed, and all are counted") {
    std::string url = own_url() + "?capacity=64KiB";
    rx r(own_url());
    std::vector<child> senders;  // all in one process would have more descriptors than it may
    for (int i = 0; i < IPC_SHOWN_LINKS + 3; ++i) senders.push_back(sender(url));
    REQUIRE(eventually([&] { return r.stats().links == IPC_SHOWN_LINKS + 3; }));
    auto all = list(own_url());
    REQUIRE(all.size() == IPC_SHOWN_LINKS + 4);
    CHECK(all.back().role == IPC_RECEIVER);
    CHECK(all.back().links == IPC_SHOWN_LINKS + 3);
    CHECK(all.back().shown == IPC_SHOWN_LINKS);
}

TEST_CASE_FIXTURE(scratch, "the list is in order of URL, runtime folder, role and pid") {
    std::string a = own_url() + "a", b = own_url() + "b";
    std::vector<child> all;
    for (auto &url : {b, a}) {
        all.push_back(receiver(url));
        all.push_back(receiver(url));
        all.push_back(sender(url));
        all.push_back(sender(url));
    }
    std::vector<ipc_channel> whole(static_cast<std::size_t>(ipc_channel_list(nullptr, 0)) + 100);
    whole[0].struct_size = sizeof(ipc_channel);
    whole.resize(static_cast<std::size_t>(ipc_channel_list(whole.data(), whole.size())));
    auto order = [](const ipc_channel &c) {
        return std::tuple(std::string(c.url), std::string(c.folder), c.role, c.pid);
    };
    CHECK(std::is_sorted(whole.begin(), whole.end(),
                         [&](const ipc_channel &x, const ipc_channel &y) { return order(x) < order(y); }));
    CHECK(list(a).size() == 4);
    CHECK(list(b).size() == 4);
}

TEST_CASE_FIXTURE(scratch, "a closed handle and a killed process are listed no more") {
    std::string url = own_url();
    somebody_was_killed(url);
    child s = sender(url), r = receiver(url);
    CHECK(list(url).size() == 2);
    CHECK(r.ask("close") == "0");
    auto left = list(url);
    REQUIRE(left.size() == 1);
    CHECK(left[0].role == IPC_SENDER);
    s.kill();
    CHECK(list(url).empty());
}

ROLE(listed_and_forked) {
    tx s(me.arg(0));
    rx r(me.arg(0));
    pid_t fork_of_it = fork();
    while (fork_of_it == 0) pause();
    me.say("forked");
    me.hear();
    ::kill(fork_of_it, 9);
    waitpid(fork_of_it, nullptr, 0);
}

TEST_CASE_FIXTURE(scratch, "a fork is not listed with its parent's handles") {
    std::string url = own_url();
    child forks = start("listed_and_forked", {url});
    forks.expect("forked");
    auto all = list(url);
    REQUIRE(all.size() == 2);
    for (auto &c : all) CHECK(c.pid == forks.pid());
    forks.say("end");
    forks.done();
}

// ---- Who can't be met, or not looked at -----------------------------------------------------------------------------

// Its runtime folder is, at the same path as the test's, another one; or the same one, at another path.
ROLE(listed_with_own_mounts) {
    pid_t pid = fork();  // of one thread, as the kernel wants it
    MUST(pid >= 0);
    if (pid != 0) {
        int status;
        MUST(waitpid(pid, &status, 0) == pid);
        MUST(status == 0);
        return;
    }
    std::string folder = std::getenv("IPC_DIR"), another = me.arg(1);
    if (!own_mounts()) {
        me.say("skipped: this process can have no mounts of its own");
        std::_Exit(0);
    }
    if (another.empty()) {
        MUST(mount("tmpfs", folder.c_str(), "tmpfs", 0, "mode=0700") == 0);
    } else {
        MUST(mount(folder.c_str(), another.c_str(), nullptr, MS_BIND, nullptr) == 0);
        setenv("IPC_DIR", another.c_str(), 1);
    }
    {
        rx r(me.arg(0));
        me.say("open");
        me.hear();
    }
    std::_Exit(0);
}

// How the folder of the one receiver on this channel is listed.
static std::string folder_of_receiver(const std::string &url) {
    auto all = list(url);
    std::erase_if(all, [](const ipc_channel &c) { return c.role != IPC_RECEIVER; });
    REQUIRE(all.size() == 1);
    return all[0].folder;
}

TEST_CASE_FIXTURE(scratch, "a handle whose folder is another one at the same path is listed as in another one") {
    std::string url = own_url();
    tx s(url);
    child r = start("listed_with_own_mounts", {url, ""});
    if (std::string line = r.hear(); line != "open") {
        MESSAGE(line);
        return r.done();
    }
    std::string shown = folder_of_receiver(url);
    CHECK(shown.starts_with("/proc/"));
    CHECK(shown.ends_with("/root" + folder()));
    struct stat theirs, ours;
    CHECK((stat(shown.c_str(), &theirs) == 0 && stat(folder().c_str(), &ours) == 0 && theirs.st_dev != ours.st_dev));
    CHECK(s.stats().links == 0);
    r.say("end");
    r.done();
}

TEST_CASE_FIXTURE(scratch, "a handle whose folder is the same one at another path is listed as in the same one") {
    std::string url = own_url(), another = folder() + "-bound";
    REQUIRE(mkdir(another.c_str(), 0700) == 0);
    tx s(url);
    child r = start("listed_with_own_mounts", {url, another});
    std::string line = r.hear();
    if (line == "open") {
        s.await_links(1);
        CHECK(folder_of_receiver(url) == folder());
        r.say("end");
    } else {
        MESSAGE(line);
    }
    r.done();
    rmdir(another.c_str());
}

static ipc_channel_view view() {
    ipc_channel_view v{};
    v.struct_size = sizeof v;
    REQUIRE(ipc_channel_look(&v) == 0);
    return v;
}

TEST_CASE_FIXTURE(scratch, "a look at the channels tells the runtime folder of this process") {
    CHECK(std::string(view().folder) == folder());
    setenv("IPC_DIR", "relative", 1);
    CHECK(std::string(view().folder).empty());
    setenv("IPC_DIR", folder().c_str(), 1);
}

ROLE(may_not_be_looked_at) {
    MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
    rx r(me.arg(0));
    me.say("open");
    me.hear();
}

TEST_CASE_FIXTURE(scratch, "a process that may not be looked at is counted, and its peers say that they have a link") {
    if (geteuid() == 0) return;  // may look at all
    std::string url = own_url();
    child r = start("may_not_be_looked_at", {url});
    r.expect("open");
    tx s(url);
    s.await_links(1);
    CHECK(view().hidden >= 1);
    auto all = list(url);
    REQUIRE(all.size() == 1);
    CHECK(link_of(all[0]).pid == r.pid());
    r.say("end");
    r.done();
}
