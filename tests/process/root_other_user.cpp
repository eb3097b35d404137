// Two users on one channel: neither gets anything of the other's. The folder's mode keeps them apart; where that is
// undone after open, the kernel's word on who the peer is does.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "forge.hpp"
#include "refusal.hpp"

using namespace forge;

namespace {

constexpr uid_t first_user = 45001, second_user = 45002;

void become(uid_t user) { MUST(setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0); }

// A runtime folder of the first user.
struct two_users : scratch {
    std::string channel = folder() + "/t";
    bool root = geteuid() == 0;
    two_users() {
        if (!root)
            MESSAGE("skipped: acting as two users needs root");
        else
            REQUIRE(chown(folder().c_str(), first_user, first_user) == 0);
    }
    // Takes away, or gives back, what keeps the second user out.
    void set_modes(mode_t mode) {
        REQUIRE(chmod(folder().c_str(), mode) == 0);
        REQUIRE(chmod(channel.c_str(), mode) == 0);
        for (auto &name : names(channel, "")) REQUIRE(chmod((channel + "/" + name).c_str(), mode) == 0);
    }
};

}  // namespace

ROLE(receiver_of_first_user) {
    become(first_user);
    rx r;
    me.say("open");
    me.hear();
    me.say(std::to_string(r.stats().refused) + " refused, " + std::to_string(r.stats().links) + " linked");
    me.say(r.read(2));
}

ROLE(sender_of_first_user) {
    become(first_user);
    tx s;
    me.say("open");
    me.hear();
    s.stats();
    me.say(std::to_string(s.stats().refused) + " refused, " + std::to_string(s.stats().links) + " linked");
    me.say(std::to_string(s.send(7)));
    me.say(std::to_string(s.close(limit_ns)));
}

ROLE(streams_of_first_user) {
    become(first_user);
    rx pipe("pipe://" + me.arg(0) + "/fifo"), socket("unix://" + me.arg(0) + "/socket");
    me.say("open");
    me.hear();
    MUST(eventually([&] { return socket.read(1, briefly) != "nothing" || socket.stats().refused != 0; }));
    me.say(std::to_string(socket.stats().messages) + " came, " + std::to_string(socket.stats().refused) + " refused");
    me.say(pipe.read(1, briefly));
}

ROLE(sends_as_second_user) {
    become(second_user);
    refusal r = try_sender("pipe://" + me.arg(0) + "/fifo");
    me.say(std::to_string(r.code));
    r = try_sender("unix://" + me.arg(0) + "/socket");
    me.say(std::to_string(r.code));
    me.hear();  // the modes are everybody's now
    for (const refusal &no :
         {try_sender("pipe://" + me.arg(0) + "/fifo"), try_receiver("pipe://" + me.arg(0) + "/fifo")})
        MUST(no.code == -EACCES && no.says("belongs to user 45001"));
    r = try_sender("unix://" + me.arg(0) + "/socket");
    me.say(std::to_string(r.code) + " " + r.words);
}

ROLE(opens_as_second_user) {
    become(second_user);
    for (const refusal &r : {try_sender("shm://t"), try_receiver("shm://t")})
        me.say(std::to_string(r.code) + " " + r.words);
}

ROLE(forged_sender_of_second_user) {
    become(second_user);
    forged_sender f;
    f.connect(me.arg(0));
    MUST(f.greet() == 0);
    me.say("greeted");
    me.hear();
    auto a = f.answer();
    MUST(a && a->refused == 1);
    MUST(f.hung_up());
    me.say(a->words);
}

ROLE(forged_receiver_of_second_user) {
    become(second_user);
    forged_receiver f(me.arg(0));
    me.say("open");
    me.hear();
    me.say(f.take_hello() ? "got a ring" : "got nothing");
    me.hear();
}

TEST_CASE_FIXTURE(two_users, "another user's runtime folder is refused, and the words say whose it is") {
    if (!root) return;
    child c = start("opens_as_second_user");
    for (int i = 0; i < 2; ++i) {
        std::string words = c.hear();
        CAPTURE(words);
        CHECK(words.starts_with(std::to_string(-EPERM) + " "));
        CHECK(words.find("belongs to user 45001, and this process runs as user 45002") != words.npos);
    }
    c.done();
    // Root may do all, and still is not the user.
    refusal s = try_sender("shm://t");
    CAPTURE(s);
    CHECK(s.code == -EPERM);
    CHECK(s.says("belongs to user 45001, and this process runs as user 0"));
}

TEST_CASE_FIXTURE(two_users, "a receiver refuses another user's sender in words, and its own user's is heard") {
    if (!root) return;
    child r = start("receiver_of_first_user");
    r.expect("open");
    set_modes(0777);
    child theirs = start("forged_sender_of_second_user", {channel});
    theirs.expect("greeted");
    set_modes(0700);
    child own = start("sender_of_first_user");
    own.expect("open");
    CHECK(r.ask("look") == "1 refused, 1 linked");
    CHECK(theirs.ask("look") == "this receiver belongs to user 45001, and takes no sender of user 45002");
    CHECK(own.ask("look") == "0 refused, 1 linked");
    own.expect("0");
    r.expect("7 end");
    own.expect("0");
    own.done();
    r.done();
    theirs.done();
}

TEST_CASE_FIXTURE(two_users, "a sender gives another user's receiver nothing, counts it, and serves its own user's") {
    if (!root) return;
    child own = start("sender_of_first_user");
    own.expect("open");
    set_modes(0777);
    child theirs = start("forged_receiver_of_second_user", {channel});
    theirs.expect("open");
    // The mode of its socket may keep our user out, or be changed any time; if not, the kernel's word on its owner
    // does.
    std::string socket = channel + "/" + names(channel, "r").at(0);
    set_modes(0700);
    std::string look;
    SUBCASE("its socket is its own") {
        REQUIRE(chmod(socket.c_str(), 0700) == 0);
        look = "0 refused, 1 linked";
    }
    SUBCASE("its socket is everybody's") {
        REQUIRE(chmod(socket.c_str(), 0777) == 0);
        look = "1 refused, 1 linked";
    }
    child r = start("receiver_of_first_user");
    r.expect("open");
    CHECK(own.ask("look") == look);
    own.expect("0");
    CHECK(theirs.ask("look") == "got nothing");
    set_modes(0777);
    theirs.say("go");
    theirs.done();
    CHECK(r.ask("look") == "0 refused, 1 linked");
    r.expect("7 end");
    own.expect("0");
    own.done();
    r.done();
}

TEST_CASE_FIXTURE(two_users, "another user is kept out of a FIFO and a Unix socket, whatever their modes are") {
    if (!root) return;
    std::string streams = folder() + "/streams";
    REQUIRE(mkdir(streams.c_str(), 0755) == 0);
    REQUIRE(chown(streams.c_str(), first_user, first_user) == 0);
    REQUIRE(chmod(folder().c_str(), 0755) == 0);
    {
        child r = start("streams_of_first_user", {streams});
        r.expect("open");
        child theirs = start("sends_as_second_user", {streams});
        theirs.expect(std::to_string(-EACCES));
        theirs.expect(std::to_string(-EACCES));
        for (auto name : {"/socket", "/fifo"}) REQUIRE(chmod((streams + name).c_str(), 0777) == 0);
        theirs.say("go");
        std::string words = theirs.hear();
        CAPTURE(words);
        CHECK(words.starts_with(std::to_string(-EACCES) + " "));
        CHECK(words.find("belongs to user 45001, and takes nothing of user 45002") != words.npos);
        CHECK(r.ask("look") == "0 came, 1 refused");
        r.expect("nothing");
        theirs.done();
        r.done();
    }
    REQUIRE(chmod(folder().c_str(), 0700) == 0);
    REQUIRE(rmdir(streams.c_str()) == 0);
}
