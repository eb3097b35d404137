// What is special to pipes: pipe:// and fd://.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "../chunk_check.hpp"
#include "lowered_limit.hpp"
#include "refusal.hpp"
#include "refused_call.hpp"
#include "transports.hpp"

namespace {

bool is_there(const std::string &path) {
    struct stat s;
    return lstat(path.c_str(), &s) == 0;
}

// A program of the system, with words in sh's manner.
pid_t shell(const std::string &line) {
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
        _exit(127);
    }
    return pid;
}

bool ended_well(pid_t pid) {
    int status = -1;
    bool ended = eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; });
    return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

// Sends large messages until it is told to end.
ROLE(sends_large) {
    signal(SIGPIPE, SIG_DFL);  // as most programs have it
    tx s(me.arg(0));
    long count = me.number(1);
    me.say("open");
    for (long i = 0; i < count; ++i) {
        int result;
        do result = s.send(static_cast<std::uint64_t>(i), 100'000, -1);
        while (result == -EINTR);  // stopped and continued
        MUST(result == 0);
    }
    MUST(s.close(limit_ns) == 0);
}

// A child that answers on the one descriptor what it hears on the other.
ROLE(answers) {
    rx r("fd://" + me.arg(0));
    tx s("fd://" + me.arg(1));
    ipc_message m;
    int got;
    while ((got = r.receive(m)) == IPC_MESSAGE) {
        MUST(ipc_sender_send(s, m.data, m.size, m.tag + 1, limit_ns) == 0);
        r.release(m);
    }
    MUST(got == IPC_END);
    MUST(s.close(me.number(2) ? limit_ns : 0) == 0 || !me.number(2));
}

// Sends three that a receiver of 64 KiB can't hold at once, and waits.
ROLE(sends_three) {
    tx s(me.arg(0));
    for (std::uint64_t i = 1; i <= 3; ++i) MUST(s.send(i, 30'000) == 0);
    MUST(ipc_sender_flush(s, limit_ns) == 0);
    me.say("sent");
    me.hear();
}

// Opens what is no FIFO, without a controlling terminal.
ROLE(opens_a_terminal) {
    MUST(setsid() > 0);
    MUST(try_receiver("pipe://" + me.arg(0)).code == -EINVAL);
    MUST(try_sender("pipe://" + me.arg(0)).code == -EINVAL);
    MUST(open("/dev/tty", O_RDWR | O_CLOEXEC) < 0);
}

TEST_CASE_FIXTURE(scratch, "a receiver makes the FIFO that is missing, and removes what it has made") {
    std::string path = folder() + "/fifo";
    {
        rx r("pipe://" + path);
        struct stat s;
        REQUIRE(lstat(path.c_str(), &s) == 0);
        CHECK(S_ISFIFO(s.st_mode));
        CHECK((s.st_mode & 0777) == 0600);
    }
    CHECK(!is_there(path));
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    { rx r("pipe://" + path); }
    CHECK(is_there(path));
    unlink(path.c_str());
}

TEST_CASE_FIXTURE(scratch, "a FIFO that a killed receiver left is read by the next") {
    std::string path = folder() + "/fifo", url = "pipe://" + path;
    child dead = start("receives_until_told", {url, "0"});
    dead.expect("open");
    dead.kill();
    CHECK(is_there(path));
    rx r(url);
    tx s(url);
    REQUIRE(s.send(1) == 0);
    CHECK(r.take() == 1);
    CHECK(r.close() == 0);
    unlink(path.c_str());
}

TEST_CASE_FIXTURE(scratch, "writers of one FIFO never mix, however large their messages are") {
    std::string url = over_pipe::url(folder());
    rx r(url);
    std::vector<child> senders;
    for (int i = 0; i < 3; ++i) senders.push_back(start("sends_large", {url, "20"}));
    std::map<std::uint64_t, std::uint64_t> next;
    for (int ends = 0; ends < 3;) {
        ipc_message m;
        int got = r.receive(m);
        REQUIRE((got == IPC_MESSAGE || got == IPC_END));
        ends += got == IPC_END;
        if (got == IPC_END) continue;
        CHECK(m.tag == next[m.sender]++);
        CHECK(m.size == 100'000);
        CHECK(proven(m));
        r.release(m);
    }
    for (auto &[sender, count] : next) CHECK(count == 20);
    CHECK(r.stats().lost == 0);
    CHECK(r.stats().foreign == 0);
    for (auto &s : senders) s.done();
}

TEST_CASE_FIXTURE(scratch, "a writer that is stopped half-way in a message holds no other up") {
    std::string url = over_pipe::url(folder());
    rx r(url);
    child stopped = start("sends_large", {url, "1000000"});
    stopped.expect("open");
    // It is blocked in the middle of a message, as the pipe takes less than one.
    CHECK(eventually([&] {
        std::ifstream wchan("/proc/" + std::to_string(stopped.pid()) + "/stat");
        std::string line;
        std::getline(wchan, line);
        return line.find(") S ") != line.npos;
    }));
    stopped.stop();
    tx s(url);
    std::thread sends([&] {
        for (std::uint64_t i = 0; i < 50; ++i) CHECK(s.send(1'000'000 + i, 10'000) == 0);
        CHECK(ipc_sender_flush(s, limit_ns) == 0);
    });
    std::uint64_t mine = 0;
    while (mine < 50) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(proven(m));
        mine += m.tag >= 1'000'000;
        r.release(m);
    }
    sends.join();
    stopped.cont();
    ipc_message m;
    CHECK(r.receive(m) == IPC_MESSAGE);
    CHECK(m.size == 100'000);
    CHECK(proven(m));
    r.release(m);
    // Killed half-way: its death is told, and what it had begun never comes.
    stopped.kill();
    int got;
    while ((got = r.receive(m)) == IPC_MESSAGE) {
        CHECK(proven(m));
        r.release(m);
    }
    CHECK(got == IPC_DIED);
    CHECK(r.stats().held == 0);
}

TEST_CASE_FIXTURE(scratch, "garbage in a FIFO is passed over and counted, and messages come on") {
    std::string url = over_pipe::url(folder());
    rx r(url);
    tx s(url);
    for (std::uint64_t i = 0; i < 20; ++i) {
        int fd = open((folder() + "/fifo").c_str(), O_WRONLY | O_CLOEXEC);
        std::string garbage(static_cast<std::size_t>(1 + i * 37), i % 2 ? 'i' : 'x');
        REQUIRE(write(fd, garbage.data(), garbage.size()) == static_cast<ssize_t>(garbage.size()));
        close(fd);
        REQUIRE(s.send(i, 500) == 0);
        // What may be the start of a chunk waits until that is known.
        REQUIRE(s.send(1000 + i, 500) == 0);
        CHECK(r.take() == i);
        CHECK(r.take() == 1000 + i);
    }
    CHECK(r.stats().foreign == 20 + 37 * 190);
    CHECK(r.stats().lost == 0);
}

TEST_CASE_FIXTURE(scratch, "a forged chunk that says another size than the first of its message gets no other room") {
    std::string url = over_pipe::url(folder());
    rx r(url);
    tx s(url);
    int fd = open((folder() + "/fifo").c_str(), O_WRONLY | O_CLOEXEC);
    auto forge = [&](std::uint64_t size, std::uint64_t offset, std::uint16_t bytes) {
        std::string c(64 + bytes, 'f');
        std::memset(c.data(), 0, 64);
        std::memcpy(c.data(), "ipcc\2\1", 6);
        std::memcpy(&c[6], &bytes, 2);
        std::uint64_t words[5] = {77, 1, 5, size, offset};  // sender, sequence, tag, ...
        std::memcpy(&c[8], words, sizeof words);
        std::uint32_t sum = chunk_check(c.data());
        std::memcpy(&c[56], &sum, 4);
        REQUIRE(write(fd, c.data(), c.size()) == static_cast<ssize_t>(c.size()));
    };
    forge(100, 0, 60);
    forge(60 + 4000, 60, 4000);
    REQUIRE(s.send(9) == 0);
    CHECK(r.take() == 9);
    forge(100, 60, 40);  // what the first has promised
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    CHECK(m.size == 100);
    CHECK(m.tag == 5);
    CHECK(r.release(m) == 0);
    close(fd);
}

TEST_CASE_FIXTURE(scratch, "a sender survives that the reader of its FIFO goes, with SIGPIPE as programs have it") {
    std::string url = over_pipe::url(folder());
    for (bool old_system : {false, true}) {
        CAPTURE(old_system);
        child sender = start("sends_to_url_until_told",
                             old_system ? std::vector<std::string>{url, "old"} : std::vector<std::string>{url});
        outlive_receivers(sender, url);
    }
}

TEST_CASE_FIXTURE(scratch, "cat and dd write into a FIFO, raw, and each one's end is an end") {
    std::string path = folder() + "/fifo";
    rx r("pipe://" + path + "?framing=raw");
    for (std::string line : {"cat /bin/sh > " + path, "dd if=/bin/sh of=" + path + " bs=777 2>/dev/null"}) {
        pid_t program = shell(line);
        std::string got;
        ipc_message m;
        int result;
        while ((result = r.receive(m)) == IPC_MESSAGE) {
            got.append(static_cast<const char *>(m.data), m.size);
            r.release(m);
        }
        CHECK(result == IPC_END);
        CHECK(ended_well(program));
        std::ifstream file("/bin/sh", std::ios::binary);
        CHECK(got == std::string(std::istreambuf_iterator<char>(file), {}));
    }
    CHECK(r.stats().ends == 2);
}

TEST_CASE_FIXTURE(scratch, "cat reads what is sent raw into a FIFO") {
    std::string path = folder() + "/fifo", out = folder() + "/out";
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    pid_t cat = shell("cat " + path + " > " + out);
    tx s("pipe://" + path + "?framing=raw");
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        std::string line = "line " + std::to_string(i) + "\n";
        expected += line;
        REQUIRE(ipc_sender_send(s, line.data(), line.size(), 0, limit_ns) == 0);
    }
    CHECK(s.close(limit_ns) == 0);
    CHECK(ended_well(cat));
    std::ifstream file(out);
    CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == expected);
    unlink(path.c_str());
    unlink(out.c_str());
}

TEST_CASE_FIXTURE(scratch, "a parent and its child talk both ways over inherited pipes and socketpairs") {
    for (bool sockets : {false, true}) {
        CAPTURE(sockets);
        int there[2], back[2];
        if (sockets) {
            REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, there) == 0);
            REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, back) == 0);
        } else {
            REQUIRE(pipe(there) == 0);
            REQUIRE(pipe(back) == 0);
        }
        for (int ours : {there[1], back[0]}) fcntl(ours, F_SETFD, FD_CLOEXEC);
        child other = start("answers", {std::to_string(there[0]), std::to_string(back[1]), std::to_string(sockets)});
        close(there[0]);
        close(back[1]);
        tx s("fd://" + std::to_string(there[1]));
        rx r("fd://" + std::to_string(back[0]));
        for (std::uint64_t i = 0; i < 50; ++i) {
            std::string text(static_cast<std::size_t>(i * 1000), 'a');
            REQUIRE(ipc_sender_send(s, text.data(), text.size(), i, limit_ns) == 0);
            CHECK(ipc_sender_flush(s, sockets ? 0 : limit_ns) >= 0);
            ipc_message m;
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            CHECK(m.tag == i + 1);
            CHECK(m.size == text.size());
            r.release(m);
        }
        s.end();
        ipc_message m;
        CHECK(r.receive(m) == IPC_END);
        other.done();
        // Nobody else can come on an inherited descriptor.
        CHECK(eventually([&] { return s.h && ipc_sender_flush(s, 0) >= 0 && s.stats().links == 0; }));
    }
}

TEST_CASE_FIXTURE(scratch,
                  "an inherited end whose other one is closed without a word brings a death, or the end of no bytes") {
    for (bool sockets : {false, true})
        for (bool raw : {false, true}) {
            CAPTURE(sockets);
            CAPTURE(raw);
            int ends[2];
            REQUIRE((sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : pipe2(ends, O_CLOEXEC)) == 0);
            rx r("fd://" + std::to_string(ends[0]) + (raw ? "?framing=raw" : ""));
            ipc_message m;
            CHECK(r.receive(m, 0) == -EAGAIN);
            close(ends[1]);
            CHECK(r.receive(m) == (raw ? IPC_END : IPC_DIED));
            CHECK((m.sender == 0) == !raw);
            CHECK(r.receive(m, briefly) == -ETIMEDOUT);
        }
}

TEST_CASE_FIXTURE(scratch, "a sender that waits for room sees at once that all has gone into the pipe meanwhile") {
    std::string url = "pipe://" + folder() + "/fifo";
    rx r(url);
    tx s(url + "?capacity=128KiB");
    ipc_message m = empty_message();
    for (std::uint64_t i = 1; i <= 20; ++i) {
        REQUIRE(s.send(2 * i - 1, 65'520) == 0);  // a little more than the pipe takes at once
        CHECK(r.receive(m, 0) == -EAGAIN);        // but now it has room for the rest
        auto start = std::chrono::steady_clock::now();
        REQUIRE(s.send(2 * i, 65'520, limit_ns) == 0);
        REQUIRE(std::chrono::steady_clock::now() - start < limit / 2);  // and not when the time has passed
        std::vector<std::uint64_t> tags;
        REQUIRE(eventually([&] {
            ipc_sender_flush(s, 0);
            for (; r.receive(m, 0) == IPC_MESSAGE; r.release(m)) tags.push_back(m.tag);
            return tags.size() == 2;
        }));
        CHECK(tags == std::vector{2 * i - 1, 2 * i});
    }
}

TEST_CASE_FIXTURE(scratch, "a writer that died while its receiver had no room is told dead when all it wrote is read") {
    std::string url = over_pipe::url(folder());
    rx r(url + "?capacity=64KiB");
    child sender = start("sends_three", {url});
    CHECK(r.hold(2) == "1-2");
    sender.expect("sent");
    CHECK(r.read(1, briefly) == "nothing");  // the third is read, and has no room
    sender.kill();
    CHECK(r.read(1, briefly) == "nothing");
    REQUIRE(r.release_held(1) == 0);
    CHECK(r.read(2) == "3 died");
}

TEST_CASE_FIXTURE(scratch, "a writer that comes when no descriptor is free is told dead all the same") {
    std::string url = over_pipe::url(folder());
    rx r(url);
    child sender = start("sends_to_url_until_told", {url});
    sender.expect("open");
    {
        few_fds none(0);
        r.take();
    }
    sender.kill();
    int got;
    ipc_message m;
    while ((got = r.receive(m)) == IPC_MESSAGE) r.release(m);
    CHECK(got == IPC_DIED);
}

TEST_CASE_FIXTURE(scratch, "a raw receiver whose FIFO is removed makes it again, or waits until whoever has it goes") {
    std::string path = folder() + "/fifo";
    rx r("pipe://" + path + "?framing=raw");
    auto says_a_word = [&](bool remove) {
        int writer = -1;
        REQUIRE(eventually([&] {
            ipc_message m;
            CHECK(r.receive(m, briefly) == -ETIMEDOUT);
            return (writer = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0;
        }));
        if (remove) unlink(path.c_str());
        REQUIRE(write(writer, "word", 4) == 4);
        return writer;
    };
    auto hears_it = [&] {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.size == 4);
        r.release(m);
        CHECK(r.receive(m) == IPC_END);
    };
    close(says_a_word(true));
    hears_it();
    int writer = says_a_word(true);
    {
        rx other("pipe://" + path);
        close(writer);
        hears_it();
    }
    close(says_a_word(false));
    hears_it();
    CHECK(r.close() == 0);
    CHECK(!is_there(path));
}

TEST_CASE_FIXTURE(scratch, "what is no FIFO is not opened: a terminal does not become that of the process") {
    int other = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(other >= 0);
    REQUIRE((grantpt(other) == 0 && unlockpt(other) == 0));
    start("opens_a_terminal", {ptsname(other)}).done();
    close(other);
}

// On any system, and with an argument on one before Linux 6.18.
ROLE(blocks_sigpipe) {
    std::string url = me.arg(0);
    signal(SIGPIPE, SIG_DFL);
    if (me.has(1)) refuse_call(SYS_pwritev2, EOPNOTSUPP);
    sigset_t pipe, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    MUST(pthread_sigmask(SIG_BLOCK, &pipe, nullptr) == 0);
    tx s(url);
    for (bool own : {false, true}) {
        if (own) raise(SIGPIPE);
        for (std::uint64_t i = 0; i < 20; ++i) {
            rx r(url);
            MUST(eventually([&] { return s.stats().links == 1; }));
            r.close();
            MUST(s.send(i) == 0);
        }
        sigpending(&pending);
        MUST(sigismember(&pending, SIGPIPE) == own);
        timespec now{};
        while (sigtimedwait(&pipe, nullptr, &now) > 0) continue;
    }
}

TEST_CASE_FIXTURE(scratch, "a program that blocks SIGPIPE finds none of ours pending, and keeps its own") {
    std::string url = over_pipe::url(folder());
    start("blocks_sigpipe", {url}).done();
    start("blocks_sigpipe", {url, "old"}).done();
}

TEST_CASE_FIXTURE(scratch, "whoever shares an inherited socket finds it as blocking as it was") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    int shared[2] = {fcntl(ends[0], F_DUPFD_CLOEXEC, 3), fcntl(ends[1], F_DUPFD_CLOEXEC, 3)};
    auto blocking = [&] { return !((fcntl(shared[0], F_GETFL) | fcntl(shared[1], F_GETFL)) & O_NONBLOCK); };
    {
        rx r("fd://" + std::to_string(ends[0]));
        tx s("fd://" + std::to_string(ends[1]));
        CHECK(r.receive(*std::make_unique<ipc_message>(empty_message()), 0) == -EAGAIN);
        REQUIRE(s.send(1, 400'000, 0) == 0);
        CHECK(blocking());
    }
    CHECK(blocking());
    for (int fd : shared) close(fd);
}
