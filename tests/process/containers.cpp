// Peers in containers: of another pid, network and ipc namespace, with nothing in common but the runtime folder.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "support.hpp"

// Runs `body` as the first process of a container that has this user's id; says "skipped" where none can be made.
template <class Body>
static void in_a_container(role &me, Body body) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    pid_t outer = fork();  // of one thread, as the kernel wants it
    MUST(outer >= 0);
    if (outer != 0) {
        int status;
        MUST(waitpid(outer, &status, 0) == outer);
        MUST(status == 0);
        return;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC) != 0) {
        me.say("skipped: this process can make no namespaces");
        std::_Exit(0);
    }
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << uid << " " << uid << " 1";
    std::ofstream("/proc/self/gid_map") << gid << " " << gid << " 1";
    MUST(geteuid() == uid);
    pid_t first = fork();
    MUST(first >= 0);
    if (first == 0) {
        MUST(getpid() == 1);
        body();
        std::_Exit(0);
    }
    int status;
    MUST(waitpid(first, &status, 0) == first);
    std::_Exit(status != 0);
}

ROLE(contained_sender) {
    in_a_container(me, [&] {
        tx s;
        me.say("open");
        me.hear();
        s.await_links(1);
        MUST(s.links().at(0).pid == 0);  // somebody whom this container can't see
        s.send_all(1, 3);
        me.say("sent");
        me.hear();
        std::_Exit(0);
    });
}

ROLE(contained_receiver) {
    in_a_container(me, [&] {
        rx r;
        me.say("open");
        me.say(r.read(3));
        MUST(r.links().at(0).pid == 0);
        MUST(r.hold(2) == "4-5");
        me.say("held");
        me.hear();
        std::_Exit(0);
    });
}

TEST_CASE_FIXTURE(scratch, "a sender in a container is heard, and its death told") {
    somebody_was_killed("shm://t");
    rx r;
    child c = start("contained_sender");
    if (std::string line = c.hear(); line != "open") {
        MESSAGE(line);
        return c.done();
    }
    CHECK(c.ask("send") == "sent");
    CHECK(r.read(3) == "1-3");
    CHECK(r.stats().deaths == 0);
    c.say("go");
    CHECK(r.read(1) == "died");
    c.done();
}

TEST_CASE_FIXTURE(scratch, "a receiver in a container is served, and when it dies the next one takes its place") {
    somebody_was_killed("shm://t");
    tx s;
    child c = start("contained_receiver");
    if (std::string line = c.hear(); line != "open") {
        MESSAGE(line);
        return c.done();
    }
    s.await_links(1);
    s.send_all(1, 6);
    c.expect("1-3");
    c.expect("held");
    CHECK(s.stats().unreleased == 3);
    c.say("go");
    c.done();
    rx next;
    s.await_links(1);
    CHECK(next.read(3) == "4-5* 6");
}

TEST_CASE_FIXTURE(scratch, "a handle in a container is listed as the process that it is from outside, with its links") {
    std::string url = "shm://t";
    somebody_was_killed(url);
    tx s(url);
    child c = start("contained_receiver");
    if (std::string line = c.hear(); line != "open") {
        MESSAGE(line);
        return c.done();
    }
    s.await_links(1);
    s.send_all(1, 6);
    c.expect("1-3");
    c.expect("held");
    s.stats();  // what it shows is of now
    std::vector<ipc_channel> all(1000);
    all[0].struct_size = sizeof(ipc_channel);
    all.resize(static_cast<std::size_t>(ipc_channel_list(all.data(), all.size())));
    std::erase_if(all, [&](const ipc_channel &a) { return a.folder != folder(); });
    REQUIRE(all.size() == 2);
    CHECK(all[0].pid == getpid());
    CHECK(all[1].pid != 1);
    std::ifstream status("/proc/" + std::to_string(all[1].pid) + "/status");
    std::string text(std::istreambuf_iterator<char>(status), {});
    CHECK(text.find("\nNSpid:\t" + std::to_string(all[1].pid) + "\t1\n") != text.npos);
    for (std::size_t i : {0, 1}) {
        REQUIRE(all[i].shown == 1);
        CHECK(all[i].link[0].pid == all[1 - i].pid);
        CHECK(all[i].link[0].behind > 0);
        CHECK(all[i].link[0].behind != IPC_UNKNOWN);
    }
    c.say("go");
    c.done();
}
