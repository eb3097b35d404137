#include "shm/outgoing.hpp"

#include <vector>

#include "link.hpp"

using namespace libipc;

namespace {

constexpr std::uint64_t capacity = 64 << 10;

constexpr layout::ring_place one_ring[] = {{0, capacity}};

// What a receiver that is gone has left.
struct left_place : place {
    left_place(std::uint64_t released, std::uint64_t delivered) : place{released, delivered} {
        early.add(one_ring[0], file.get(), 0);
    }
    fd file = make_link_memory(layout::bits_bytes(capacity));
    mapping map = map_link_part(file.get(), 0, layout::bits_bytes(capacity));
    early_bits early;
    std::byte *bits() const { return map.get(); }
};

// A link whose words a test sets as a receiver would, or would not.
struct linked {
    explicit linked(std::uint64_t oldest, std::uint64_t start, const left_place *predecessor = nullptr)
        : out(one_ring, oldest, start),
          // The file is open until it was handed over.
          map(map_link_part(out.memory_file(), layout::link_words_bytes, layout::bits_bytes(capacity))),
          bits(map.get()) {
        if (predecessor) out.succeed(*predecessor, predecessor->early);
    }
    outgoing out;
    mapping map;
    std::byte *bits;
    std::byte *memory() { return reinterpret_cast<std::byte *>(&out.words()); }
    link_state state() { return state_of(memory(), bits, capacity); }
    void says(std::uint64_t released, std::uint64_t delivered) {
        out.words().released = released;
        out.words().delivered = delivered;
    }
};

}  // namespace

TEST_CASE("a new link gates at the oldest message, and its bits are clear") {
    linked l(96, 160);
    CHECK(l.state() == link_state{.delivered = 96, .released = 96});
    CHECK(l.out.released() == 96);
    CHECK(l.out.redelivered_until() == 0);
}

TEST_CASE("the link of a successor has the bits of what was delivered and not released, and no others") {
    left_place before(capacity - 32, capacity + 64);
    std::set<std::uint64_t> within{capacity - 32, capacity - 16, 0, 48}, outside{64, 80, 4096, capacity - 48};
    for (auto &all : {within, outside})
        for (std::uint64_t offset : all) set_bit(before.bits(), offset);
    linked l(capacity - 32, capacity - 32, &before);
    CHECK(l.state() == link_state{.delivered = capacity - 32, .released = capacity - 32, .early = within});
    CHECK(l.out.redelivered_until() == capacity + 64);
}

TEST_CASE("a successor of a receiver that left no bits has none") {
    left_place before(32, 64);
    linked l(32, 32, &before);
    CHECK(l.state() == link_state{.delivered = 32, .released = 32});
    CHECK(l.out.redelivered_until() == 64);
}

TEST_CASE("words that go on are taken over") {
    linked l(96, 160);
    l.out.words().accepted = 1;
    l.says(160, 320);
    CHECK(l.out.refresh(4096));
    CHECK(l.out.released() == 160);
    CHECK(l.out.refresh(4096));  // the same again
    l.says(4096, 4096);          // up to the head
    CHECK(l.out.refresh(4096));
    CHECK(l.out.released() == 4096);
}

TEST_CASE("an end that is released and was not delivered is no fault") {
    linked l(0, 0);
    l.says(16, 0);
    CHECK(l.out.refresh(16));
    CHECK(l.out.released() == 16);
}

TEST_CASE("a receiver that joins others and wants the oldest message starts before the place that it was offered") {
    linked l(96, 160);
    CHECK(l.out.refresh(160));  // not chosen yet
    ipc_link told{};
    l.out.fill(told, 160);
    CHECK(told.delivered == 160);
    l.out.words().delivered = 96;
    l.out.words().accepted = 1;
    CHECK(l.out.refresh(160));
    CHECK(l.out.released() == 96);
    l.out.fill(told, 160);
    CHECK(told.delivered == 96);
}

TEST_CASE("words that no receiver writes are refused, and change nothing") {
    linked l(96, 160);
    l.out.words().accepted = 1;
    l.says(160, 320);
    REQUIRE(l.out.refresh(640));
    for (auto [released, delivered] : {std::pair<std::uint64_t, std::uint64_t>{144, 320},  // released goes backwards
                                       {160, 304},                                         // delivered does
                                       {656, 656},                                         // released past the head
                                       {160, 656},                                         // delivered past it
                                       {168, 320},                                         // where no frame starts
                                       {160, 321},
                                       {~std::uint64_t{0} - 15, 320},
                                       {160, ~std::uint64_t{0} - 15}}) {
        l.says(released, delivered);
        link_state before = l.state();
        CHECK_FALSE(l.out.refresh(640));
        CHECK(l.state() == before);
        CHECK(l.out.released() == 160);
        ipc_link told{};
        l.out.fill(told, 640);
        CHECK(told.released == 160);
        CHECK(told.delivered == 320);
    }
    l.says(160, 320);
    CHECK(l.out.refresh(640));
}

// ---- Leaving --------------------------------------------------------------------------------------------------------

TEST_CASE("a receiver that went before it chose leaves the place that it was offered") {
    linked l(96, 160);
    REQUIRE(l.out.refresh(320));
    l.out.lose();
    place v = l.out.where();
    CHECK(v.released == 160);
    CHECK(v.delivered == 160);
}

TEST_CASE("a receiver that is gone leaves what it had released, what was delivered to it, and its bits") {
    linked l(96, 160);
    l.out.words().accepted = 1;
    l.says(176, 320);
    set_bit(l.bits, 208);
    REQUIRE(l.out.refresh(320));
    l.out.lose();
    place v = l.out.where();
    CHECK(v.released == 176);
    CHECK(v.delivered == 320);
    early_bits early = l.out.take_early();
    CHECK(early.test(208));
    CHECK_FALSE(early.test(192));
}

TEST_CASE("a receiver that only leaves keeps its bits, as it writes them still") {
    linked l(0, 0);
    l.out.words().accepted = 1;
    l.says(16, 64);
    REQUIRE(l.out.refresh(64));
    l.out.at = outgoing::stage::left;
    place v = l.out.where();
    CHECK(v.released == 16);
    CHECK(v.delivered == 64);
    set_bit(l.bits, 32);
    CHECK_FALSE(l.out.needs(32));
    CHECK(l.out.needs(48));
    CHECK(l.state() == link_state{.delivered = 64, .released = 16, .accepted = 1, .early = {32}});
}

TEST_CASE("a mark of redelivery lasts through a second death") {
    left_place before(0, 320);
    linked l(0, 0, &before);
    l.out.words().accepted = 1;
    l.says(0, 64);  // it got one message of those
    REQUIRE(l.out.refresh(640));
    l.out.lose();
    place v = l.out.where();
    CHECK(v.released == 0);
    CHECK(v.delivered == 320);
}

TEST_CASE("a place never lies before what was released, whatever becomes of the word `accepted`") {
    linked l(96, 160);
    l.out.words().accepted = 1;
    l.says(320, 320);
    REQUIRE(l.out.refresh(640));
    l.out.words().accepted = 0;
    l.out.lose();
    place v = l.out.where();
    CHECK(v.released == 320);
    CHECK(v.delivered == 320);
}

TEST_CASE("a receiver that left needs what it holds, and nothing that it had not got") {
    linked l(0, 0);
    l.out.words().accepted = 1;
    l.says(16, 64);
    set_bit(l.bits, 32);
    REQUIRE(l.out.refresh(640));
    CHECK(l.out.needs(80));
    l.out.at = outgoing::stage::left;
    CHECK_FALSE(l.out.needs(0));
    CHECK(l.out.needs(16));
    CHECK_FALSE(l.out.needs(32));
    CHECK(l.out.needs(48));
    CHECK_FALSE(l.out.needs(80));
}

// ---- Bits, waking, telling ------------------------------------------------------------------------------------------

TEST_CASE("a bit counts for what was delivered, and not for the message a ring's length later") {
    linked l(0, 0);
    l.out.words().accepted = 1;
    l.says(64, 320);
    REQUIRE(l.out.refresh(capacity));
    set_bit(l.bits, 128);
    set_bit(l.bits, 32);  // behind `released`, and not cleared yet
    CHECK(l.out.released_early(128));
    CHECK_FALSE(l.out.released_early(64));
    CHECK_FALSE(l.out.released_early(capacity + 32));
}

TEST_CASE("a bit of a predecessor counts before its message was delivered again") {
    left_place before(0, 320);
    set_bit(before.bits(), 128);
    linked l(0, 0, &before);
    CHECK(l.out.released_early(128));
    CHECK_FALSE(l.out.released_early(144));
}

TEST_CASE("a sender that waits for room says for which, and takes back the leave to release without a fence") {
    linked l(0, 0);
    l.out.allow_unfenced(true);
    CHECK(l.out.words().sender_unfenced == 0);  // the receiver has no membarrier, or has not answered
    CHECK_FALSE(l.out.forbid_unfenced());
    l.out.receiver_membarrier = true;
    l.out.allow_unfenced(false);
    CHECK(l.out.words().sender_unfenced == 0);
    l.out.allow_unfenced(true);
    CHECK(l.state() == link_state{.sender_unfenced = 1});
    CHECK(l.out.forbid_unfenced());
    CHECK(l.state() == link_state{});
    CHECK_FALSE(l.out.forbid_unfenced());
    l.out.sleep_until(4096);
    CHECK(l.state() == link_state{.wants = 4096});
    l.out.set_awake();
    CHECK(l.state() == link_state{});
}

TEST_CASE("a link tells who receives, and how it stands") {
    linked l(0, 64);
    l.out.receiver = 42;
    l.out.process = 4711;
    l.out.words().skipped = 3;
    ipc_link told{};
    l.out.fill(told, 640);
    CHECK(told.peer == 42);
    CHECK(told.pid == 4711);
    CHECK(told.state == IPC_LINK_CONNECTING);
    CHECK(told.committed == 640);
    CHECK(told.delivered == 64);
    CHECK(told.released == 0);
    CHECK(told.skipped == 3);
    l.out.at = outgoing::stage::up;
    l.out.fill(told, 640);
    CHECK(told.state == IPC_LINK_UP);
    l.out.at = outgoing::stage::left;
    l.out.fill(told, 640);
    CHECK(told.state == IPC_LINK_LEFT);
}
