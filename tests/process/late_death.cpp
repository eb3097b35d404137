// A receiver dies and its successor opens after a sender has looked at its events, and before it lists the folder: it
// must hear of the death before it places the newcomer, which else would start behind all that the dead one had not
// got.
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <utility>

#include "support.hpp"

static std::function<void()> before_listing;

// The library's, too: what a program defines comes before libc.
extern "C" ssize_t getdents64(int fd, void *buffer, size_t size) {
    if (auto f = std::exchange(before_listing, nullptr)) f();
    return syscall(SYS_getdents64, fd, buffer, size);
}

static const std::string url = "shm://t";

TEST_CASE_FIXTURE(scratch,
                  "a successor that comes while the sender looks for newcomers gets all that was not released") {
    somebody_was_killed(url);
    child first = receiver(url);
    tx s(url);
    s.await_links(1);
    s.send_all(1, 10);
    CHECK(first.ask("hold 5") == "1-5");
    bool killed = false;
    std::optional<child> second;
    SUBCASE("of one that was killed") { killed = true; }
    SUBCASE("of one that has closed"){} {
        child knocks = receiver(url);  // so that the sender looks for newcomers
        knocks.ask("close");
        knocks.say("exit");
        knocks.done();
    }
    before_listing = [&] {
        if (killed) {
            first.kill();
        } else {
            for (int tag = 1; tag <= 5; ++tag) first.ask("release " + std::to_string(tag));
            first.ask("close");
            first.say("exit");
            first.done();
        }
        second.emplace(receiver(url));
    };
    s.stats();
    REQUIRE(second);
    CHECK(second->ask(killed ? "read 10" : "read 5") == (killed ? "1-5* 6-10" : "6-10"));
}
