// The memory of what was received.
#include "stream/inbox.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <random>

using libipc::stream::inbox;

namespace {

bool put_in(inbox &box, std::uint64_t size, std::uint64_t sequence) {
    std::byte *place = box.place(size);
    if (!place) return false;
    std::memset(place, static_cast<int>(sequence & 255), size);
    box.keep(size, sequence * 3, sequence, 42, 0);
    return true;
}

ipc_message take(inbox &box) {
    ipc_message m{};
    box.take(m);
    return m;
}

bool intact(const ipc_message &m) {
    auto *bytes = static_cast<const unsigned char *>(m.data);
    for (std::size_t i = 0; i < m.size; ++i)
        if (bytes[i] != (m.sequence & 255)) return false;
    return m.tag == m.sequence * 3 && m.sender == 42 &&
           reinterpret_cast<std::uintptr_t>(m.data) % (m.size >= 256 ? 64 : 16) == 0;
}

}  // namespace

TEST_CASE("an inbox takes the largest message wherever it stands") {
    inbox box(1 << 16);
    std::uint64_t sequence = 0;
    // One small message is held, so that it does not start over.
    for (std::uint64_t before = 0; before < 40'000; before += 2'003) {
        REQUIRE(put_in(box, before, ++sequence));
        ipc_message a = take(box);
        CHECK(box.release(a.position) == 0);
        REQUIRE(put_in(box, box.most(), ++sequence));
        ipc_message b = take(box);
        CHECK(intact(b));
        CHECK(box.release(b.position) == 0);
    }
}

TEST_CASE("an inbox is bounded, and has room again when the oldest is released") {
    inbox box(1 << 16);
    std::uint64_t sequence = 0;
    while (put_in(box, 1000, sequence + 1)) ++sequence;
    CHECK(sequence > 50);
    CHECK(sequence < 70);
    std::deque<ipc_message> held;
    while (box.waiting()) held.push_back(take(box));
    CHECK(held.size() == sequence);
    for (std::size_t i = 1; i < held.size(); ++i) CHECK(box.release(held[i].position) == 0);
    CHECK(!put_in(box, 1000, sequence + 1));  // the oldest is in the way
    CHECK(box.released_sequence() == 0);
    CHECK(box.release(held[0].position) == 0);
    CHECK(box.released_sequence() == sequence);
    CHECK(put_in(box, 1000, sequence + 1));
}

TEST_CASE("an inbox refuses to release what it does not hold") {
    inbox box(1 << 16);
    REQUIRE(put_in(box, 5000, 1));
    CHECK(box.release(0) == -ESTALE);  // not received yet
    ipc_message m = take(box);
    CHECK(box.release(m.position + 16) == -ESTALE);
    CHECK(box.release(m.position + 1) == -ESTALE);
    CHECK(box.release(~std::uint64_t{15}) == -ESTALE);
    CHECK(box.release(m.position) == 0);
    CHECK(box.release(m.position) == -ESTALE);
}

TEST_CASE("what is given up leaves no trace") {
    inbox box(1 << 16);
    REQUIRE(box.place(1000) != nullptr);
    box.give_up();
    CHECK(!box.waiting());
    REQUIRE(put_in(box, 10, 1));
    CHECK(take(box).sequence == 1);
}

TEST_CASE("messages of an inbox keep their bytes whatever is released when") {
    std::mt19937 random(3);
    inbox box(1 << 16);
    std::vector<ipc_message> held;
    std::uint64_t sequence = 0, taken = 0;
    for (int step = 0; step < 100'000; ++step) {
        switch (random() % 3) {
            case 0: {
                std::uint64_t size = random() % 4 == 0 ? random() % box.most() : random() % 600;
                if (put_in(box, size, sequence + 1)) ++sequence;
                break;
            }
            case 1:
                if (box.waiting()) {
                    held.push_back(take(box));
                    REQUIRE(held.back().sequence == ++taken);
                }
                break;
            default:
                if (!held.empty()) {
                    std::size_t which = random() % held.size();
                    REQUIRE(intact(held[which]));
                    REQUIRE(box.release(held[which].position) == 0);
                    held[which] = held.back();
                    held.pop_back();
                }
        }
        REQUIRE(box.held() == held.size());
    }
    CHECK(taken > 1000);
}
