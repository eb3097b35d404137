// Peers that speak nonsense about the rings in which a stream goes on: it costs them their link, and the honest ones on
// the same channel do not notice.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>

#include "forge.hpp"

using namespace forge;

namespace {

constexpr std::uint64_t least = layout::least_capacity;

std::size_t mappings(const std::string &name) {
    std::ifstream maps("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) count += line.find(name) != line.npos;
    return count;
}

// Beside an honest sender, a forged one, whose stream is to go on in another ring.
struct continued : visited {
    forged_sender forged;
    memory next{2 * least, ring_seals}, bits{layout::bits_bytes(2 * least), link_seals};
    layout::ring_notice notice{};  // right, until it is spoilt
    std::vector<int> fds{next.file(), bits.file()};

    continued() {
        forged.connect(channel);
        REQUIRE(forged.greet() == 0);
        forged.put_message(5, 100);
        CHECK(r.take() == 5);
        CHECK(forged.answer());
        notice = {{layout::ring_magic, layout::version, sizeof notice}, 0, {forged.head + 16, 2 * least}};
    }
    ~continued() {
        last_checks([&] {
            passes(200);
            CHECK(r.stats().links == 1);
            CHECK(r.stats().held == 0);
        });
    }
    int announce() { return say(forged.socket, std::as_bytes(std::span(&notice, 1)), fds); }
    // The last frame of the first ring. The forged sender's next frames are in the other.
    void go_on() {
        std::uint64_t word = layout::frame_word(layout::kind::continued, 16, 0);
        forged.put(word, 16);
    }
    // A message that follows it.
    void put_message(std::uint64_t tag, std::uint64_t size) {
        std::uint64_t at = forged.head % (2 * least);
        std::size_t offset = layout::payload_offset_for(at, size);
        std::vector<std::byte> payload(size);
        fill(payload.data(), size, tag);
        for (std::size_t i = 0; i < size; ++i) *next.at((at + offset + i) % (2 * least)) = payload[i];
        std::uint64_t word = layout::frame_word(layout::kind::message, offset, size);
        auto &header = *reinterpret_cast<layout::frame_header *>(next.at(at));
        header.tag = tag;
        header.word.store(word);
        forged.head += layout::frame_length(word);
    }
    void is_dropped() {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_DIED);
        CHECK(m.sender == forged.hello.sender);
        CHECK(r.stats().refused == 1);
        CHECK(r.stats().deaths == 1);
        CHECK(r.receive(m, 0) == -EAGAIN);
    }
    void is_refused(const std::string &part) {
        r.stats();
        auto a = forged.answer();
        REQUIRE(a);
        std::string words(a->words, strnlen(a->words, sizeof a->words));
        CAPTURE(words);
        CHECK(a->refused == 1);
        CHECK(words.find(part) != words.npos);
        CHECK(forged.hung_up());
        is_dropped();
    }
    void finish() {
        forged.socket.reset();
        ipc_message m;
        CHECK(r.receive(m) == IPC_DIED);
        CHECK(r.stats().refused == 0);
    }
};

}  // namespace

TEST_CASE_FIXTURE(continued, "a forged sender that goes on in another ring as one should is heard there") {
    REQUIRE(announce() == 0);
    go_on();
    put_message(6, 50'000);
    CHECK(r.take() == 6);
    CHECK(forged.words().released.load() == forged.head);
    finish();
}

TEST_CASE_FIXTURE(continued, "a ring that is announced and not gone on in is given up for the next that is") {
    std::size_t before = mappings("ipc-forged");
    for (int i = 0; i < 50; ++i) {
        notice.place.base = forged.head + 16;
        REQUIRE(announce() == 0);
        forged.put_message(6, 100);
        CHECK(r.take() == 6);
    }
    CHECK(mappings("ipc-forged") <= before + 3);
    notice.place.base = forged.head + 16;
    REQUIRE(announce() == 0);
    go_on();
    put_message(7, 1000);
    CHECK(r.take() == 7);
    finish();
}

TEST_CASE_FIXTURE(continued, "of two rings that are announced for the same place, a stream goes on in the second") {
    memory taken_back{2 * least, ring_seals}, its_bits{layout::bits_bytes(2 * least), link_seals};
    fds = {taken_back.file(), its_bits.file()};
    REQUIRE(announce() == 0);
    CHECK(r.stats().links == 2);  // that was heard now; what follows is heard when it is needed
    fds = {next.file(), bits.file()};
    REQUIRE(announce() == 0);
    go_on();
    put_message(6, 1000);
    CHECK(r.take() == 6);
    finish();
}

TEST_CASE_FIXTURE(continued, "a notice of a ring that can't be is refused in words") {
    std::string part = "none of ours";
    SUBCASE("no capacity") { notice.place.capacity = 0; }
    SUBCASE("too small") { notice.place.capacity = least - 4096; }
    SUBCASE("no multiple of a page") { notice.place.capacity += 16; }
    SUBCASE("too large") { notice.place.capacity = layout::most_capacity + 4096; }
    SUBCASE("where no frame ends") { notice.place.base += 8; }
    SUBCASE("where counting ends") { notice.place.base = ~std::uint64_t{15}; }
    SUBCASE("of another size than its memory") {
        notice.place.capacity = least;
        part = "the ring has 131072 bytes";
    }
    SUBCASE("after one that is not") {
        notice.after = 16;
        part = "in no place of the stream";
    }
    SUBCASE("before the one that it follows") {
        notice.place.base = 0;
        part = "in no place of the stream";
    }
    SUBCASE("another magic") {
        notice.head.magic = layout::notice_magic;
        part = "not the first bytes";
    }
    SUBCASE("another version") {
        notice.head.version += 1;
        part = "memory layout";
    }
    SUBCASE("another size") {
        notice.head.size -= 8;
        part = "bytes instead of";
    }
    SUBCASE("one descriptor") {
        fds.pop_back();
        part = "came with 1 descriptors instead of 2";
    }
    SUBCASE("three descriptors") {
        fds.push_back(bits.file());
        part = "descriptors instead of 2";
    }
    SUBCASE("in the wrong order") {
        std::swap(fds[0], fds[1]);
        part = "the link memory has";
    }
    SUBCASE("of no memory") {
        fds[0] = forged.space_bell.get();
        part = "not a memory file";
    }
    REQUIRE(announce() == 0);
    is_refused(part);
}

TEST_CASE_FIXTURE(continued, "memory of a ring that could be taken away is refused, the bits' too") {
    memory ring(2 * least, ring_seals & ~2), loose(layout::bits_bytes(2 * least), link_seals & ~2);
    SUBCASE("the ring's") { fds[0] = ring.file(); }
    SUBCASE("the bits'") { fds[1] = loose.file(); }
    REQUIRE(announce() == 0);
    is_refused("not sealed");
}

TEST_CASE_FIXTURE(continued, "more rings than a sender can have are refused") {
    std::uint64_t after = 0;
    for (std::size_t i = 0; i < layout::most_rings; ++i) {
        notice.after = after;
        after = notice.place.base = after + 4096;
        REQUIRE(announce() == 0);
    }
    is_refused("in no place of the stream");
}

TEST_CASE_FIXTURE(continued, "a stream that goes on in a ring that begins elsewhere is the death of its sender") {
    notice.place.base += 16;
    REQUIRE(announce() == 0);
    go_on();
    is_dropped();
}

TEST_CASE_FIXTURE(continued, "a sender that goes on without a word, and is gone, has died") {
    go_on();
    forged.socket.reset();
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_DIED);
}

TEST_CASE_FIXTURE(continued,
                  "nonsense in the other ring is the death of its sender, and what was received before stays good") {
    forged.put_message(6, 1000);
    notice.place.base = forged.head + 16;
    REQUIRE(announce() == 0);
    go_on();
    put_message(7, 60'000);
    ipc_message first, second, m;
    REQUIRE(r.receive(first) == IPC_MESSAGE);
    REQUIRE(r.receive(second) == IPC_MESSAGE);
    reinterpret_cast<layout::frame_header *>(next.at(forged.head % (2 * least)))->word.store(~std::uint64_t{0});
    REQUIRE(r.receive(m) == IPC_DIED);
    CHECK(proven(first));
    CHECK(proven(second));
    CHECK(r.release(second) == 0);
    CHECK(r.release(second) == -ESTALE);
    CHECK(r.release(first) == 0);
    CHECK(r.release(first) == -ESTALE);
}

TEST_CASE_FIXTURE(continued,
                  "rings after rings, each with something held, are taken up to as many as a sender can have") {
    std::vector<ipc_message> held;
    ipc_message m;
    std::uint64_t after = 0, capacity = least;
    int result = IPC_MESSAGE;
    std::vector<memory> rings;
    rings.reserve(2 * layout::most_rings);
    std::byte *now = forged.ring.at();
    for (std::size_t i = 0; i < 2 * layout::most_rings && result == IPC_MESSAGE; ++i) {
        auto put = [&](std::uint64_t word, std::uint64_t length) {
            auto header = [&](std::uint64_t p) { return reinterpret_cast<layout::frame_header *>(now + p % capacity); };
            header(forged.head + length)->word.store(0);
            header(forged.head)->word.store(word);
            forged.head += length;
        };
        put(layout::frame_word(layout::kind::message, 16, 16), 32);
        put(layout::frame_word(layout::kind::continued, 16, 0), 16);
        rings.emplace_back(least, ring_seals);
        memory more(layout::bits_bytes(least), link_seals);
        notice.after = after;
        notice.place = {forged.head, least};
        fds = {rings.back().file(), more.file()};
        announce();
        after = forged.head;
        now = rings.back().at();
        result = r.receive(m);
        if (result == IPC_MESSAGE) held.push_back(m);
    }
    CHECK(result == IPC_DIED);
    CHECK(held.size() == layout::most_rings);
    CHECK(r.stats().refused == 1);
    while (!held.empty()) {
        CHECK(r.release(held.back()) == 0);
        held.pop_back();
    }
}

TEST_CASE_FIXTURE(scratch, "notices of rings with random bytes cost their sender its link at most") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    rx r;
    for (int i = 0; i < 300; ++i) {
        CAPTURE(i);
        forged_sender f;
        f.connect(folder() + "/t");
        REQUIRE(f.greet() == 0);
        memory next(least, ring_seals), bits(layout::bits_bytes(least), link_seals);
        std::vector<int> fds{next.file(), bits.file()};
        for (auto n = 1 + random() % 3; n > 0; --n) {
            f.put_message(n, random() % 500);
            layout::ring_notice notice{{layout::ring_magic, layout::version, sizeof notice}, 0, {f.head + 16, least}};
            auto bytes = std::as_writable_bytes(std::span(&notice, 1));
            for (auto k = random() % 3; k > 0; --k)
                bytes[random() % bytes.size()] ^= static_cast<std::byte>(1 << random() % 8);
            if (random() % 8 == 0) fds.resize(random() % 5, bits.file());
            say(f.socket, bytes, fds);
        }
        if (random() % 2)
            f.put(layout::frame_word(layout::kind::continued, 16, random() % 4 ? 0 : random() % 9999), 16);
        f.ring_data_bell();
        ipc_message m;
        int result;
        while ((result = r.receive(m, 0)) == IPC_MESSAGE) CHECK(r.release(m) == 0);
        f.socket.reset();
        if (result == -EAGAIN) CHECK(r.receive(m) == IPC_DIED);
        CHECK(r.stats().links == 0);
        CHECK(r.stats().held == 0);
    }
}

// ---- A forged receiver ----------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "a receiver that scribbles over its link while several rings are alive harms itself alone") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    tx s("shm://t?capacity=64KiB&max_capacity=1MiB");
    rx r;
    std::optional<forged_receiver> forged;
    s.await_links(1);
    std::uint64_t tag = 0;
    for (int round = 0; round < 100; ++round) {
        CAPTURE(round);
        if (!forged) {
            forged.emplace(folder() + "/t");
            s.await_links(2);
            REQUIRE(forged->take_hello());
            forged->answer();
        }
        for (int n = 0; n < 4; ++n) {
            ++tag;
            // It may be in the way, as it releases nothing that it should.
            if (int result = s.send(tag, random() % 4 == 0 ? random() % 400'000 : random() % 3000, 0); result != 0) {
                REQUIRE(result == -EAGAIN);
                --tag;
                break;
            }
            CHECK(r.take() == tag);
        }
        std::uint64_t head = s.links()[0].committed;
        std::uint64_t delivered = forged->words().delivered.load();
        forged->words().delivered.store(delivered + random() % (head - delivered + 17) / 16 * 16);
        if (random() % 2) forged->words().released.store(random() % (head + 1000) / 16 * 16);
        for (int n = 0; n < 5; ++n) forged->bits()[random() % 512] = static_cast<std::byte>(random());
        s.stats();
        s.links();
        if (s.stats().links == 1 || random() % 8 == 0) forged.reset();
    }
    forged.reset();
    s.await_links(1);
    CHECK(s.stats().unreleased == 0);
    CHECK(s.send(++tag, 500'000) == 0);
    CHECK(r.take() == tag);
}
