// Starts a child, and asks it over one pipe what it answers over another.
//     parent COMMAND...
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <ipc/ipc.hpp>
#include <string>
#include <system_error>

// Two ends of a pipe, to read from and to write to. No other child gets them.
static std::array<int, 2> new_pipe() {
    std::array<int, 2> ends;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    return ends;
}

int main(int, char **argv) {
    auto [child_in, to_child] = new_pipe();
    auto [from_child, child_out] = new_pipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
    pid_t child;
    if (int error = posix_spawnp(&child, argv[1], &actions, nullptr, argv + 1, environ)) {
        std::fprintf(stderr, "cannot start %s: %s\n", argv[1], std::strerror(error));
        return 1;
    }
    posix_spawn_file_actions_destroy(&actions);
    for (int fd : {child_in, child_out}) close(fd);  // the child's: kept open here, they would hide its end

    ipc::sender questions("fd://" + std::to_string(to_child));
    ipc::receiver answers("fd://" + std::to_string(from_child));
    for (unsigned n = 1; n <= 3; ++n) questions.send(std::array{1.0 * n, 10.0 * n}, n);
    questions.close(ipc::forever);  // its end: the child ends, too
    while (auto answer = answers.receive()) {
        if (answer->what == ipc::event::sender_ended) break;
        if (answer->what == ipc::event::sender_died) {
            std::fprintf(stderr, "the child has died\n");
            return 1;
        }
        double sum;
        std::memcpy(&sum, answer->message.bytes().data(), sizeof sum);
        std::printf("question %d: %.1f\n", static_cast<int>(answer->message.tag()), sum);
    }
    int status;
    waitpid(child, &status, 0);
    std::printf("the child has ended\n");
    return status == 0 ? 0 : 1;
}
