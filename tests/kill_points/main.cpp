// Kills senders and receivers at every instruction of what they do with each other, and looks at the survivor each
// time. Exit status 0 if it was as it must be each time; 77 if processes can't be traced here.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "scenario.hpp"

namespace {

using namespace kill_points;

struct own_folder {
    std::string path = (std::filesystem::temp_directory_path() / "libipc-kill-XXXXXX").string();
    own_folder() {
        if (!mkdtemp(path.data())) throw std::runtime_error("cannot make " + path);
        setenv("IPC_DIR", path.c_str(), 1);
    }
    ~own_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};

// The number of points of a scenario: how far it goes if it is not killed.
unsigned long length(const scenario &s) {
    bool reached_end = false;
    for (unsigned long point = s.every_instruction ? 1 << 10 : 1 << 6;; point *= 2) {
        s.run(s, point, reached_end);
        if (!reached_end) continue;
        unsigned long low = 0, high = point;  // the end is reached at high, and not at low
        while (high - low > 1) {
            unsigned long middle = (low + high) / 2;
            reached_end = false;
            s.run(s, middle, reached_end);
            (reached_end ? high : low) = middle;
        }
        return high;
    }
}

// Every one of so many points, or as many as asked for, spread out.
unsigned long run(const scenario &s, unsigned long sample, bool &good) {
    if (s.slow && sample != 0) sample = (sample + 4) / 5;
    unsigned long points = length(s), killed = 0;
    unsigned long count = sample != 0 && sample < points ? sample : points;
    for (unsigned long i = 0; i < count; ++i, ++killed) {
        unsigned long point = i * points / count;
        if (isatty(2)) fmt::print(stderr, "\r\033[K{}: {} of {} points", s.name, i, count);
        bool reached_end = false;
        try {
            s.run(s, point, reached_end);
        } catch (const std::exception &e) {
            good = false;
            if (isatty(2)) fmt::print(stderr, "\r\033[K");
            fmt::print("{}, killed at point {} of {}: {}\n", s.name, point, points, e.what());
        }
    }
    if (isatty(2)) fmt::print(stderr, "\r\033[K");
    fmt::print("{:>6} of {:>6} {:<14} {}\n", killed, points, s.every_instruction ? "instructions" : "visible steps",
               s.name);
    std::fflush(stdout);
    return killed;
}

}  // namespace

int main(int argc, char **argv) {
    CLI::App app{"Kills senders and receivers at every instruction, and looks at the survivor"};
    std::string role;
    unsigned long sample = 0;
    app.add_option("--role", role, "")->group("");  // what it executes itself with
    app.add_option("--sample", sample, "only so many points of each kind, spread out (all)");
    CLI11_PARSE(app, argc, argv);
    try {
        if (!role.empty()) return play(role);
        own_folder folder;
        bool good = true;
        unsigned long killed = 0;
        for (const scenario &s : scenarios()) killed += run(s, sample, good);
        fmt::print("killed at {} points; {}\n", killed,
                   good ? "the survivor was as it must be each time" : "NOT all good");
        return good ? 0 : 1;
    } catch (const std::exception &e) {
        fmt::print(stderr, "kill_points: {}\n", e.what());
        return std::string_view(e.what()).find("can't be traced") != std::string_view::npos ? 77 : 2;
    }
}
