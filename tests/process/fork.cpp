// A handle belongs to the process that opened it. A fork is refused, its parent unharmed, and exec takes nothing along.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "support.hpp"

static const std::string url = "shm://t";

static std::size_t open_fds() {
    namespace fs = std::filesystem;
    return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

static void use_in_a_fork(tx &s, rx &r, std::size_t fds_without) {
    void *room;
    ipc_message m = empty_message(), held = r.held.at(0);
    ipc_sender_counters sc{};
    ipc_receiver_counters rc{};
    ipc_link link{};
    sc.struct_size = sizeof sc;
    rc.struct_size = sizeof rc;
    link.struct_size = sizeof link;
    MUST(ipc_sender_reserve(s, 10, &room, 0) == IPC_EFORKED);
    MUST(ipc_sender_commit(s, 10, 0) == IPC_EFORKED);
    MUST(ipc_sender_abort(s) == IPC_EFORKED);
    MUST(ipc_sender_send(s, "x", 1, 0, 0) == IPC_EFORKED);
    MUST(ipc_sender_end(s) == IPC_EFORKED);
    MUST(ipc_sender_flush(s, -1) == IPC_EFORKED);
    MUST(ipc_sender_interrupt(s) == IPC_EFORKED);
    MUST(ipc_sender_arm(s) == IPC_EFORKED);
    MUST(ipc_sender_fd(s) == IPC_EFORKED);
    MUST(ipc_sender_stats(s, &sc) == IPC_EFORKED);
    MUST(ipc_sender_links(s, &link, 1) == IPC_EFORKED);
    MUST(ipc_receiver_receive(r, &m, -1) == IPC_EFORKED);
    MUST(ipc_receiver_release(r, &held) == IPC_EFORKED);
    MUST(ipc_receiver_interrupt(r) == IPC_EFORKED);
    MUST(ipc_receiver_arm(r) == IPC_EFORKED);
    MUST(ipc_receiver_fd(r) == IPC_EFORKED);
    MUST(ipc_receiver_stats(r, &rc) == IPC_EFORKED);
    MUST(ipc_receiver_links(r, &link, 1) == IPC_EFORKED);
    MUST(s.close(-1) == IPC_EFORKED);
    MUST(r.close() == IPC_EFORKED);
    MUST(open_fds() == fds_without);
}

// Waits for what a fork of this process has to say by its exit status.
static void reap(pid_t fork_of_us) {
    int status = 0;
    MUST(waitpid(fork_of_us, &status, 0) == fork_of_us);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

ROLE(forks_in_the_middle) {
    std::size_t fds_without = open_fds();
    rx r("shm://there");
    tx s("shm://back");
    me.say("open");
    MUST(r.hold(1) == "1");
    MUST(s.send(1) == 0);
    for (int i = 0; i < 3; ++i) {
        pid_t fork_of_us = fork();
        if (fork_of_us == 0) {
            if (i > 0) use_in_a_fork(s, r, fds_without);
            if (i == 2) {  // and may open handles of its own
                rx own("shm://there");
                tx other("shm://elsewhere");
                MUST(other.send(1) == 0);
            }
            std::_Exit(0);
        }
        reap(fork_of_us);
    }
    MUST(proven(r.held.at(0)));
    MUST(r.release_held(1) == 0);
    MUST(r.read(3) == "2-3 end");
    MUST(s.send(2) == 0);
    MUST(s.close(limit_ns) == 0);
}

TEST_CASE_FIXTURE(scratch, "a fork may not use its parent's handles, and the parent does not notice") {
    tx there("shm://there");
    rx back("shm://back");
    child c = start("forks_in_the_middle");
    c.expect("open");
    there.send(1);
    CHECK(back.read(1) == "1");
    there.send_all(2, 3);
    there.end();
    // Before it can go: a sender that sees it and its fork die at once keeps what the fork had not read.
    CHECK(there.close(limit_ns) == 0);
    CHECK(back.read(2) == "2 end");
    c.done();
}

ROLE(sender_that_forks) {
    tx s(url);
    s.send_all(1, 3);
    pid_t fork_of_it = fork();
    while (fork_of_it == 0) pause();
    me.say(std::to_string(fork_of_it));
    me.hear();
    if (me.has(0)) s.close();
    me.say("closed");
    me.hear();
}

TEST_CASE_FIXTURE(scratch, "a killed sender is dead, and a closed one gone, although a fork of it lives on") {
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    somebody_was_killed(url);
    rx r;
    for (bool closes : {false, true}) {
        CAPTURE(closes);
        child s = start("sender_that_forks", closes ? std::vector<std::string>{"close"} : std::vector<std::string>{});
        pid_t fork_of_s = std::stoi(s.hear());
        CHECK(r.read(3) == "1-3");
        if (closes)
            CHECK(s.ask("go on") == "closed");
        else
            s.kill();
        CHECK(r.read(1) == (closes ? "end" : "died"));
        CHECK(eventually([&] { return r.stats().links == 0; }));
        if (closes) s.kill();
        CHECK(::kill(fork_of_s, SIGKILL) == 0);
        CHECK(waitpid(fork_of_s, nullptr, 0) == fork_of_s);
    }
}

ROLE(counts_fds) { me.say(std::to_string(open_fds())); }

ROLE(execs) {
    std::string program = std::filesystem::read_symlink("/proc/self/exe").string() + " --role counts_fds";
    auto fds_of_a_program = [&] {
        FILE *out = popen(program.c_str(), "r");
        char count[32] = {};
        MUST(out && std::fgets(count, sizeof count, out));
        MUST(pclose(out) == 0);
        return std::string(count);
    };
    std::string before = fds_of_a_program();
    rx r(url);
    tx s(url);
    MUST(s.send(1) == 0);
    MUST(r.hold(1) == "1");
    me.say("open");
    MUST(r.hold(1) == "2");
    MUST(ipc_receiver_arm(r) >= 0);
    MUST(ipc_sender_arm(s) >= 0);
    MUST(fds_of_a_program() == before);
    MUST(r.release_held(1) == 0);
    MUST(r.release_held(2) == 0);
}

TEST_CASE_FIXTURE(scratch, "no file descriptor of ours gets into a program that is executed") {
    child c = start("execs");
    c.expect("open");
    tx s;
    s.send(2);
    CHECK(s.close(limit_ns) == 0);
    c.done();
}
