// What the kernel writes into a core of a process that has a ring: with the usual filter all shared memory that has no
// name any more. A ring is mapped twice in a row, and may be most of what a process has.
#include <fstream>
#include <sstream>

#include "support.hpp"

namespace {

// Bytes of the mappings of a kind of memory, and how many of them go into a core.
struct extent {
    std::uint64_t mapped = 0, dumped = 0;
};

extent extent_of(const std::string &name) {
    extent all;
    std::ifstream maps("/proc/self/smaps");
    std::uint64_t bytes = 0;
    for (std::string line; std::getline(maps, line);) {
        std::uint64_t from, to;
        char dash;
        std::istringstream words(line);
        if (words >> std::hex >> from >> dash >> to && dash == '-')
            bytes = line.find("/memfd:" + name) != line.npos ? to - from : 0;
        if (!line.starts_with("VmFlags:")) continue;
        all.mapped += bytes;
        if (line.find(" dd") == line.npos) all.dumped += bytes;
    }
    return all;
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a core of a sender, or of a receiver, has each ring once") {
    constexpr std::uint64_t ring = 1 << 20;
    tx s;
    extent sender = extent_of("ipc-ring");
    CHECK(sender.mapped == 2 * ring);
    CHECK(sender.dumped == ring);
    rx r;
    s.send(1);
    CHECK(r.read(1) == "1");
    extent both = extent_of("ipc-ring");
    CHECK(both.mapped == 4 * ring);
    CHECK(both.dumped == 2 * ring);
}
