// Peers that never stop. They fill every queue there is, and this user's descriptors in flight with them, so that other
// tests would have to wait.
#include <sys/socket.h>

#include <cerrno>

#include "forge.hpp"

using namespace forge;

#ifndef __SANITIZE_THREAD__  // whose memory for what it knows of each descriptor runs out
// Connects as fast as it can, and greets every other time.
ROLE(connects_without_end) {
    forged_sender f;
    for (bool greets = false;; greets = !greets) {
        while (!f.connect(me.arg(0))) doze();  // its queue is full
        if (greets) f.greet();
        if (!greets) me.say("once more");
    }
}

TEST_CASE_FIXTURE(visited, "peers that connect and leave without end keep nobody up") {
    child noise = start("connects_without_end", {channel}), more = start("connects_without_end", {channel});
    for (int i = 0; i < 50; ++i) {
        // Looked at meanwhile: what is not taken in fills what a user may have in flight, and then nobody connects.
        for (child *c : {&noise, &more}) {
            REQUIRE(eventually([&] {
                passes(1);
                return !c->quiet();
            }));
            c->expect("once more");
        }
        passes(5);
    }
    noise.kill();
    more.kill();
    CHECK(eventually([&] {
        passes(1);
        return r.stats().links == 1;
    }));
}
#endif

// Knocks without end, with all that fits into a datagram.
ROLE(knocks_without_end) {
    descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    forged_sender f;
    std::vector<std::byte> bytes(1000);
    sockaddr_un a = address_of(me.arg(0) + "/" + names(me.arg(0), "s").at(0));
    MUST(connect(socket.get(), reinterpret_cast<sockaddr *>(&a), sizeof a) == 0);
    me.say("begun");
    while (say(socket, bytes, f.fds) != -ECONNREFUSED) {
    }
}

TEST_CASE_FIXTURE(visited, "whoever knocks at a sender without end does not keep it up") {
    child noise = start("knocks_without_end", {channel}), more = start("knocks_without_end", {channel});
    noise.expect("begun");
    more.expect("begun");
    std::size_t before = names("/proc/self/fd", "").size();
    passes(500);
    CHECK(names("/proc/self/fd", "").size() == before);
    noise.kill();
    more.kill();
}

// Says that it has moved, without end.
ROLE(moves_without_end) {
    forged_receiver f(me.arg(0));
    MUST(eventually([&] { return f.take_hello(); }));
    MUST(f.answer() == 0);
    me.say("linked");
    layout::notice n{{layout::notice_magic, layout::version, sizeof n}, layout::notice_kind::moved, 0};
    for (;;) {
        say(f.socket, n);
        f.words().released.store(f.hello.start);
    }
}

TEST_CASE_FIXTURE(visited, "a receiver that talks without end keeps no sender up") {
    child noise = start("moves_without_end", {channel});
    s.await_links(2);
    noise.expect("linked");
    passes(60);  // no more: the noise releases nothing
    noise.kill();
    somebody_was_killed("shm://t");
    s.await_links(1);
    passes(200);
}
