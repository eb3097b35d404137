// Handles that come and go at the same time on one channel, each perhaps the last in its folder.
#include <dirent.h>
#include <malloc.h>

#include <fstream>

#include "support.hpp"

ROLE(comes_and_goes) {
    for (long i = me.number(0); i > 0; --i) {
        if (i % 2) {
            tx s;
            MUST(s.send(1) == 0);
        } else {
            rx r;
        }
    }
}

TEST_CASE_FIXTURE(scratch, "handles that come and go at once never find the channel's folder in the way") {
    std::vector<child> all;
    for (int i = 0; i < 4; ++i) all.push_back(start("comes_and_goes", {SLOWER > 1 ? "50" : "150"}));
    for (child &c : all) c.done();
    CHECK(sockets(folder()) == 0);
}

namespace {

// What this process has of each kind of thing that could grow.
struct holdings {
    std::size_t fds = 0, mappings = 0, bytes = 0;
    holdings() {
        DIR *folder = opendir("/proc/self/fd");
        while (readdir(folder)) ++fds;
        closedir(folder);
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) mappings += line.find("memfd:ipc") != line.npos;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        bytes = mallinfo2().uordblks;  // sanitizers bring an allocator of their own
#endif
    }
};

// Repeats what is to leave nothing, and looks after a few rounds and after many.
template <class Round>
void stays_flat(Round round) {
    for (int i = 0; i < 10; ++i) round();
    holdings before;
    for (int i = 0; i < 60; ++i) round();
    holdings after;
    CHECK(after.fds == before.fds);
    CHECK(after.mappings == before.mappings);
    CHECK(after.bytes < before.bytes + 2048);
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a receiver does not grow with the senders that come and go") {
    rx r;
    stays_flat([&] {
        tx s("shm://t?capacity=64KiB");
        REQUIRE(s.send(1) == 0);
        CHECK(r.read(1) == "1");
        s.close();
        CHECK(r.read(1) == "end");
    });
}

TEST_CASE_FIXTURE(scratch, "a sender does not grow with the receivers that come and go") {
    tx s("shm://t?capacity=64KiB");
    stays_flat([&] {
        rx r;
        s.await_links(1);
        REQUIRE(s.send(1) == 0);
        CHECK(r.read(1) == "1");
        r.close();
        s.await_links(0);
    });
}
