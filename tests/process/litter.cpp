// What killed processes leave in the runtime folder goes with whoever opens a handle next, on whichever channel.
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support.hpp"

namespace fs = std::filesystem;

TEST_CASE_FIXTURE(scratch, "what killed processes left on any channel goes with the next handle that opens") {
    {
        child s = sender("shm://a"), r = receiver("shm://b");
        s.kill();
        r.kill();
    }
    REQUIRE(sockets(folder()) == 2);
    tx next("shm://c");
    CHECK(sockets(folder()) == 1);
    CHECK(!fs::exists(folder() + "/a"));
    CHECK(!fs::exists(folder() + "/b"));
}

TEST_CASE_FIXTURE(scratch, "among hundreds of channels what killed processes left goes as others open handles") {
    {
        child r = receiver("shm://killed");
        r.kill();
    }
    auto others = [](int n) { return std::to_string(n) + ".channel"; };
    for (int n = 0; n < 200; ++n) {
        std::string channel = folder() + "/" + others(n);
        REQUIRE(mkdir(channel.c_str(), 0700) == 0);
        std::ofstream(channel + "/lives") << "x";
    }
    CHECK(eventually([&] {
        tx next("shm://next");
        return !fs::exists(folder() + "/killed");
    }));
    for (int n = 0; n < 200; ++n) fs::remove_all(folder() + "/" + others(n));
}

TEST_CASE_FIXTURE(scratch, "a handle that lives is not woken by who looks for the dead, and keeps its name") {
    rx r("shm://r");
    tx s("shm://s");
    pollfd waits[] = {{ipc_receiver_fd(r), POLLIN, 0}, {ipc_sender_fd(s), POLLIN, 0}};
    do {
        REQUIRE(ipc_receiver_arm(r) == 1);
        REQUIRE(ipc_sender_arm(s) == 1);
    } while (poll(waits, 2, 0) != 0);  // it may be ready for nothing once
    for (int n = 0; n < 10; ++n) {
        tx other("shm://other");
        rx another("shm://other");
    }
    CHECK(poll(waits, 2, 0) == 0);
    CHECK(sockets(folder()) == 2);
}

TEST_CASE_FIXTURE(scratch, "who looks for the dead takes away nothing that is not of the library") {
    std::string theirs = folder() + "/theirs", empty = folder() + "/empty";
    REQUIRE(mkdir(theirs.c_str(), 0700) == 0);
    REQUIRE(mkdir(empty.c_str(), 0755) == 0);
    std::ofstream(theirs + "/notes") << "x";
    std::ofstream(folder() + "/file") << "x";
    { tx next("shm://next"); }
    CHECK(fs::exists(theirs + "/notes"));
    CHECK(fs::exists(empty));
    CHECK(fs::exists(folder() + "/file"));
    for (const std::string &path : {theirs, empty, folder() + "/file"}) fs::remove_all(path);
}

TEST_CASE_FIXTURE(scratch, "handles that open while others look for the dead all open, and are found") {
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            std::string url = "shm://t" + std::to_string(t);
            for (int n = 0; n < 50; ++n) {
                ipc_sender *s;
                ipc_receiver *r;
                wrong += ipc_sender_open(&s, url.c_str(), nullptr, nullptr, 0) != 0;
                wrong += ipc_receiver_open(&r, url.c_str(), nullptr, nullptr, 0) != 0;
                ipc_message m = empty_message();
                wrong += ipc_sender_send(s, "x", 1, 0, limit_ns) != 0;
                wrong += ipc_receiver_receive(r, &m, limit_ns) != IPC_MESSAGE || ipc_receiver_release(r, &m) != 0;
                ipc_receiver_close(r);
                ipc_sender_close(s, 0);
            }
        });
    for (std::thread &t : threads) t.join();
    CHECK(wrong == 0);
}
