// Finding each other through the folder: in any order, many at once, after crashes, and when the folder's names are
// deleted under way.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "support.hpp"

namespace fs = std::filesystem;

static const std::string url = "shm://t";

// ---- Many at once ---------------------------------------------------------------------------------------------------

ROLE(meets_receivers) {
    me.hear();
    tx s(url);
    auto others = static_cast<std::uint64_t>(me.number(0));
    MUST(eventually([&] { return s.stats().links == others; }));
    me.say("met");
    me.hear();
}

ROLE(meets_senders) {
    me.hear();
    rx r(url);
    auto others = static_cast<std::uint64_t>(me.number(0));
    MUST(eventually([&] { return r.stats().links == others; }));
    me.say("met");
    me.hear();
}

TEST_CASE_FIXTURE(scratch, "many that open at the same moment all meet, also among the sockets of the dead") {
    somebody_was_killed(url);
    for (int round = 0; round < 5; ++round) {
        std::vector<child> all;
        for (int i = 0; i < 8; ++i) all.push_back(start(i % 2 ? "meets_senders" : "meets_receivers", {"4"}));
        for (child &c : all) c.say("go");
        for (child &c : all) c.expect("met");
        for (child &c : all) {
            if (round % 2)
                c.kill();
            else
                c.say("close");
        }
    }
}

// ---- After crashes --------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "the sockets that the killed leave are swept by whoever comes next") {
    {
        child s = sender(), r1 = receiver(), r2 = receiver();
        for (child *c : {&s, &r1, &r2}) c->kill();
    }
    CHECK(sockets(folder()) == 3);
    {
        child r = receiver();
        CHECK(sockets(folder()) == 1);
        r.kill();
    }
    child s = sender();
    CHECK(sockets(folder()) == 1);
}

TEST_CASE_FIXTURE(scratch, "a sender whose receiver is killed sweeps its socket") {
    child s = sender(), r = receiver();
    s.ask("send 1 1");
    r.kill();
    CHECK(sockets(folder()) == 2);
    s.ask("unreleased");
    CHECK(sockets(folder()) == 1);
}

TEST_CASE_FIXTURE(scratch, "twenty rounds of kill -9 on both sides leave nothing, and each round works") {
    for (int round = 0; round < 20; ++round) {
        child first = round % 2 ? sender() : receiver();
        child second = round % 2 ? receiver() : sender();
        child &s = round % 2 ? first : second, &r = round % 2 ? second : first;
        s.ask("send 1 10");
        CHECK(r.ask("hold 5") == "1-5");
        CHECK(sockets(folder()) == 2);
        first.kill();
        second.kill();
    }
    CHECK(sockets(folder()) == 2);
    { rx sweeps; }
    { tx sweeps; }
    CHECK(sockets(folder()) == 0);
    CHECK(fs::is_empty(folder()));
}

TEST_CASE_FIXTURE(scratch, "the living are not taken for dead, whatever they do not do") {
    child stopped_receiver = receiver(), stopped_sender = sender();
    stopped_receiver.stop();
    stopped_sender.stop();
    for (int i = 0; i < 20; ++i) {
        tx s;
        rx r;
        CHECK(sockets(folder()) == 4);
    }
    stopped_receiver.cont();
    stopped_sender.cont();
    CHECK(sockets(folder()) == 2);
    stopped_sender.ask("send 1 1");
    std::string heard = stopped_receiver.ask("read 21");  // and 20 ends
    CHECK(heard.find('1') != heard.npos);
}

// As a receiver has it between bind and listen.
static int half_made(const std::string &name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(name.size() < sizeof address.sun_path);
    name.copy(address.sun_path, name.size());
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
    return fd;
}

TEST_CASE_FIXTURE(scratch, "a half-made name is swept once its owner is dead, and not before") {
    { rx makes_the_folder; }
    fs::create_directory(folder() + "/t");
    fs::permissions(folder() + "/t", fs::perms::owner_all);
    std::string dead = folder() + "/t/.new-0000000000000001", alive = folder() + "/t/.new-0000000000000002";
    close(half_made(dead));
    int owner = half_made(alive);
    rx r;
    CHECK_FALSE(fs::exists(dead));
    CHECK(fs::exists(alive));
    close(owner);
    fs::remove(alive);
}

// ---- Deleted under way ----------------------------------------------------------------------------------------------

// As a cleaner does, who does not mind if somebody makes names in it meanwhile.
static void delete_folder(const std::string &path) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
}

// A pair at work, and whether both a new receiver and a new sender find it.
static void newcomers_find(scratch &here, child &s, child &r, std::uint64_t next) {
    std::string a = std::to_string(next), b = std::to_string(next + 1), c = std::to_string(next + 2);
    s.ask("send " + a + " " + a);
    CHECK(r.ask("read 1") == a);
    child new_receiver = here.receiver();
    s.ask("unreleased");
    s.ask("send " + b + " " + b);
    CHECK(r.ask("read 1") == b);
    CHECK(new_receiver.ask("read 1") == b);
    child new_sender = here.sender();
    new_sender.ask("send " + c + " " + c);
    CHECK(r.ask("read 1") == c);
    CHECK(new_receiver.ask("read 1") == c);
    new_sender.ask("close 0");
    CHECK(r.ask("read 1") == "end");
}

static std::size_t names_of(const std::string &folder, const std::string &prefix) {
    std::size_t count = 0;
    std::error_code gone;
    for (auto &entry : fs::directory_iterator(folder + "/t", gone))
        count += entry.path().filename().string().starts_with(prefix);
    return count;
}

static void delete_under_way(scratch &here, const std::function<void()> &remove) {
    child s = here.sender(), r = here.receiver();
    s.ask("send 1 1");
    CHECK(r.ask("read 1") == "1");
    for (std::uint64_t round = 0; round < 3; ++round) {
        std::uint64_t next = 10 * (round + 1);
        r.say("read 1");
        REQUIRE(eventually([&] { return r.sleeps(); }));
        remove();
        // The receiver sleeps, and makes its name again all the same; the sender does when it calls.
        CHECK(eventually([&] { return names_of(here.folder(), "r") == 1; }));
        s.ask("send " + std::to_string(next) + " " + std::to_string(next));
        r.expect(std::to_string(next));
        s.ask("unreleased");
        CHECK(names_of(here.folder(), "s") == 1);
        newcomers_find(here, s, r, next + 1);
    }
}

TEST_CASE_FIXTURE(scratch, "the channel's folder is deleted under way: links go on, and newcomers find it") {
    delete_under_way(*this, [&] { delete_folder(folder() + "/t"); });
}
TEST_CASE_FIXTURE(scratch, "the runtime folder is deleted under way: links go on, and newcomers find it") {
    delete_under_way(*this, [&] { delete_folder(folder()); });
}
TEST_CASE_FIXTURE(scratch, "a receiver's socket is deleted under way: links go on, and newcomers find it") {
    delete_under_way(*this, [&] { delete_sockets("r"); });
}
TEST_CASE_FIXTURE(scratch, "a sender's socket is deleted under way: links go on, and newcomers find it") {
    delete_under_way(*this, [&] { delete_sockets("s"); });
}

TEST_CASE_FIXTURE(scratch, "a sender that waits for room makes its deleted name again, and serves a newcomer") {
    child s = sender("shm://t?capacity=64KiB"), r = receiver();
    std::string sent = s.ask("fill 1");
    CHECK(r.ask("hold " + sent) == "1-" + sent);
    s.say("try 0 -1");
    r.say("read 1");
    REQUIRE(eventually([&] { return s.sleeps() && r.sleeps(); }));
    delete_folder(folder() + "/t");
    CHECK(eventually([&] { return sockets(folder()) == 2; }));
    child r2 = receiver();
    CHECK(r.interrupt() == ipc_strerror(-EINTR));
    for (int tag = 1; tag <= std::stoi(sent); ++tag) CHECK(r.ask("release " + std::to_string(tag)) == "0");
    r2.say("read 1");  // until it looks at its hello, it gates
    s.expect("0");
    CHECK(r.ask("read 1") == "0");
    r2.expect("0");
}

TEST_CASE_FIXTURE(scratch, "a sender whose name is deleted before its receiver looks makes it again when that one does") {
    child s = sender("shm://t?capacity=64KiB"), r = receiver();
    std::string sent = s.ask("fill 1");
    s.say("try 0 -1");
    REQUIRE(eventually([&] { return s.sleeps(); }));
    delete_sockets("s");
    CHECK(r.ask("hold 1") == "1");
    CHECK(eventually([&] { return names_of(folder(), "s") == 1; }));
    child r2 = receiver();
    CHECK(r2.ask("receive 0") == std::to_string(-EAGAIN));
}

TEST_CASE_FIXTURE(scratch, "a sender that waits for its first receiver makes its deleted name again, time and again") {
    child s = sender();
    s.ask("send 1 3");
    s.say("flush -1");
    for (int i = 0; i < 3; ++i) {
        REQUIRE(eventually([&] { return s.sleeps(); }));
        delete_folder(folder() + "/t");
        REQUIRE(eventually([&] { return names_of(folder(), "s") == 1; }));
    }
    rx r;
    CHECK(r.read(3) == "1-3");
    s.expect("0");
}

TEST_CASE_FIXTURE(scratch, "a sender that begins to wait finds the receiver that came while its name was deleted") {
    child s = sender();
    s.ask("send 1 3");
    delete_folder(folder() + "/t");
    child r = receiver();
    s.say("flush -1");
    CHECK(r.ask("read 3") == "1-3");
    s.expect("0");
}

TEST_CASE_FIXTURE(scratch, "a sender that sends now and then to nobody makes its deleted name again") {
    child s = sender();
    s.ask("send 1 100");
    delete_folder(folder() + "/t");
    rx r;
    REQUIRE(eventually([&] {
        s.ask("send 1 1");
        return r.stats().links == 1;
    }));
    CHECK(r.read(100) == "1-100");
}

TEST_CASE_FIXTURE(scratch, "a sender that sends now and then to a stopped receiver makes its deleted name again") {
    child s = sender(), r = receiver();
    s.ask("send 1 1");
    CHECK(r.ask("read 1") == "1");
    r.stop();
    delete_folder(folder() + "/t");
    rx r2;
    CHECK(eventually([&] {
        s.ask("send 2 2");
        return r2.stats().links == 1;
    }));
    r.cont();
}

TEST_CASE_FIXTURE(scratch, "an armed sender that lost its last receiver watches its name again") {
    tx s;
    child r = receiver();
    s.send(1);
    CHECK(r.ask("read 1") == "1");
    while (ipc_sender_arm(s) == 0) {
    }
    r.kill();
    pollfd p{ipc_sender_fd(s), POLLIN, 0};
    auto ready = [&] { return poll(&p, 1, 1) == 1; };
    REQUIRE(eventually(ready));
    REQUIRE(eventually([&] { return ipc_sender_arm(s) == 1 && s.stats().links == 0 && ipc_sender_arm(s) == 1; }));
    delete_folder(folder() + "/t");
    REQUIRE(eventually(ready));
    while (ipc_sender_arm(s) == 0) {
    }
    CHECK(names_of(folder(), "s") == 1);
    s.send(2);
    rx r2;
    REQUIRE(eventually(ready));
    while (ipc_sender_arm(s) == 0) {
    }
    CHECK(r2.read(1) == "2");
}
