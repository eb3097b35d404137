// A handle belongs to the process that opened it. A fork is refused, its parent unharmed, and exec takes nothing along.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "host_calls.hpp"

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

// ---- What a fork may read -------------------------------------------------------------------------------------------

// A process that forks and waits for the fork, which ends it when something is not as it must be.
template <class Body>
static void in_a_fork(Body body) {
    pid_t fork_of_us = fork();
    if (fork_of_us == 0) {
        body();
        std::_Exit(0);
    }
    reap(fork_of_us);
}

static std::size_t mapped(const std::string &name) {
    std::ifstream maps("/proc/self/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);) n += line.find("/memfd:" + name) != line.npos;
    return n;
}

// Whether it is there to be read, without a crash if it is not.
static bool readable(const void *at) {
    int ends[2];
    MUST(pipe(ends) == 0);
    bool read = write(ends[1], at, 1) == 1;
    MUST(read || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return read;
}

ROLE(holds_and_forks) {
    rx r(me.arg(0));
    me.say("open");
    MUST(r.hold(3) == "1-3");
    for (bool closes : {true, false})
        in_a_fork([&] {
            for (const ipc_message &m : r.held) MUST(proven(m));
            in_a_fork([&] {
                for (const ipc_message &m : r.held) MUST(proven(m));
            });
            if (!closes) return;
            MUST(r.close() == IPC_EFORKED);
            MUST(mapped("ipc") == 0);
        });
    for (const ipc_message &m : r.held) MUST(proven(m));
    for (std::uint64_t tag : {2, 1, 3}) MUST(r.release_held(tag) == 0);
    MUST(r.read(2) == "4 end");
}

TEST_CASE_FIXTURE(scratch, "a fork reads the messages that its parent holds, in each ring, and gives back its share") {
    for (const std::string &url : std::vector<std::string>{"shm://t", "unix://" + folder() + "/socket"}) {
        CAPTURE(url);
        child c = start("holds_and_forks", {url});
        c.expect("open");
        tx s(url);
        s.send_all(1, 2);
        s.send(3, 400'000);
        s.send(4);
        CHECK(s.close(limit_ns) == 0);
        c.done();
    }
}

ROLE(closes_before_its_fork) {
    rx r(url);
    me.say("open");
    MUST(r.hold(1) == "1");
    int to_fork[2];
    MUST(pipe(to_fork) == 0);
    pid_t fork_of_us = fork();
    if (fork_of_us == 0) {
        close(to_fork[1]);
        char byte;
        MUST(read(to_fork[0], &byte, 1) == 0);  // the parent has closed
        MUST(readable(r.held.at(0).data));      // though perhaps another message by now
        std::_Exit(0);
    }
    MUST(r.release_held(1) == 0);
    MUST(r.close() == 0);
    MUST(mapped("ipc-ring") == 0);
    close(to_fork[0]);
    close(to_fork[1]);
    reap(fork_of_us);
}

TEST_CASE_FIXTURE(scratch,
                  "what a fork may read is there until it goes, though its parent and the sender have closed") {
    child c = start("closes_before_its_fork");
    c.expect("open");
    tx s;
    s.send(1);
    CHECK(s.close(limit_ns) == 0);
    c.done();
}

ROLE(reserves_and_forks) {
    tx s(url);
    rx r(url);
    MUST(s.send(1) == 0);
    MUST(r.hold(1) == "1");
    void *room;
    MUST(ipc_sender_reserve(s, 100, &room, 0) == 0);
    in_a_fork([&] {
        MUST(!readable(room));
        MUST(readable(r.held.at(0).data));
        for (const char *shared : {"ipc-link", "ipc-bits", "ipc:"}) MUST(mapped(shared) == 0);
        MUST(s.close() == IPC_EFORKED);
        MUST(r.close() == IPC_EFORKED);
    });
    std::memset(room, 1, 100);
    MUST(ipc_sender_commit(s, 100, 2) == 0);
    ipc_message m;
    MUST(r.receive(m) == IPC_MESSAGE);
    MUST(r.release(m) == 0);
    MUST(r.release_held(1) == 0);
}

TEST_CASE_FIXTURE(scratch, "a fork can write nothing that its parent shares") { start("reserves_and_forks").done(); }

ROLE(forks_around_a_handoff) {
    host h;
    h.open_receiver(url);
    me.say("open");
    ipc_message m, none;
    MUST(receive(h, m) == IPC_MESSAGE);
    auto fork_and_close = [&] {
        in_a_fork([&] {
            MUST(proven(m));
            MUST(h.library->ipc_receiver_close(h.receivers[0]) == IPC_EFORKED);
            MUST(mapped("ipc") == 0);
        });
    };
    std::size_t fds = open_fds(), maps = mapped("ipc");
    fork_and_close();
    MUST(h.reload(next_build) == 0);
    fork_and_close();  // adopted, and no call made on it yet
    MUST(receive(h, none, briefly) == -ETIMEDOUT);
    fork_and_close();
    std::vector<std::byte> state = freeze(*h.library, h.receivers[0]);
    fork_and_close();
    in_a_fork([&] {  // a fork goes on with nothing of its parent's
        ipc_receiver *adopted = nullptr;
        char words[256];
        copy other(this_build);
        MUST(other.adopt(&adopted, state, words, sizeof words) < 0);
        MUST(proven(m));
    });
    ipc_receiver *thawed = nullptr;
    MUST(h.library->adopt(&thawed, state, h.words, sizeof h.words) == 0 && thawed == h.receivers[0]);
    MUST(proven(m));
    MUST(h.library->ipc_receiver_release(h.receivers[0], &m) == 0);
    MUST(open_fds() == fds);
    MUST(mapped("ipc") == maps);
}

TEST_CASE_FIXTURE(scratch,
                  "forks before, during and after a handoff read what is held, and the parent does not notice") {
    child c = start("forks_around_a_handoff");
    c.expect("open");
    tx s;
    s.send(1);
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
