// What a host does not notice of the library: conventions C5 and C9 of ipc.h.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "library.hpp"

namespace {

// The lines of /proc/self/status whose names match.
std::string status(const char *names) {
    std::string found;
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
        if (std::regex_search(line, std::regex(std::string("^(") + names + "):"))) found += line + "\n";
    return found;
}

std::string environment() {
    std::string all;
    for (char **at = environ; *at; ++at)
        if (std::string_view(*at).find("IPC_DIR=") != 0) all += std::string(*at) + "\n";
    return all;
}

}  // namespace

TEST_CASE("the functions used here are all that ipc.h declares") {
    std::set<std::string> declared, used;
    std::string text = header_text();
    std::regex declaration("\\n[a-z][a-z0-9_ ]*[ *](ipc_[a-z_]+)\\(");
    for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at)
        declared.insert((*at)[1]);
#define USED(name) used.insert(#name);
    LIBRARY_FUNCTIONS(USED)
    CHECK(declared.size() > 20);
    CHECK(declared == used);
}

TEST_CASE("no thread is started, no signal handled, blocked or ignored, whatever is called") {
    auto look = [] { return status("Threads|SigBlk|SigIgn|SigCgt|ShdPnd|Umask"); };
    std::string before = look();
    CHECK(before.find("Threads:\t1\n") != before.npos);
    library ipc;
    CHECK(look() == before);
    use_everything(ipc, [&] { CHECK(look() == before); });
    CHECK(look() == before);
}

TEST_CASE("nothing is printed, whatever is called") {
    int out = memfd_create("out", MFD_CLOEXEC);
    std::fflush(stdout);
    int kept[] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    std::string went_wrong;
    try {
        library ipc;
        use_everything(ipc);
    } catch (const std::exception &e) {
        went_wrong = e.what();
    }
    std::fflush(nullptr);
    dup2(kept[0], STDOUT_FILENO);
    dup2(kept[1], STDERR_FILENO);
    for (int fd : kept) close(fd);
    char text[256] = {};
    CHECK(pread(out, text, sizeof text - 1, 0) == 0);
    CHECK(std::string(text) == "");
    CHECK(went_wrong == "");
    close(out);
}

TEST_CASE("environment and locale stay as they are") {
    std::string before = environment(), locale = setlocale(LC_ALL, nullptr);
    {
        library ipc;
        use_everything(ipc);
    }
    CHECK(environment() == before);
    CHECK(setlocale(LC_ALL, nullptr) == locale);
}
