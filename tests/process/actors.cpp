// Roles that hold one handle and do what the test tells them, line by line: so a test reads as a script of who does
// what. The answers are the results as numbers, or words as in rx::read.
#include <unistd.h>

#include <sstream>

#include "support.hpp"

// send FIRST LAST [SIZE] | fill FIRST [SIZE]: until no more fits | end | flush NS | close NS | unreleased | exit
ROLE(sender) {
    tx s(me.arg(0));
    me.say("open");
    for (;;) {
        std::istringstream line(me.hear());
        std::string verb;
        std::uint64_t a = 0, b = 0, size = 64;
        line >> verb;
        if (verb == "send") {
            line >> a >> b;
            if (!(line >> size)) size = 64;
            s.send_all(a, b, size);
            me.say("sent");
        } else if (verb == "fill") {
            line >> a;
            if (!(line >> size)) size = 64;
            me.say(std::to_string(s.fill_up(a, size)));
        } else if (verb == "end") {
            me.say(std::to_string(s.end()));
        } else if (verb == "flush") {
            line >> a;
            me.say(std::to_string(ipc_sender_flush(s, static_cast<std::int64_t>(a))));
        } else if (verb == "unreleased") {
            me.say(std::to_string(s.stats().unreleased));
        } else if (verb == "close") {
            line >> a;
            me.say(std::to_string(s.close(static_cast<std::int64_t>(a))));
            return;
        } else {
            MUST(verb == "exit");
            _exit(0);  // without close: a death
        }
    }
}

// read COUNT | hold COUNT | release TAG | close
ROLE(receiver) {
    rx r(me.arg(0));
    me.say("open");
    for (;;) {
        std::istringstream line(me.hear());
        std::string verb;
        int count = 0;
        line >> verb >> count;
        if (verb == "read") {
            me.say(r.read(count));
        } else if (verb == "hold") {
            me.say(r.hold(count));
        } else if (verb == "release") {
            me.say(std::to_string(r.release_held(static_cast<std::uint64_t>(count))));
        } else if (verb == "close") {
            me.say(std::to_string(r.close()));
        } else {
            MUST(verb == "exit");
            _exit(0);
        }
    }
}
