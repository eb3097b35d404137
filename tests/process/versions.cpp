// Two versions of libipc with another memory layout on one channel: each side is told, in words with both versions, and
// neither reads what it does not know.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

#include "forge.hpp"
#include "refusal.hpp"

using namespace forge;

static const std::string this_version = std::to_string(layout::version);
static const std::string other_version = std::to_string(layout::version + 1);

TEST_CASE_FIXTURE(scratch, "a sender is refused at open where a receiver has another layout, in words with both") {
    forged_receiver other(folder() + "/t", layout::version + 1);
    refusal s = try_sender("shm://t");
    CAPTURE(s);
    CHECK(s.code == IPC_EVERSION);
    CHECK(s.says("layout " + other_version));
    CHECK(s.says("has " + this_version));
    CHECK(s.says("same version of libipc"));
    CHECK(names(folder() + "/t", "s").empty());
}

TEST_CASE_FIXTURE(scratch, "the name of a dead receiver with another layout does not stand in the way, and is swept") {
    std::string channel = folder() + "/t";
    forged_receiver dead(channel, layout::version + 1);
    dead.listener.reset();
    CHECK(names(channel, "r").size() == 1);
    tx s;
    CHECK(names(channel, "r").empty());
}

TEST_CASE_FIXTURE(scratch, "a receiver is refused at open where a sender has another layout, in words with both") {
    descriptor other(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::string channel = folder() + "/t", name = "/s" + other_version + "-000000000000feed.0";
    mkdir(channel.c_str(), 0700);
    sockaddr_un a = address_of(channel + name);
    REQUIRE(bind(other.get(), reinterpret_cast<sockaddr *>(&a), sizeof a) == 0);
    refusal r = try_receiver("shm://t");
    CAPTURE(r);
    CHECK(r.code == IPC_EVERSION);
    CHECK(r.says("layout " + other_version));
    CHECK(r.says("has " + this_version));
    CHECK(names(channel, "r").empty());
    other.reset();  // dead: swept
    CHECK(try_receiver("shm://t").code == 0);
}

TEST_CASE_FIXTURE(scratch, "a receiver opens beside one with another layout: senders of its own version may come") {
    forged_receiver other(folder() + "/t", layout::version + 1);
    rx r;
    CHECK(names(folder() + "/t", "r").size() == 2);
}

TEST_CASE_FIXTURE(visited, "a receiver with another layout that comes later is counted, and not given the ring") {
    {
        forged_receiver other(channel, layout::version + 1);
        passes(10);
        CHECK(s.stats().refused == 1);
        CHECK(s.stats().links == 1);
        CHECK(s.stats().unlinked == 0);
        CHECK(!other.take_hello());
        // However often it knocks.
        forged_receiver another(channel, layout::version + 1);
        CHECK(s.stats().refused == 2);
        passes(200);
        CHECK(s.stats().refused == 2);
    }
    passes(10);
}

TEST_CASE_FIXTURE(visited,
                  "a hello with another layout is refused in words with both, whatever follows its first 16 bytes") {
    for (std::size_t size : {sizeof(layout::preamble), sizeof(layout::hello), sizeof(layout::hello) + 200})
        for (std::size_t fds : {0, 1, 5, 9}) {
            CAPTURE(size);
            CAPTURE(fds);
            forged_sender f;
            f.hello.head.version = layout::version + 1;
            f.hello.head.size = static_cast<std::uint32_t>(size);
            std::vector<std::byte> bytes(size, std::byte{0xee});
            std::memcpy(bytes.data(), &f.hello, sizeof(layout::preamble));
            f.fds.resize(fds, f.ring.file());
            f.connect(channel);
            REQUIRE(say(f.socket, bytes, f.fds) == 0);
            CHECK(r.stats().links == 1);
            auto a = f.answer();
            REQUIRE(a);
            std::string words = a->words;
            CAPTURE(words);
            CHECK(a->refused == 1);
            CHECK(words.find("layout " + other_version) != words.npos);
            CHECK(words.find("has " + this_version) != words.npos);
            CHECK(f.hung_up());
        }
    CHECK(r.stats().refused == 12);
    passes(10);
}

TEST_CASE_FIXTURE(scratch, "the code for another layout has words of its own") {
    CHECK(std::strstr(ipc_strerror(IPC_EVERSION), "another memory layout"));
}
