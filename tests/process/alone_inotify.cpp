// inotify, of whose instances a user has few. Alone, since the test takes all that are left to count them.
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "support.hpp"

// So many receivers in one process, as in a host's event loop. They take nothing: it is about being found.
ROLE(many_receivers) {
    std::vector<rx> all;
    for (long i = 0; i < me.number(0); ++i) all.emplace_back();
    me.say("open");
    std::vector<pollfd> fds;
    for (rx &r : all) fds.push_back({ipc_receiver_fd(r), POLLIN, 0});
    fds.push_back({STDIN_FILENO, POLLIN, 0});
    while (fds.back().revents == 0) {
        bool wait = true;
        for (rx &r : all) wait &= ipc_receiver_arm(r) == 1;
        poll(fds.data(), fds.size(), wait ? -1 : 0);
    }
}

static int free_instances() {
    std::vector<int> all;
    for (int one; (one = inotify_init1(IN_CLOEXEC)) >= 0;) all.push_back(one);
    for (int one : all) ::close(one);
    return static_cast<int>(all.size());
}

TEST_CASE_FIXTURE(scratch,
                  "a hundred and thirty receivers leave most inotify instances to others, and are found again") {
    int before = free_instances();
    std::vector<child> all;
    for (int i = 0; i < 5; ++i) all.push_back(start("many_receivers", {"26"}));
    for (child &c : all) c.expect("open");
    CHECK(before - free_instances() <= 40);  // 32; some that came at the same moment may share a place
    delete_sockets("r");
    tx s;
    s.await_links(5 * 26);
    for (child &c : all) c.say("end");
    for (child &c : all) c.done();
}
