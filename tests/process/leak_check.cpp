// The checker itself, on planted leaks.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "support.hpp"

TEST_CASE_FIXTURE(scratch, "the leak check finds nothing where nothing is left") {
    leak_check check(folder());
    CHECK(check.leaks().empty());
}

TEST_CASE_FIXTURE(scratch, "the leak check finds a file descriptor") {
    leak_check check(folder());
    int fd = open("/dev/null", O_RDONLY);
    REQUIRE(check.leaks().size() == 1);
    CHECK(check.leaks()[0] == "fd " + std::to_string(fd) + " -> /dev/null");
    close(fd);
}

TEST_CASE_FIXTURE(scratch, "the leak check finds a child, running or dead") {
    leak_check check(folder());
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    REQUIRE(check.leaks().size() == 1);
    CHECK(check.leaks()[0] == "child " + std::to_string(pid));
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    CHECK(check.leaks().size() == 1);
    waitpid(pid, nullptr, 0);
}

TEST_CASE_FIXTURE(scratch, "the leak check finds a mapping of ours whose fd is closed") {
    leak_check check(folder());
    int fd = memfd_create("ipc:planted", MFD_CLOEXEC);
    REQUIRE(ftruncate(fd, 4096) == 0);
    void *at = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    REQUIRE(check.leaks().size() == 1);
    CHECK(check.leaks()[0].starts_with("mapping "));
    munmap(at, 4096);
}

TEST_CASE_FIXTURE(scratch, "the leak check finds a file and a socket in the runtime folder") {
    leak_check check(folder());
    std::string file = folder() + "/file", name = folder() + "/socket";
    std::ofstream(file) << "x";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
    close(fd);
    CHECK(check.leaks().size() == 2);
    unlink(file.c_str());
    unlink(name.c_str());
}

ROLE(silent) { me.hear(); }
ROLE(failing) { MUST(1 + 1 == 3); }

TEST_CASE_FIXTURE(scratch, "a role that fails, is killed or ends too early is told apart") {
    child failing = start("failing");
    CHECK(failing.wait() == 70);
    child silent = start("silent");
    silent.stop();
    silent.cont();
    silent.kill();
    child leaves = start("silent");
    leaves.say("go");
    leaves.done();
    CHECK(start("no such role").wait() == 75);
}
