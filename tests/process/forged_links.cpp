// A receiver that writes nonsense into its link, or answers with it, and a sender that writes nonsense into its ring.
// It costs them their link; the honest ones on the same channel do not notice.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "forge.hpp"

using namespace forge;

namespace {

// Beside the honest receiver, a forged one.
struct misled : visited {
    std::optional<forged_receiver> forged;

    misled() {
        forged.emplace(channel);
        s.await_links(2);
        REQUIRE(forged->take_hello());
        REQUIRE(forged->answer() == 0);
        passes(3);
    }
    ~misled() {
        last_checks([&] {
            forged.reset();
            CHECK(s.stats().links == 1);
            passes(200);  // laps the ring: a link that is gone holds nothing up
            CHECK(s.stats().unreleased == 0);
        });
    }
    // The sender has hung up on the forged receiver, counted it once, and goes on with the other.
    void is_dropped() {
        CHECK(s.stats().links == 1);
        CHECK(s.stats().refused == 1);
        CHECK(forged->hung_up());
        CHECK(s.stats().unreleased == 0);
        passes(200);
        CHECK(s.stats().refused == 1);
        forged.reset();
    }
};

constexpr std::uint64_t last = ~std::uint64_t{0};

}  // namespace

// ---- A forged receiver's words --------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(misled, "a receiver that releases more than was sent is dropped") {
    std::uint64_t head = s.links()[0].committed;
    SUBCASE("a little") { forged->words().released.store(head + 16); }
    SUBCASE("a lot") { forged->words().released.store(head + (1 << 20)); }
    SUBCASE("all that numbers can tell") { forged->words().released.store(last & ~std::uint64_t{15}); }
    is_dropped();
}

TEST_CASE_FIXTURE(misled, "a receiver whose release goes backwards is dropped") {
    forged->words().released.store(s.links()[0].committed);
    CHECK(s.stats().links == 2);
    forged->words().released.store(16);
    is_dropped();
}

TEST_CASE_FIXTURE(misled, "a receiver that takes more than was sent, or goes backwards, is dropped") {
    std::uint64_t head = s.links()[0].committed;
    forged->words().delivered.store(head);
    CHECK(s.stats().links == 2);
    SUBCASE("more") { forged->words().delivered.store(head + 16); }
    SUBCASE("backwards") { forged->words().delivered.store(head - 16); }
    SUBCASE("all that numbers can tell") { forged->words().delivered.store(last & ~std::uint64_t{15}); }
    is_dropped();
}

TEST_CASE_FIXTURE(misled, "a receiver that releases up to where no frame can start is dropped") {
    std::uint64_t start = forged->hello.start;
    SUBCASE("released") { forged->words().released.store(start + 8); }
    SUBCASE("delivered") { forged->words().delivered.store(start + 1); }
    is_dropped();
}

// Sends messages of the forged receiver's choice of payload, so that the middle of one is what it wants.
TEST_CASE_FIXTURE(misled, "a receiver that releases up to the middle of a message is dropped") {
    for (unsigned char byte : {0x00, 0xff, 0x11, 0x01}) {
        std::vector<unsigned char> payload(600, byte);
        REQUIRE(ipc_sender_send(s, payload.data(), payload.size(), 7, limit_ns) == 0);
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        REQUIRE(r.release(m) == 0);
    }
    std::uint64_t head = s.links()[0].committed;
    std::uint64_t middle = 0;
    SUBCASE("of zeros") { middle = head - 4 * 672 + 320; }
    SUBCASE("of ones") { middle = head - 3 * 672 + 320; }
    SUBCASE("of what looks like a frame of a message") { middle = head - 2 * 672 + 320; }
    SUBCASE("of what looks like a frame without offset") { middle = head - 1 * 672 + 320; }
    CHECK(forged->words().released.load() < middle);
    forged->words().released.store(middle);
    is_dropped();
}

TEST_CASE_FIXTURE(scratch, "the successor of a receiver that has lied gets whole messages, and nothing else") {
    std::string channel = folder() + "/t";
    tx s("shm://t?capacity=64KiB");
    std::vector<unsigned char> zeros(600);
    std::uint64_t released = 0, delivered = 0;
    SUBCASE("released to the middle of a message") { released = delivered = 336; }
    SUBCASE("released past the end") { released = delivered = 1 << 20; }
    SUBCASE("delivered past the end") { delivered = 1 << 20; }
    SUBCASE("delivered to the middle of a message") { delivered = 336; }
    {
        forged_receiver forged(channel);
        s.await_links(1);
        REQUIRE(forged.take_hello());
        REQUIRE(forged.answer() == 0);
        forged.words().accepted.store(1);
        for (int i = 0; i < 5; ++i) REQUIRE(ipc_sender_send(s, zeros.data(), zeros.size(), 7, limit_ns) == 0);
        forged.words().released.store(released);
        forged.words().delivered.store(delivered);
        std::memset(forged.bits(), 0xa5, layout::bitmap_words(layout::least_capacity) * 8);
    }
    for (auto from : {"shm://t", "shm://t?from=oldest"}) {
        s.await_links(0);
        rx r(from);
        s.await_links(1);
        REQUIRE(s.send(8) == 0);
        ipc_message m;
        do {
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            CHECK((m.tag == 8 ? proven(m) : m.tag == 7 && m.size == 600));
            CHECK(r.release(m) == 0);
        } while (m.tag != 8);
        CHECK(r.receive(m, 0) == -EAGAIN);
    }
    CHECK(s.stats().unreleased == 0);
}

TEST_CASE_FIXTURE(misled, "a receiver that scribbles over its whole link harms itself alone") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    for (int round = 0; round < 200; ++round) {
        CAPTURE(round);
        auto *words = reinterpret_cast<unsigned char *>(&forged->words());
        for (int n = 0; n < 5; ++n) words[random() % sizeof(layout::link_words)] = static_cast<unsigned char>(random());
        if (random() % 2) forged->words().released.store(random() % (s.links()[0].committed + 1000) / 16 * 16);
        for (int n = 0; n < 5; ++n) forged->bits()[random() % 4096] = static_cast<std::byte>(random());
        passes(2);
        s.stats();
        s.links();
        ipc_sender_arm(s);
        if (s.stats().links == 2) continue;
        forged.reset();
        s.await_links(1);
        forged.emplace(channel);
        s.await_links(2);
        REQUIRE(forged->take_hello());
        forged->answer();
    }
    forged.reset();
    CHECK(s.stats().links == 1);
}

TEST_CASE_FIXTURE(misled, "a receiver whose flags ask for bells without end gets them, and holds nobody up") {
    eventfd_write(forged->data_bell.get(), 0xffff'ffff'ffff'fffe);  // as far as it counts
    for (int i = 0; i < 1000; ++i) {
        forged->words().asleep.store(1);
        forged->words().unfenced.store(i % 2);
        forged->words().released.store(forged->hello.start + (s.links()[0].committed - forged->hello.start) / 16 * 16);
        passes(1);
    }
    forged.reset();
}

// ---- A forged receiver's answer -------------------------------------------------------------------------------------

namespace {

// Beside the honest receiver, a forged one that has a hello, and has not answered.
struct unanswered : visited {
    forged_receiver forged{channel};
    unanswered() {
        s.await_links(2);
        REQUIRE(forged.take_hello());
    }
    ~unanswered() {
        last_checks([&] {
            CHECK(!forged.take_hello());  // it has not come back
            forged.socket.reset();
            CHECK(s.stats().links == 1);
            passes(200);
        });
    }
    void is_dropped() {
        CHECK(s.stats().links == 1);
        CHECK(s.stats().refused == 1);
        CHECK(forged.hung_up());
    }
};

}  // namespace

TEST_CASE_FIXTURE(unanswered, "a receiver that answers right is linked, and says so once") {
    auto state = [&] {
        for (const ipc_link &link : s.links())
            if (link.peer == forged.yes.receiver) return link.state;
        return -1;
    };
    CHECK(state() == IPC_LINK_CONNECTING);
    REQUIRE(forged.answer() == 0);
    CHECK(state() == IPC_LINK_UP);
    CHECK(s.stats().refused == 0);
    REQUIRE(forged.answer() == 0);
    is_dropped();
}

TEST_CASE_FIXTURE(unanswered, "a receiver that refuses is not linked, counted, and not asked again") {
    forged.yes.refused = 1;
    std::strcpy(forged.yes.words, "not today");
    REQUIRE(forged.answer() == 0);
    is_dropped();
}

TEST_CASE_FIXTURE(unanswered, "a receiver that answers with nonsense is dropped") {
    layout::answer &a = forged.yes;
    SUBCASE("magic") { a.head.magic ^= 1; }
    SUBCASE("a hello's magic") { a.head.magic = layout::hello_magic; }
    SUBCASE("version") { a.head.version += 1; }
    SUBCASE("size") { a.head.size -= 1; }
    SUBCASE("nothing") { std::memset(static_cast<void *>(&a), 0, sizeof a); }
    SUBCASE("ones") { std::memset(static_cast<void *>(&a), 0xff, sizeof a); }
    REQUIRE(forged.answer() == 0);
    is_dropped();
}

TEST_CASE_FIXTURE(unanswered, "a receiver whose answer is too short or too long is dropped") {
    std::vector<std::byte> bytes(sizeof(layout::answer) + 100);
    std::memcpy(bytes.data(), &forged.yes, sizeof forged.yes);
    std::size_t size = 0;
    SUBCASE("a byte") { size = 1; }
    SUBCASE("less than the first 16 bytes") { size = 15; }
    SUBCASE("the first 16 bytes") { size = 16; }
    SUBCASE("all but one") { size = sizeof(layout::answer) - 1; }
    SUBCASE("one more") { size = sizeof(layout::answer) + 1; }
    SUBCASE("many more") { size = bytes.size(); }
    REQUIRE(say(forged.socket, std::span(bytes).first(size)) == 0);
    is_dropped();
}

TEST_CASE_FIXTURE(unanswered,
                  "a receiver that sends descriptors that are none of an answer's keeps them out of the sender") {
    std::size_t before = names("/proc/self/fd", "").size();
    forged_sender f;
    std::vector<int> many(200, f.ring.file());
    REQUIRE(say(forged.socket, std::as_bytes(std::span(&forged.yes, 1)), many) == 0);
    s.stats();
    CHECK(names("/proc/self/fd", "").size() <= before + 14);  // those of f
    CHECK(s.stats().links == 2);
}

TEST_CASE_FIXTURE(unanswered, "a receiver whose bell did not arrive is woken by a word") {
    REQUIRE(say(forged.socket, forged.yes) == 0);
    CHECK(s.stats().links == 2);
    forged.words().asleep = 1;
    REQUIRE(s.send(1, 64) == 0);
    heard h = hear(forged.socket);
    REQUIRE(h.size == sizeof(layout::notice));
    layout::notice wake{};
    std::memcpy(&wake, h.bytes.data(), sizeof wake);
    CHECK(wake.head.magic == layout::notice_magic);
    CHECK(wake.what == layout::notice_kind::wake);
    CHECK(forged.words().asleep == 0);
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    REQUIRE(r.release(m) == 0);
}

TEST_CASE_FIXTURE(unanswered, "a receiver that sends a notice of no known kind is dropped") {
    layout::notice n{{layout::notice_magic, layout::version, sizeof n}, layout::notice_kind{77}, 0};
    REQUIRE(forged.answer() == 0);
    REQUIRE(say(forged.socket, n) == 0);
    is_dropped();
}

TEST_CASE_FIXTURE(unanswered, "random answers cost a receiver its link at most") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(random() % 500);
    for (std::byte &b : bytes) b = static_cast<std::byte>(random());
    REQUIRE(say(forged.socket, bytes) == 0);
    CHECK(s.stats().links == 1);
}

TEST_CASE_FIXTURE(scratch, "a receiver that hangs up without an answer is asked again, and not without end in a row") {
    forged_receiver forged(folder() + "/t");
    tx s("shm://t?capacity=64KiB");
    s.await_links(1);
    REQUIRE(forged.take_hello());
    forged.socket.reset();
    CHECK(s.stats().links == 0);
    CHECK(!forged.take_hello());
    CHECK(eventually([&] {
        s.stats();
        return forged.take_hello();
    }));
    REQUIRE(forged.answer() == 0);
    CHECK(s.stats().refused == 0);
    CHECK(s.links().at(0).state == IPC_LINK_UP);
    REQUIRE(s.send(1) == 0);
    CHECK(forged.hello.committed == 0);
}

// ---- A forged sender's ring -----------------------------------------------------------------------------------------

namespace {

// Beside the honest sender, a forged one.
struct fed : visited {
    forged_sender forged;
    fed() {
        forged.connect(channel);
        REQUIRE(forged.greet() == 0);
        forged.put_message(5, 100);
        CHECK(r.take() == 5);
        CHECK(r.stats().links == 2);
    }
    ~fed() {
        last_checks([&] {
            passes(200);
            CHECK(r.stats().links == 1);
            CHECK(r.stats().held == 0);
        });
    }
    void is_dropped() {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_DIED);
        CHECK(m.sender == forged.hello.sender);
        CHECK(r.stats().refused == 1);
        CHECK(r.stats().deaths == 1);
        CHECK(forged.answer());
        CHECK(forged.hung_up());
        CHECK(r.receive(m, 0) == -EAGAIN);
    }
};

constexpr std::uint64_t message_word(std::size_t offset, std::uint64_t size) {
    return layout::frame_word(layout::kind::message, offset, size);
}

}  // namespace

TEST_CASE_FIXTURE(fed, "a frame that can't be is the death of its sender") {
    std::uint64_t word = 0;
    SUBCASE("of no kind") { word = message_word(16, 64) & ~std::uint64_t{15}; }
    SUBCASE("of a later version's kind") { word = (message_word(16, 64) & ~std::uint64_t{15}) | 4; }
    SUBCASE("that goes on in a ring of which nothing was said") {
        word = layout::frame_word(layout::kind::continued, 16, 0);
    }
    SUBCASE("of an unknown kind") { word = message_word(16, 64) | 15; }
    SUBCASE("reserved bits") { word = message_word(16, 64) | 1 << 8; }
    SUBCASE("reserved bits at the other end") { word = message_word(16, 64) | 1 << 15; }
    SUBCASE("payload in its own header") { word = message_word(0, 64); }
    SUBCASE("payload too far away") { word = message_word(80, 64); }
    SUBCASE("payload as far as can be told") { word = message_word(240, 64); }
    SUBCASE("more than half the ring") { word = message_word(16, layout::least_capacity / 2 + 1); }
    SUBCASE("more than the ring") { word = message_word(16, layout::least_capacity * 3); }
    SUBCASE("as much as can be told") { word = message_word(16, (std::uint64_t{1} << 48) - 1); }
    SUBCASE("ones") { word = last; }
    SUBCASE("an end that is too long") { word = layout::frame_word(layout::kind::end, 16, std::uint64_t{1} << 40); }
    forged.put(word, 16);
    is_dropped();
}

TEST_CASE_FIXTURE(fed, "a sender that claims more than a ring's worth unreleased is dropped") {
    std::vector<ipc_message> held;
    for (int i = 0; i < 3; ++i) forged.put(message_word(16, 30'000), 30'016);
    ipc_message m;
    int result;
    while ((result = r.receive(m)) == IPC_MESSAGE) held.push_back(m);
    CHECK(held.size() == 2);
    CHECK(result == IPC_DIED);
    CHECK(r.stats().refused == 1);
    for (auto &h : held) CHECK(r.release(h) == 0);
}

TEST_CASE_FIXTURE(fed, "messages that were received before the nonsense stay good until they are released") {
    forged.put_message(6, 1000);
    ipc_message m, died;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    forged.put(last, 16);
    REQUIRE(r.receive(died) == IPC_DIED);
    CHECK(proven(m));
    CHECK(r.stats().held == 1);
    CHECK(r.release(m) == 0);
    CHECK(r.release(m) == -ESTALE);
}

TEST_CASE_FIXTURE(scratch, "whatever lies in a ring, each message of it lies in the ring, and the receiver goes on") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    rx r;
    std::uint64_t messages = 0;
    for (int round = 0; round < 400; ++round) {
        CAPTURE(round);
        forged_sender f;
        // A start anywhere, so that frames lie across the end of the ring.
        std::uint64_t start = random() % 100'000 * 16;
        f.head = f.hello.oldest = f.hello.start = f.hello.committed = f.hello.redelivered_until = start;
        f.connect(folder() + "/t");
        REQUIRE(f.greet() == 0);
        std::vector<ipc_message> held;
        for (bool lives = true; lives;) {
            for (auto n = random() % 4; n > 0; --n) {
                std::size_t offset = random() % 8 == 0 ? random() % 16 * 16 : 16;
                std::uint64_t size = random() % (random() % 8 == 0 ? 1 << 17 : 1 << 12);
                std::uint64_t word = message_word(offset, size);
                if (random() % 16 == 0) word ^= std::uint64_t{1} << random() % 64;
                f.put(word, layout::frame_length(message_word(offset, size)));
            }
            // The rest of the link is the sender's to scribble on as well.
            f.words().wants.store(random() % 4 ? 0 : random());
            f.words().sender_unfenced.store(static_cast<std::uint32_t>(random() % 2));
            f.words().asleep.store(static_cast<std::uint32_t>(random() % 2));
            f.bits()[random() % 512] = static_cast<std::byte>(random());
            if (random() % 16 == 0) f.socket.reset();
            f.ring_data_bell();
            ipc_message m;
            int result;
            while ((result = r.receive(m, 0)) == IPC_MESSAGE) {
                ++messages;
                unsigned sum = 0;
                auto *bytes = static_cast<const unsigned char *>(m.data);
                for (std::size_t i = 0; i < m.size; ++i) sum += bytes[i];
                CHECK(sum < 1u << 31);
                held.push_back(m);
                if (random() % 3) {
                    std::swap(held[random() % held.size()], held.back());
                    CHECK(r.release(held.back()) == 0);
                    held.pop_back();
                }
            }
            lives = result == -EAGAIN && f.socket.get() >= 0;
            if (result == -EAGAIN && f.socket.get() < 0) {
                REQUIRE(r.receive(m) == IPC_DIED);
                break;
            }
            if (random() % 64 == 0) f.put(last, 16);
        }
        for (auto &h : held) CHECK(r.release(h) == 0);
        CHECK(r.stats().held == 0);
        CHECK(r.stats().links == 0);
    }
    CHECK(messages > 400);
}

// ---- Both -----------------------------------------------------------------------------------------------------------

// A message that a forged sender changes while it is read is the reader's own risk, but its size is not.
TEST_CASE_FIXTURE(fed, "a frame that is changed after it was received keeps the size that was told") {
    forged.put_message(6, 1000);
    ipc_message m, died;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    std::uint64_t at =
        (forged.head - layout::frame_length(
                           message_word(layout::payload_offset_for(m.position % layout::least_capacity, 1000), 1000)));
    reinterpret_cast<layout::frame_header *>(forged.ring.at(at))->word.store(message_word(16, 1 << 14));
    CHECK(m.size == 1000);
    CHECK(r.release(m) == 0);
    forged.put(last, 16);
    REQUIRE(r.receive(died) == IPC_DIED);
}
