#include "shm/incoming.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "link.hpp"
#include "system/fence.hpp"

using namespace libipc;
using layout::kind;
using next = incoming::next;

namespace {

constexpr std::uint64_t capacity = 64 << 10;

// As a receiver does.
next take(incoming &in, ipc_message &m) { return in.take_in_order(m) ? next::message : in.take(m); }

// A sender's memory, written by hand, and what its hello would say.
struct sent {
    shared_memory ring = make_ring(capacity);
    fd link = make_link_memory(layout::link_words_bytes);
    fd bits = make_link_memory(layout::bits_bytes(capacity));
    mapping words = map_link_part(link.get(), 0, layout::link_words_bytes);
    mapping early = map_link_part(bits.get(), 0, layout::bits_bytes(capacity));
    fd data_bell{make_eventfd()}, space_bell{make_eventfd()};
    layout::hello hello{};
    ipc_message m{};

    sent() {
        hello.sender = 42;
        hello.rings = 1;
        hello.ring[0] = {0, capacity};
        hello.pid = 4711;
        hello.start_sequence = hello.oldest_sequence = 1;
    }
    // The hello of a stream that goes on at `position`, where nothing waits.
    void start_at(std::uint64_t position) {
        hello.start = hello.oldest = hello.committed = position;
        link_words().delivered = link_words().released = position;
    }
    // A frame as a sender commits it; returns where the next one starts.
    std::uint64_t put(std::uint64_t position, std::uint64_t size = 0, std::uint64_t tag = 0, kind k = kind::message) {
        std::uint64_t word = layout::frame_word(k, layout::payload_offset_for(position % capacity, size), size);
        put_word(position + layout::frame_length(word), 0);
        header(position).tag = tag;
        put_word(position, word);
        return hello.committed = position + layout::frame_length(word);
    }
    layout::frame_header &header(std::uint64_t position) {
        return *reinterpret_cast<layout::frame_header *>(ring.map.get() + position % capacity);
    }
    void put_word(std::uint64_t position, std::uint64_t word) { header(position).word = word; }
    std::uint64_t put_end(std::uint64_t position) { return put(position, 0, 0, kind::end); }

    incoming accept(std::int32_t from = IPC_FROM_DEFAULT, bool membarrier = false) {
        std::vector<read_ring> rings;
        rings.push_back(mapped(hello.ring[0], ring, bits));
        incoming in(hello, std::move(rings), map_link_part(link.get(), 0, layout::link_words_bytes),
                    fd(dup(data_bell.get())), fd(dup(space_bell.get())), membarrier);
        in.start(hello, from);
        return in;
    }
    static read_ring mapped(const layout::ring_place &place, const shared_memory &ring, const fd &bits) {
        return {place, map_peer_ring(ring.file.get(), place.capacity),
                map_link_part(bits.get(), 0, layout::bits_bytes(place.capacity))};
    }
    layout::link_words &link_words() { return words_of(words.get()); }
    link_state state() { return state_of(words.get(), early.get(), capacity); }
    // How often the sender's space bell was rung since the last time.
    std::uint64_t rings() {
        std::uint64_t times = 0;
        return read(space_bell.get(), &times, sizeof times) == sizeof times ? times : 0;
    }
};

}  // namespace

// ---- Where it starts ------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "a receiver without a wish starts where the hello says") {
    start_at(160);
    put(160, 5, 9);
    hello.oldest = 96;
    link_words().released = 96;
    hello.start_sequence = 7;
    incoming in = accept();
    CHECK(state() == link_state{.delivered = 160, .released = 160, .accepted = 1});
    REQUIRE(take(in, m) == next::message);
    CHECK(m.sequence == 7);
    CHECK(m.position == 160);
    CHECK(m.tag == 9);
}

TEST_CASE_FIXTURE(sent, "from=oldest starts at the oldest message, which counts as not delivered") {
    start_at(160);
    hello.start_sequence = 9;
    hello.oldest = 96;
    hello.oldest_sequence = 5;
    link_words().released = 96;
    put(96, 48, 3);
    incoming in = accept(IPC_FROM_OLDEST);
    CHECK(state() == link_state{.delivered = 96, .released = 96, .accepted = 1});
    REQUIRE(take(in, m) == next::message);
    CHECK(m.sequence == 5);
    CHECK(m.position == 96);
    CHECK(m.tag == 3);
    CHECK(m.flags == 0);
}

TEST_CASE_FIXTURE(sent, "from=latest releases what waits unseen, and counts it") {
    start_at(capacity - 32);
    std::uint64_t at = put(capacity - 32, 16);
    at = put(at, 1000);
    incoming in = accept(IPC_FROM_LATEST);
    CHECK(in.skipped() == 2);
    CHECK(state() == link_state{.delivered = at, .released = at, .skipped = 2, .accepted = 1});
    CHECK(take(in, m) == next::nothing);
    put(at, 1, 8);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.sequence == 3);
    CHECK(m.tag == 8);
}

TEST_CASE_FIXTURE(sent, "from=latest still gets the end") {
    std::uint64_t end = put(0, 10);
    put_end(end);
    incoming in = accept(IPC_FROM_LATEST);
    CHECK(state() == link_state{.delivered = end, .released = end, .skipped = 1, .accepted = 1});
    CHECK(take(in, m) == next::end);
}

TEST_CASE_FIXTURE(sent, "from=latest passes over a ring's worth at most, whatever the ring claims") {
    for (std::uint64_t offset = 0; offset < capacity; offset += 32) put(offset, 16);
    put_word(0, layout::frame_word(kind::message, 16, 16));  // no head: each frame is followed by another
    incoming in = accept(IPC_FROM_LATEST);
    CHECK(in.skipped() == capacity / 32);
    CHECK(state() == link_state{.delivered = capacity, .released = capacity, .skipped = capacity / 32, .accepted = 1});
}

// ---- Taking ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "an empty ring gives nothing, and changes nothing") {
    start_at(320);
    incoming in = accept();
    link_state before = state();
    m = {sizeof m, nullptr, 1, 2, 3, 4, 5, 6, 7};
    CHECK_FALSE(in.has_frame());
    CHECK(take(in, m) == next::nothing);
    CHECK(state() == before);
    CHECK(m.size == 1);
    CHECK(m.position == 7);
}

TEST_CASE_FIXTURE(sent, "a message is delivered before it is released, and held in between") {
    std::uint64_t second = put(0, 100, 1);
    put(second, 300, 2);
    incoming in = accept();
    CHECK(in.has_frame());
    m.link = 77;
    REQUIRE(take(in, m) == next::message);
    CHECK(state() == link_state{.delivered = second, .released = 0, .accepted = 1});
    CHECK(m.size == 100);
    CHECK(m.tag == 1);
    CHECK(m.sequence == 1);
    CHECK(m.sender == 42);
    CHECK(m.flags == 0);
    CHECK(m.link == 77);  // the receiver's to fill
    CHECK(m.position == 0);
    CHECK(in.held() == 1);
    CHECK(in.held_bytes() == second);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.sequence == 2);
    CHECK(reinterpret_cast<std::uintptr_t>(m.data) % 64 == 0);
    CHECK(in.held() == 2);
}

TEST_CASE_FIXTURE(sent, "a frame that ends exactly at the end of the ring is followed by the one at its start") {
    start_at(5 * capacity - 64);
    std::uint64_t second = put(5 * capacity - 64, 48, 1);
    CHECK(second == 5 * capacity);
    std::uint64_t third = put(second, 16, 2);
    incoming in = accept();
    REQUIRE(take(in, m) == next::message);
    CHECK(m.position == 5 * capacity - 64);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.position == 5 * capacity);
    CHECK(m.tag == 2);
    CHECK(take(in, m) == next::nothing);
    CHECK(in.release(5 * capacity - 64) == 0);
    CHECK(in.release(5 * capacity) == 0);
    CHECK(state() == link_state{.delivered = third, .released = third, .accepted = 1});
}

TEST_CASE_FIXTURE(sent, "the end gives back its frame if nothing is held, and with the last message otherwise") {
    std::uint64_t end = put(0, 16);
    std::uint64_t after = put_end(end);
    incoming in = accept();
    REQUIRE(take(in, m) == next::message);
    REQUIRE(take(in, m) == next::end);
    CHECK(in.ended());
    CHECK(state() == link_state{.delivered = end, .released = 0, .accepted = 1});
    CHECK(in.release(0) == 0);
    CHECK(state() == link_state{.delivered = end, .released = after, .accepted = 1});

    sent other;
    other.put_end(0);
    incoming alone = other.accept();
    REQUIRE(take(alone, m) == next::end);
    CHECK(other.state() == link_state{.delivered = 0, .released = 16, .accepted = 1});
}

TEST_CASE_FIXTURE(sent, "a full ring is taken to the last frame, end included") {
    std::uint64_t at = 0;
    std::uint64_t messages = 0;
    for (; at + 32 + layout::kept_back <= capacity; ++messages) at = put(at, 16, messages);
    put_end(at);
    incoming in = accept();
    for (std::uint64_t i = 0; i < messages; ++i) {
        REQUIRE(take(in, m) == next::message);
        REQUIRE(m.tag == i);
    }
    CHECK(take(in, m) == next::end);
    CHECK(take(in, m) == next::nothing);
    CHECK(in.held() == messages);
    for (std::uint64_t p = at; p != 0; p -= 32) REQUIRE(in.release(p - 32) == 0);  // the last first
    CHECK(state() == link_state{.delivered = at, .released = at + 16, .accepted = 1});
}

// ---- Releasing ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "releasing in order moves `released` from message to message") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 40);
    incoming in = accept();
    for (int i = 0; i < 3; ++i) REQUIRE(take(in, m) == next::message);
    for (int i = 0; i < 3; ++i) {
        CHECK(in.release(at[i]) == 0);
        CHECK(state() == link_state{.delivered = at[3], .released = at[i + 1], .accepted = 1});
    }
    CHECK(in.held() == 0);
}

TEST_CASE_FIXTURE(sent, "an early release sets its bit, and the oldest one's release jumps over it and clears it") {
    start_at(capacity - 64);  // the bits go around the end
    std::array<std::uint64_t, 5> at{capacity - 64};
    for (int i = 0; i < 4; ++i) at[i + 1] = put(at[i], 16);
    incoming in = accept();
    for (int i = 0; i < 4; ++i) REQUIRE(take(in, m) == next::message);
    link_state held{.delivered = at[4], .released = at[0], .accepted = 1};
    CHECK(state() == held);
    CHECK(in.release(at[2]) == 0);
    held.early = {at[2] % capacity};
    CHECK(state() == held);
    CHECK(in.release(at[1]) == 0);
    held.early = {at[1] % capacity, at[2] % capacity};
    CHECK(state() == held);
    CHECK(in.release(at[0]) == 0);
    held.early = {};
    held.released = at[3];
    CHECK(state() == held);
    CHECK(in.held() == 1);
    CHECK(in.release(at[3]) == 0);
    held.released = at[4];
    CHECK(state() == held);
}

TEST_CASE("whatever the order of releases, at each moment `released` and the bits say what is held") {
    std::array<int, 4> order{0, 1, 2, 3};
    do {
        sent s;
        std::array<std::uint64_t, 5> at{};
        for (int i = 0; i < 4; ++i) at[i + 1] = s.put(at[i], 100 * i);
        incoming in = s.accept();
        ipc_message m{};
        for (int i = 0; i < 4; ++i) REQUIRE(take(in, m) == next::message);
        std::set<std::uint64_t> held{at.begin(), at.end() - 1};
        for (int i : order) {
            REQUIRE(in.release(at[i]) == 0);
            held.erase(at[i]);
            link_state now{.delivered = at[4], .released = held.empty() ? at[4] : *held.begin(), .accepted = 1};
            for (int k = 0; k < 4; ++k)
                if (at[k] >= now.released && !held.count(at[k])) now.early.insert(at[k]);
            CHECK(s.state() == now);
            CHECK(in.held() == held.size());
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_FIXTURE(sent, "what is not held can't be released, and trying changes nothing") {
    std::array<std::uint64_t, 5> at{};
    for (int i = 0; i < 4; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    auto refused = [&](std::uint64_t position, std::int32_t code) {
        link_state before = state();
        std::uint64_t held = in.held();
        CHECK(in.release(position) == code);
        CHECK(state() == before);
        CHECK(in.held() == held);
    };
    auto never = [&] {
        refused(at[4], -EINVAL);              // not received yet
        refused(at[4] + capacity, -EINVAL);   // its bit would be that of a message of ours
        refused(1, -EINVAL);                  // no frame starts there
        refused(~std::uint64_t{0}, -EINVAL);  // nor there
        refused(~std::uint64_t{0} - 15, -EINVAL);
    };
    never();  // none is held
    REQUIRE(take(in, m) == next::message);
    never();  // one is
    refused(at[1], -EINVAL);
    for (int i = 0; i < 3; ++i) REQUIRE(take(in, m) == next::message);
    never();                       // several are
    refused(at[0] + 16, -ESTALE);  // in the middle of a message
    REQUIRE(in.release(at[2]) == 0);
    refused(at[2], -ESTALE);  // early, and again
    REQUIRE(in.release(at[0]) == 0);
    refused(at[0], -ESTALE);  // the oldest, and again
    REQUIRE(in.release(at[1]) == 0);
    refused(at[2], -ESTALE);
    REQUIRE(in.release(at[3]) == 0);
    refused(at[3], -ESTALE);  // the last, and again
    never();
}

TEST_CASE_FIXTURE(sent, "a message held alone can be released after others came and went") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    REQUIRE(take(in, m) == next::message);
    REQUIRE(take(in, m) == next::message);
    CHECK(in.release(at[1]) == 0);
    REQUIRE(take(in, m) == next::message);
    CHECK(in.release(at[2]) == 0);
    CHECK(state() == link_state{.delivered = at[3], .released = 0, .accepted = 1, .early = {at[1], at[2]}});
    CHECK(in.release(at[0]) == 0);
    CHECK(state() == link_state{.delivered = at[3], .released = at[3], .accepted = 1});
}

// ---- Redelivery -----------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "messages that were delivered to the receiver before are marked, and only those") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 20);
    hello.redelivered_until = at[2];
    incoming in = accept();
    for (int i = 0; i < 3; ++i) {
        REQUIRE(take(in, m) == next::message);
        CHECK(m.sequence == static_cast<std::uint64_t>(i + 1));
        CHECK(m.flags == (i < 2 ? IPC_REDELIVERED : 0));
    }
}

TEST_CASE_FIXTURE(sent, "what the receiver before released early does not come again, and keeps its number") {
    start_at(capacity - 32);
    std::array<std::uint64_t, 6> at{capacity - 32};
    for (int i = 0; i < 5; ++i) at[i + 1] = put(at[i], 0, i);
    hello.redelivered_until = at[4];
    set_bit(early.get(), at[1] % capacity);
    set_bit(early.get(), at[3] % capacity);
    incoming in = accept();
    link_state now{.delivered = at[0], .released = at[0], .accepted = 1, .early = {at[1] % capacity, at[3] % capacity}};
    CHECK(state() == now);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.tag == 0);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.tag == 2);
    CHECK(m.sequence == 3);
    now.delivered = at[3];
    CHECK(state() == now);
    CHECK(in.release(at[0]) == 0);
    now.released = at[2];  // over the one that was released early
    now.early = {at[3] % capacity};
    CHECK(state() == now);
    CHECK(in.release(at[2]) == 0);
    CHECK(in.held() == 0);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.tag == 4);
    CHECK(m.sequence == 5);
    CHECK(m.flags == 0);
    CHECK(in.release(at[4]) == 0);
    CHECK(state() == link_state{.delivered = at[5], .released = at[5], .accepted = 1});
}

TEST_CASE_FIXTURE(sent, "if all that is left was released early, it is given back and nothing comes") {
    std::array<std::uint64_t, 3> at{};
    for (int i = 0; i < 2; ++i) at[i + 1] = put(at[i], 20);
    hello.redelivered_until = at[2];
    set_bit(early.get(), at[0]);
    set_bit(early.get(), at[1]);
    incoming in = accept();
    CHECK(take(in, m) == next::nothing);
    CHECK(state() == link_state{.delivered = 0, .released = at[2], .accepted = 1});
}

TEST_CASE_FIXTURE(sent, "from=latest clears the bits of what it passes over") {
    std::array<std::uint64_t, 3> at{};
    for (int i = 0; i < 2; ++i) at[i + 1] = put(at[i], 20);
    hello.redelivered_until = at[2];
    set_bit(early.get(), at[1]);
    incoming in = accept(IPC_FROM_LATEST);
    CHECK(state() == link_state{.delivered = at[2], .released = at[2], .skipped = 2, .accepted = 1});
    put(at[2], 8, 1);
    REQUIRE(take(in, m) == next::message);
    CHECK(m.flags == 0);
}

// ---- A ring that is not what it should be ---------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "a broken header is told, and nothing changes") {
    put(0, 16);
    incoming in = accept();
    REQUIRE(take(in, m) == next::message);
    link_state before = state();
    m = {sizeof m, nullptr, 1, 2, 3, 4, 5, 6, 7};
    for (std::uint64_t word : {layout::frame_word(kind{4}, 16, 0), layout::frame_word(kind{0}, 16, 1),
                               layout::frame_word(kind::message, 0, 1), layout::frame_word(kind::message, 16, capacity),
                               layout::frame_word(kind::message, 16, 1) | 0x100, ~std::uint64_t{0}}) {
        put_word(32, word);
        CHECK(take(in, m) == next::broken);
        CHECK(state() == before);
        CHECK(in.held() == 1);
        CHECK(m.size == 1);
        CHECK(m.position == 7);
    }
}

TEST_CASE_FIXTURE(sent, "a sender that writes over what is held is told from one that does not") {
    for (std::uint64_t p = 0; p < capacity; p += 32) put(p, 16);
    put_word(0, layout::frame_word(kind::message, 16, 16));
    incoming in = accept();
    for (std::uint64_t p = 0; p < capacity; p += 32) REQUIRE(take(in, m) == next::message);
    link_state before = state();
    CHECK(take(in, m) == next::broken);  // one more would be the first again, which is held
    CHECK(state() == before);
    CHECK(in.release(0) == 0);
    CHECK(take(in, m) == next::message);
}

TEST_CASE_FIXTURE(sent, "bits that somebody else sets or clears in the link lead nowhere") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    for (int i = 0; i < 3; ++i) REQUIRE(take(in, m) == next::message);
    set_bit(early.get(), 4096);
    CHECK(in.release(at[2]) == 0);
    std::fill_n(bits_of(early.get()), layout::bitmap_words(capacity), 0);
    CHECK(in.release(at[0]) == 0);
    CHECK(in.release(at[1]) == 0);
    CHECK(in.held() == 0);
    CHECK(state() == link_state{.delivered = at[3], .released = at[3], .accepted = 1});
    CHECK(in.release(at[2]) == -ESTALE);
}

// ---- Waking ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "the sender's bell is rung when the room it waits for is there, once, and not before") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    for (int i = 0; i < 3; ++i) REQUIRE(take(in, m) == next::message);
    link_words().wants = at[2];
    CHECK(in.release(at[0]) == 0);
    CHECK(rings() == 0);
    CHECK(link_words().wants == at[2]);
    CHECK(in.release(at[1]) == 0);
    CHECK(rings() == 1);
    CHECK(state() == link_state{.delivered = at[3], .released = at[2], .accepted = 1});
    CHECK(in.release(at[2]) == 0);
    CHECK(rings() == 0);
    CHECK(in.bells() == 1);
}

TEST_CASE_FIXTURE(sent, "an early release rings nobody") {
    std::array<std::uint64_t, 3> at{};
    for (int i = 0; i < 2; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    for (int i = 0; i < 2; ++i) REQUIRE(take(in, m) == next::message);
    link_words().wants = 16;
    CHECK(in.release(at[1]) == 0);
    CHECK(rings() == 0);
    CHECK(link_words().wants == 16);
}

TEST_CASE_FIXTURE(sent, "a start that passes over what waits rings a sender that waits for just that") {
    std::uint64_t at = put(0, 1000);
    link_words().wants = at;
    incoming in = accept(IPC_FROM_LATEST);
    CHECK(rings() == 1);
    CHECK(link_words().wants == 0);
}

TEST_CASE_FIXTURE(sent, "the sender need not fence after 1,024 messages without a sleep, and must again before one") {
    hello.membarrier = 1;
    incoming in = accept(IPC_FROM_DEFAULT, true);
    CHECK_FALSE(in.forbid_unfenced());
    std::uint64_t at = 0;
    auto one = [&] {
        std::uint64_t next_at = put(at, 20);
        REQUIRE(take(in, m) == next::message);
        REQUIRE(in.release(at) == 0);
        at = next_at;
    };
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 1023; ++i) one();
        CHECK(link_words().unfenced == 0);
        one();
        CHECK(link_words().unfenced == 1);
        one();
        CHECK(in.forbid_unfenced());
        CHECK(link_words().unfenced == 0);
        CHECK_FALSE(in.forbid_unfenced());
    }
    for (int i = 0; i < 1000; ++i) one();
    CHECK_FALSE(in.forbid_unfenced());  // a sleep begins the count again
    for (int i = 0; i < 1000; ++i) one();
    CHECK(link_words().unfenced == 0);
}

TEST_CASE("the sender must always fence if one of the two has no membarrier") {
    for (bool ours : {false, true}) {
        sent s;
        s.hello.membarrier = !ours;
        incoming in = s.accept(IPC_FROM_DEFAULT, ours);
        std::uint64_t at = 0;
        for (int i = 0; i < 3000; ++i) {
            std::uint64_t next_at = s.put(at, 0);
            REQUIRE(in.take(s.m) == next::message);
            REQUIRE(in.release(at) == 0);
            at = next_at;
        }
        CHECK(s.link_words().unfenced == 0);
        CHECK_FALSE(in.forbid_unfenced());
    }
}

TEST_CASE_FIXTURE(sent, "asleep and awake are one word") {
    incoming in = accept();
    in.set_asleep();
    CHECK(state() == link_state{.asleep = 1, .accepted = 1});
    in.set_awake();
    CHECK(state() == link_state{.accepted = 1});
}

// ---- Telling --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(sent, "a link tells who sends, and how far committed, delivered and released are") {
    std::array<std::uint64_t, 4> at{};
    for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 20);
    incoming in = accept();
    for (int i = 0; i < 2; ++i) REQUIRE(take(in, m) == next::message);
    REQUIRE(in.release(at[0]) == 0);
    ipc_link told{};
    in.fill(told);
    CHECK(told.peer == 42);
    CHECK(told.pid == 4711);
    CHECK(told.state == IPC_LINK_UP);
    CHECK(told.committed == at[3]);
    CHECK(told.delivered == at[2]);
    CHECK(told.released == at[1]);
    CHECK(told.behind == 1);
    CHECK(told.skipped == 0);
    put_end(at[3]);
    REQUIRE(take(in, m) == next::message);
    REQUIRE(take(in, m) == next::end);
    in.fill(told);
    CHECK(told.state == IPC_LINK_ENDED);
    CHECK(told.committed == at[3] + 16);
}

// ---- From ring to ring ----------------------------------------------------------------------------------------------

namespace {

// Three messages in a ring, three in the next, which is announced if a test says so.
struct sent_in_two : sent {
    shared_memory next_ring = make_ring(2 * capacity);
    fd next_bits = make_link_memory(layout::bits_bytes(2 * capacity));
    mapping next_early = map_link_part(next_bits.get(), 0, layout::bits_bytes(2 * capacity));
    std::array<std::uint64_t, 7> at{};
    std::uint64_t base = 0;
    sent_in_two() {
        for (int i = 0; i < 3; ++i) at[i + 1] = put(at[i], 40, i);
        base = at[3] = put(at[3], 0, 0, kind::continued);
        for (int i = 3; i < 6; ++i) {
            auto header = [&](std::uint64_t position) {
                return reinterpret_cast<layout::frame_header *>(next_ring.map.get() + position % (2 * capacity));
            };
            header(at[i])->tag = i;
            header(at[i])->word = layout::frame_word(kind::message, 16, 64);
            at[i + 1] = at[i] + 80;
        }
    }
    bool announce(incoming &in, std::uint64_t after = 0) {
        return in.announce(after, mapped({base, 2 * capacity}, next_ring, next_bits));
    }
    std::set<std::uint64_t> early() { return state_of(words.get(), next_early.get(), 2 * capacity).early; }
};

}  // namespace

TEST_CASE_FIXTURE(sent_in_two, "a stream goes on in a ring once that is announced, and the one before it is released") {
    incoming in = accept();
    for (int i = 0; i < 3; ++i) {
        REQUIRE(take(in, m) == next::message);
        CHECK(in.release(at[i]) == 0);
    }
    link_state before = state();
    CHECK(take(in, m) == next::continued);
    CHECK(in.at_continued());
    CHECK_FALSE(in.go_on());
    CHECK(state() == before);
    CHECK_FALSE(announce(in, 16));  // after one that is not
    REQUIRE(announce(in));
    REQUIRE(in.go_on());
    CHECK_FALSE(in.at_continued());
    CHECK(state().released == base);
    for (int i = 3; i < 6; ++i) {
        REQUIRE(take(in, m) == next::message);
        CHECK(m.tag == i);
        CHECK(m.position == at[i]);
        CHECK(m.sequence == i + 1);
        CHECK(in.release(at[i]) == 0);
        CHECK(in.release(at[i]) == -ESTALE);
    }
    CHECK(in.release(at[1]) == -ESTALE);
    CHECK(take(in, m) == next::nothing);
    CHECK(state().released == at[6]);
}

TEST_CASE("in whatever order messages of two rings are released, `released` and the bits say what is held") {
    std::array<int, 6> order{0, 1, 2, 3, 4, 5};
    do {
        sent_in_two s;
        incoming in = s.accept();
        REQUIRE(s.announce(in));
        ipc_message m{};
        for (int i = 0; i < 6; ++i) {
            if (i == 3) REQUIRE(in.go_on());
            REQUIRE(take(in, m) == next::message);
        }
        std::set<std::uint64_t> held(s.at.begin(), s.at.end() - 1);
        for (int i : order) {
            REQUIRE(in.release(s.at[i]) == 0);
            REQUIRE(in.release(s.at[i]) == -ESTALE);
            held.erase(s.at[i]);
            std::uint64_t oldest = held.empty() ? s.at[6] : *held.begin();
            std::set<std::uint64_t> first, second;
            for (int k = 0; k < 6; ++k)
                if (s.at[k] >= oldest && !held.count(s.at[k])) (k < 3 ? first : second).insert(s.at[k]);
            CHECK(s.state().released == oldest);
            CHECK(in.held() == held.size());
            if (oldest < s.base) CHECK(s.state().early == first);  // of a ring that is done with, nobody asks
            CHECK(s.early() == second);
        }
    } while (std::next_permutation(order.begin(), order.end()) && order[0] < 3);
}

TEST_CASE_FIXTURE(sent_in_two,
                  "the last of two rings that are announced after the same one is that in which a stream goes on") {
    incoming in = accept();
    REQUIRE(in.announce(0, mapped({base + 160, 2 * capacity}, next_ring, next_bits)));
    REQUIRE(announce(in));
    for (int i = 0; i < 6; ++i) {
        if (i == 3) REQUIRE(in.go_on());
        REQUIRE(take(in, m) == next::message);
    }
    CHECK(m.tag == 5);
    CHECK_FALSE(in.announce(0, mapped({at[6] + 16, 2 * capacity}, next_ring, next_bits)));
    CHECK(in.announce(base, mapped({at[6] + 16, 2 * capacity}, next_ring, next_bits)));
}
