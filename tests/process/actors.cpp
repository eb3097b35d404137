// Roles that hold one handle and do what the test tells them, line by line: so a test reads as a script of who does
// what. The answers are the results as numbers, or words as in rx::read.
#include <poll.h>
#include <unistd.h>

#include <sstream>

#include "support.hpp"

// As a host's event loop does: until there is something to do, or a signal comes.
template <class Handle>
static std::string wait_in_poll(Handle *h, std::int32_t (*arm)(Handle *), int fd) {
    for (;;) {
        if (arm(h) != 1) return "ready";
        pollfd p{fd, POLLIN, 0};
        if (poll(&p, 1, -1) < 0) return "interrupted";
    }
}

// send FIRST LAST [SIZE] | try TAG NS | fill FIRST [SIZE]: until no more fits | reserve SIZE | poll | end | flush NS
// | close NS | unreleased | exit: without close
ROLE(sender) {
    tx s(me.arg(0));
    me.say("open");
    for (;;) {
        std::istringstream line(me.hear());
        std::string verb;
        std::uint64_t first = 0, last = 0, size = 64;
        std::int64_t time = 0;
        line >> verb;
        if (verb == "send") {
            line >> first >> last;
            if (!(line >> size)) size = 64;
            s.send_all(first, last, size);
            me.say("sent");
        } else if (verb == "try") {
            line >> first >> time;
            me.say(std::to_string(s.send(first, 64, time)));
        } else if (verb == "fill") {
            line >> first;
            if (!(line >> size)) size = 64;
            me.say(std::to_string(s.fill_up(first, size)));
        } else if (verb == "reserve") {
            line >> size;
            void *room;
            me.say(std::to_string(ipc_sender_reserve(s, size, &room, limit_ns)));
        } else if (verb == "poll") {
            me.say(wait_in_poll<ipc_sender>(s, ipc_sender_arm, ipc_sender_fd(s)));
        } else if (verb == "end") {
            me.say(std::to_string(s.end()));
        } else if (verb == "flush") {
            line >> time;
            me.say(std::to_string(ipc_sender_flush(s, time)));
        } else if (verb == "unreleased") {
            me.say(std::to_string(s.stats().unreleased));
        } else if (verb == "close") {
            line >> time;
            me.say(std::to_string(s.close(time)));
            return;
        } else {
            MUST(verb == "exit");
            _exit(0);
        }
    }
}

// read COUNT | hold COUNT | receive NS | poll | release TAG | close | exit
ROLE(receiver) {
    rx r(me.arg(0));
    me.say("open");
    for (;;) {
        std::istringstream line(me.hear());
        std::string verb;
        std::int64_t number = 0;
        line >> verb >> number;
        auto count = static_cast<int>(number);
        if (verb == "read") {
            me.say(r.read(count));
        } else if (verb == "hold") {
            me.say(r.hold(count));
        } else if (verb == "receive") {
            ipc_message m;
            me.say(std::to_string(r.receive(m, number)));
        } else if (verb == "poll") {
            me.say(wait_in_poll<ipc_receiver>(r, ipc_receiver_arm, ipc_receiver_fd(r)));
        } else if (verb == "release") {
            me.say(std::to_string(r.release_held(static_cast<std::uint64_t>(number))));
        } else if (verb == "close") {
            [[maybe_unused]] static ipc_receiver *closed;  // it lives on while messages are held, and is no leak
            closed = r;
            me.say(std::to_string(r.close()));
        } else {
            MUST(verb == "exit");
            _exit(0);
        }
    }
}
