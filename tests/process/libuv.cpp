// The streams need libuv, which is found at run time: none, another one, and a program that has its own.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "refusal.hpp"
#include "transports.hpp"

static std::vector<std::string> each_url(const std::string &folder) {
    return {"unix://" + folder + "/x", "tcp://127.0.0.1:0", "pipe://" + folder + "/y", "udp://127.0.0.1:0"};
}

// arg(1): what the words have to say.
ROLE(is_refused_streams) {
    for (const std::string &url : each_url(me.arg(0))) {
        refusal r = try_receiver(url);
        MUST(r.code == -EOPNOTSUPP);
        MUST(r.says(me.arg(1)));
    }
    refusal s = try_sender("tcp://127.0.0.1:4000");
    MUST(s.code == -EOPNOTSUPP);
    // Shared memory does not need it.
    rx r;
    tx t;
    MUST(t.send(1) == 0);
    MUST(r.take() == 1);
}

ROLE(sends_over_each_stream) {
    for (const std::string &url : each_url(me.arg(0))) {
        rx r(url);
        tx t(ipc_receiver_url(r));
        MUST(t.send(1) == 0);
        MUST(r.take() == 1);
    }
}

TEST_CASE_FIXTURE(scratch, "a libuv that cannot be loaded is told of in words, and shared memory works without it") {
    std::ofstream(folder() + "/libuv.so.1") << "no library";
    setenv("LD_LIBRARY_PATH", folder().c_str(), 1);
    child without = start("is_refused_streams", {folder(), "need libuv (Debian: libuv1)"});
    unsetenv("LD_LIBRARY_PATH");
    without.done();
    unlink((folder() + "/libuv.so.1").c_str());
}

TEST_CASE_FIXTURE(scratch, "a libuv of another version is refused in words, and shared memory works without it") {
    REQUIRE(symlink(OTHER_LIBUV, (folder() + "/libuv.so.1").c_str()) == 0);
    setenv("LD_LIBRARY_PATH", folder().c_str(), 1);
    child other = start("is_refused_streams", {folder(), "2.0.0-dev"});
    unsetenv("LD_LIBRARY_PATH");
    other.done();
    unlink((folder() + "/libuv.so.1").c_str());
}

TEST_CASE_FIXTURE(scratch, "streams work in a program that has a libuv of its own, and do not call that") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MESSAGE("skipped: a sanitizer wants to be the first library that is loaded");
#else
    setenv("LD_PRELOAD", OTHER_LIBUV, 1);
    child with = start("sends_over_each_stream", {folder()});
    unsetenv("LD_PRELOAD");
    with.done();
#endif
}
