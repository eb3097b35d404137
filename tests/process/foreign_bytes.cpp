// What comes to a receiver's socket and is no hello of a sender: it is refused in words, with no descriptor kept, and
// the receiver and its other senders go on.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "forge.hpp"
#include "lowered_limit.hpp"

using namespace forge;

namespace {

std::size_t open_fds() {
    std::size_t count = 0;
    for (auto &name : names("/proc/self/fd", "")) count += !name.empty();
    return count - 1;
}

struct visited_receiver : visited {
    std::uint64_t refused = 0;

    // The honest sender is heard, no other is linked any more, and so many were refused.
    ~visited_receiver() {
        last_checks([&] {
            CHECK(eventually([&] {
                passes(1);
                return r.stats().links == 1;
            }));
            CHECK(r.stats().refused == refused);
        });
    }
    // The receiver refuses what this sender has said, in these words, and hangs up.
    void is_refused(forged_sender &f, const std::string &part) {
        r.stats();
        ++refused;
        auto a = f.answer();
        REQUIRE(a);
        std::string words(a->words, strnlen(a->words, sizeof a->words));
        CAPTURE(words);
        CHECK(a->head.magic == layout::answer_magic);
        CHECK(a->head.version == layout::version);
        CHECK(a->head.size == sizeof *a);
        CHECK(a->refused == 1);
        CHECK(a->receiver == r.stats().id);
        CHECK(words.find(part) != words.npos);
        CHECK(f.hung_up());
    }
    // A right hello with one thing spoilt.
    void is_refused(const std::function<void(forged_sender &)> &spoil, const std::string &part) {
        std::size_t before = open_fds();
        {
            forged_sender f;
            f.connect(channel);
            spoil(f);
            REQUIRE(f.greet() == 0);
            is_refused(f, part);
        }
        CHECK(open_fds() == before);
    }
    void is_refused(std::span<const std::byte> bytes, const std::string &part) {
        CAPTURE(bytes.size());
        forged_sender f;
        f.connect(channel);
        REQUIRE(say(f.socket, bytes, f.fds) == 0);
        is_refused(f, part);
    }
};

std::span<const std::byte> bytes_of(const std::string &text) { return std::as_bytes(std::span(text)); }

}  // namespace

// ---- Right ----------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver, "a forged sender that keeps to the format is a sender like any other") {
    forged_sender f;
    f.connect(channel);
    REQUIRE(f.greet() == 0);
    f.put_message(77, 1000);
    ipc_message m;
    CHECK(r.take() == 77);
    auto a = f.answer();
    REQUIRE(a);
    CHECK(a->refused == 0);
    CHECK(f.words().released.load() == f.head);
    f.put(layout::frame_word(layout::kind::end, 16, 0), 16);
    CHECK(r.receive(m) == IPC_END);
    CHECK(m.sender == f.hello.sender);
    CHECK(f.hung_up());
}

// ---- Bytes ----------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver, "a browser's greeting is refused in words") {
    is_refused(bytes_of("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n"), "not the first bytes");
    is_refused(bytes_of("x"), "not the first bytes");
    is_refused(bytes_of("ipc"), "not the first bytes");
}

TEST_CASE_FIXTURE(visited_receiver, "random bytes are refused in words") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
        std::vector<std::byte> bytes(1 + random() % 400);
        for (std::byte &b : bytes) b = static_cast<std::byte>(random());
        is_refused(bytes, "not the first bytes");
    }
}

TEST_CASE_FIXTURE(visited_receiver, "a hello that is cut short is refused, wherever it is cut") {
    forged_sender f;
    auto all = std::as_bytes(std::span(&f.hello, 1));
    for (std::size_t size = 1; size < 16; ++size) is_refused(all.first(size), "not the first bytes");
    for (std::size_t size = 16; size < all.size(); ++size)
        is_refused(all.first(size), "has " + std::to_string(size) + " bytes instead of " + std::to_string(all.size()));
}

TEST_CASE_FIXTURE(visited_receiver, "a hello that is too long, or says another size, is refused") {
    forged_sender f;
    for (std::size_t more : {1, 8, 4096}) {
        std::vector<std::byte> bytes(sizeof f.hello + more);
        std::memcpy(bytes.data(), &f.hello, sizeof f.hello);
        is_refused(bytes, "bytes instead of " + std::to_string(sizeof f.hello));
    }
    for (std::uint32_t size : {0, 343, 345, 1 << 30})
        is_refused([&](forged_sender &s) { s.hello.head.size = size; }, "bytes instead of");
}

TEST_CASE_FIXTURE(visited_receiver, "a message without a byte, with or without descriptors, is let go without a word") {
    forged_sender f;
    f.connect(channel);
    std::size_t before = open_fds();
    REQUIRE(say(f.socket, {}, f.fds) == 0);
    r.stats();
    CHECK(f.hung_up());
    CHECK(open_fds() == before);
}

// ---- Descriptors ----------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver, "a hello with too few descriptors is refused") {
    for (std::size_t count = 0; count < layout::hello_fds(1, true); ++count)
        is_refused([&](forged_sender &s) { s.fds.resize(count); },
                   "came with " + std::to_string(count) + " descriptors instead of 4");
}

TEST_CASE_FIXTURE(visited_receiver,
                  "a hello with too many descriptors is refused, and takes no more of ours than a right one") {
    for (std::size_t count : {5, 6, 50})
        is_refused([&](forged_sender &s) { s.fds.resize(count, s.ring.file()); }, "descriptors instead of 4");
    // With no more free than a right one takes, it is told from a hello that waits for descriptors.
    forged_sender f;
    f.connect(channel);
    f.fds.resize(50, f.ring.file());
    REQUIRE(f.greet() == 0);
    few_fds six(6);
    is_refused(f, "descriptors instead of 4");
    CHECK(r.stats().waiting_for_fds == 0);
}

TEST_CASE_FIXTURE(visited_receiver, "a hello with another kind of descriptor in any place is refused") {
    int pipes[2], sockets[2];
    REQUIRE(pipe2(pipes, O_CLOEXEC) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    std::string path = folder() + "/file";
    {
        descriptor pipe_end(pipes[0]), pipe_start(pipes[1]), a(sockets[0]), b(sockets[1]);
        descriptor null(open("/dev/null", O_RDWR | O_CLOEXEC)), directory(open("/", O_RDONLY | O_CLOEXEC));
        descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(ftruncate(file.get(), layout::least_capacity) == 0);
        descriptor place(open(path.c_str(), O_PATH | O_CLOEXEC));
        descriptor timer(static_cast<int>(syscall(SYS_timerfd_create, CLOCK_MONOTONIC, O_CLOEXEC)));
        for (int stranger :
             {null.get(), pipe_end.get(), a.get(), directory.get(), file.get(), place.get(), timer.get()}) {
            is_refused([&](forged_sender &s) { s.fds[layout::first_ring_fd] = stranger; }, "the ring ");
            is_refused([&](forged_sender &s) { s.fds[layout::link_fd] = stranger; }, "the link memory ");
            is_refused([&](forged_sender &s) { s.fds[layout::space_bell_fd] = stranger; }, "not an eventfd");
            is_refused([&](forged_sender &s) { s.fds[layout::first_ring_fd + 1] = stranger; }, "pidfd");
        }
    }
    unlink(path.c_str());
}

TEST_CASE_FIXTURE(visited_receiver, "the right descriptors in another order are refused") {
    for (std::size_t first = 0; first < layout::hello_fds(1, true); ++first)
        for (std::size_t second = first + 1; second < layout::hello_fds(1, true); ++second) {
            CAPTURE(first);
            CAPTURE(second);
            is_refused([&](forged_sender &s) { std::swap(s.fds[first], s.fds[second]); }, "");
        }
}

TEST_CASE_FIXTURE(visited_receiver, "a doorbell that would block whoever rings it is refused") {
    descriptor blocking(eventfd(0, EFD_CLOEXEC));
    is_refused([&](forged_sender &s) { s.fds[layout::space_bell_fd] = blocking.get(); }, "block");
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver, "memory that lacks a seal is refused: it could be taken away") {
    for (int seal : {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE}) {
        CAPTURE(seal);
        memory ring(layout::least_capacity, ring_seals & ~seal);
        is_refused([&](forged_sender &s) { s.fds[layout::first_ring_fd] = ring.file(); }, "the ring is not sealed");
    }
    for (int seal : {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW}) {
        CAPTURE(seal);
        memory link(layout::link_words_bytes + layout::bits_bytes(layout::least_capacity), link_seals & ~seal);
        is_refused([&](forged_sender &s) { s.fds[layout::link_fd] = link.file(); }, "the link memory is not sealed");
    }
}

TEST_CASE_FIXTURE(visited_receiver, "memory of another size than the hello says is refused") {
    for (std::uint64_t bytes : {std::uint64_t{4096}, layout::least_capacity - 4096, layout::least_capacity + 4096}) {
        memory ring(bytes, ring_seals);
        is_refused([&](forged_sender &s) { s.fds[layout::first_ring_fd] = ring.file(); },
                   "the ring has " + std::to_string(bytes) + " bytes");
    }
    for (std::uint64_t bytes : {4096, 12288}) {
        memory other(bytes, link_seals);
        is_refused([&](forged_sender &s) { s.fds[layout::link_fd] = other.file(); },
                   "the link memory has " + std::to_string(bytes) + " bytes");
    }
}

TEST_CASE_FIXTURE(visited_receiver, "a capacity that no ring can have is refused, whatever the memory") {
    for (std::uint64_t capacity :
         {std::uint64_t{0}, std::uint64_t{4096}, layout::least_capacity - 4096, layout::least_capacity + 16,
          layout::most_capacity + 4096, std::uint64_t{1} << 63, ~std::uint64_t{0}})
        is_refused([&](forged_sender &s) { s.hello.ring[0].capacity = capacity; }, "none of ours");
    is_refused([](forged_sender &s) { s.hello.ring[0].capacity = 2 * layout::least_capacity; },
               "the ring has 65536 bytes");
    is_refused([](forged_sender &s) { s.hello.ring[0].capacity = layout::most_capacity; },
               "the link memory has 8192 bytes");
}

TEST_CASE_FIXTURE(visited_receiver, "a link's memory that can't be written is refused") {
    forged_sender f;
    descriptor read_only(open(("/proc/self/fd/" + std::to_string(f.link.file())).c_str(), O_RDONLY | O_CLOEXEC));
    is_refused([&](forged_sender &s) { s.fds[layout::link_fd] = read_only.get(); }, "cannot map");
}

// ---- Positions ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver, "positions that contradict each other are refused") {
    std::vector<std::function<void(layout::hello &)>> spoilers = {
        [](layout::hello &h) { h.oldest = 16; },                              // after start
        [](layout::hello &h) { h.start = 16; },                               // after committed
        [](layout::hello &h) { h.redelivered_until = 16; },                   // after committed
        [](layout::hello &h) { h.committed = layout::least_capacity + 16; },  // more than a ring's worth
        [](layout::hello &h) { h.committed = h.start = layout::least_capacity + 16; },
        [](layout::hello &h) { h.committed = ~std::uint64_t{15}; },
        [](layout::hello &h) { h.committed = h.start = h.oldest = ~std::uint64_t{15}; },  // where counting ends
        [](layout::hello &h) { h.committed = h.start = h.oldest = std::uint64_t{1} << 63; },
        [](layout::hello &h) { h.committed = 8; },  // no frame starts there
        [](layout::hello &h) { h.committed = h.start = h.oldest = 8; },
        [](layout::hello &h) { h.oldest_sequence = 2; },  // after start's
        [](layout::hello &h) { h.sender = 0; },
    };
    for (std::size_t i = 0; i < spoilers.size(); ++i) {
        CAPTURE(i);
        is_refused([&](forged_sender &s) { spoilers[i](s.hello); }, "contradict");
    }
}

// ---- Silence and noise ----------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver,
                  "a peer that connects and says nothing keeps nobody up, and may say its hello late") {
    forged_sender silent;
    silent.connect(channel);
    passes(1);
    CHECK(r.stats().refused == 0);
    CHECK(silent.greet() == 0);
    CHECK(r.stats().links == 2);
    CHECK(silent.answer());
    silent.put_message(5, 64);
    CHECK(r.take() == 5);
    silent.put(layout::frame_word(layout::kind::end, 16, 0), 16);
    ipc_message m;
    CHECK(r.receive(m) == IPC_END);
}

TEST_CASE_FIXTURE(visited_receiver, "a peer that hangs up without a word is forgotten") {
    std::size_t before = open_fds();
    for (int i = 0; i < 100; ++i) {
        forged_sender silent;
        silent.connect(channel);
        if (i % 2) r.stats();
    }
    passes(1);
    r.stats();  // looks, in whatever tick of the clock this is
    CHECK(open_fds() == before);
}

TEST_CASE_FIXTURE(visited_receiver, "any number of silent peers take a bounded number of descriptors") {
    std::vector<descriptor> silent;
    forged_sender f;
    std::size_t before = open_fds(), most = 0;
    for (int i = 0; i < 300; ++i) {
        f.connect(channel);
        silent.push_back(std::move(f.socket));
        r.stats();
        most = std::max(most, open_fds() - before - silent.size());
    }
    CHECK(most <= 64);
    // Newcomers are served beside them.
    f.connect(channel);
    CHECK(f.greet() == 0);
    CHECK(r.stats().links == 2);
    f.put(layout::frame_word(layout::kind::end, 16, 0), 16);
    ipc_message m;
    CHECK(r.receive(m) == IPC_END);
}

TEST_CASE_FIXTURE(visited_receiver, "a sender that says more than its hello is hung up on") {
    forged_sender f;
    f.connect(channel);
    REQUIRE(f.greet() == 0);
    f.put_message(5, 64);
    CHECK(r.take() == 5);
    CHECK(f.answer());
    REQUIRE(say(f.socket, bytes_of("and another thing"), f.fds) == 0);
    ipc_message m;
    CHECK(r.receive(m) == IPC_DIED);
    CHECK(m.sender == f.hello.sender);
    auto no = f.answer();
    CHECK((no && no->refused));
    CHECK(f.hung_up());
    ++refused;
}

// ---- Both at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(visited_receiver,
                  "a right hello with spoilt bytes is refused or taken, and does no harm in either case") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::size_t before = open_fds();
    for (int i = 0; i < 1000; ++i) {
        CAPTURE(i);
        forged_sender f;
        f.connect(channel);
        auto bytes = std::as_writable_bytes(std::span(&f.hello, 1));
        for (auto n = 1 + random() % 4; n > 0; --n) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        if (random() % 4 == 0) f.fds.resize(random() % 8, f.link.file());
        for (auto n = random() % 8; n > 0; --n) f.put_message(n, random() % 2000);
        REQUIRE(f.greet() == 0);
        r.stats();
        auto a = f.answer();
        REQUIRE(a);
        if (a->refused) {
            CHECK(strnlen(a->words, sizeof a->words) > 10);
            continue;
        }
        // Taken: whatever comes of it, it ends with the link.
        f.socket.reset();
        ipc_message m;
        int result;
        while ((result = r.receive(m)) == IPC_MESSAGE) CHECK(r.release(m) == 0);
        CHECK(result == IPC_DIED);
    }
    CHECK(open_fds() == before);
    CHECK(r.stats().held == 0);
    refused = r.stats().refused;
}
