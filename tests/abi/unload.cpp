// dlclose takes the library away, whole: Julia reloads it for as long as it runs.
#include <dirent.h>
#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "library.hpp"

namespace {

// Lines of /proc/self/maps that name the library, or memory of ours.
std::string ours_mapped() {
    std::string found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.find("/libipc.so") != line.npos || line.find("memfd:ipc") != line.npos) found += "\n" + line;
    return found;
}

std::size_t mapped_pages() {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages;
}

std::size_t heap_bytes() {
    struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

int open_fds() {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(folder)) ++count;
    closedir(folder);
    return count;
}

}  // namespace

TEST_CASE("a hundred times loaded, used and unloaded, nothing stays: no mapping, no descriptor, no memory") {
    std::size_t heap = 0, pages = 0;
    int fds = open_fds();
    for (int i = 0; i < 110; ++i) {
        {
            library ipc;
            CHECK(ours_mapped() != "");
            use_everything(ipc);
        }
        REQUIRE(ours_mapped() == "");
        REQUIRE(open_fds() == fds);
        if (i == 9) {  // by now the heap has what the C library keeps for itself
            heap = heap_bytes();
            pages = mapped_pages();
        }
    }
    // The least that the C library gives is 32 bytes: less than that in each of a hundred rounds is what it keeps.
    CHECK(heap_bytes() < heap + 100 * 32);
    CHECK(mapped_pages() <= pages + 16);
}
