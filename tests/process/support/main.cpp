// The program of the tests, which is that of each role as well.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <signal.h>

#include <cstring>
#include <string>
#include <vector>

#include "roles.hpp"

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};
    nothing.sa_flags = SA_RESTART;  // as most programs install theirs; waits in the library end all the same
    sigaction(SIGUSR1, &nothing, nullptr);
    if (argc < 3 || std::strcmp(argv[1], "--role") != 0) return doctest::Context(argc, argv).run();
    return play(argv[2], std::vector<std::string>(argv + 3, argv + argc));
}
