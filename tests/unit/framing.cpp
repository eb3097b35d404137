// Frames and chunks, taken apart from any stream of bytes in any split.
#include "stream/framing.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "stream/chunks.hpp"

using namespace libipc::stream;

namespace {

using bytes = std::vector<std::byte>;

void append(bytes &to, const void *data, std::size_t size) {
    auto *from = static_cast<const std::byte *>(data);
    to.insert(to.end(), from, from + size);
}

void append_frame(bytes &to, kind what, const std::string &payload, std::uint64_t tag, std::uint64_t sequence) {
    std::byte head[header_bytes];
    put(header{what, payload.size(), tag, sequence}, head);
    append(to, head, sizeof head);
    append(to, payload.data(), payload.size());
}

struct told {
    kind what;
    std::string payload;
    std::uint64_t tag, sequence;
    bool operator==(const told &) const = default;
};

// Feeds pieces of `piece` bytes; every second payload is read into directly, as a socket does.
std::vector<told> take_apart(const bytes &stream, std::size_t piece, bool &broken) {
    std::vector<told> found;
    parser p;
    std::vector<std::byte> place;
    std::size_t at = 0;
    broken = false;
    while (at < stream.size() && !broken) {
        std::size_t n = std::min(piece, stream.size() - at);
        if (std::span<std::byte> wanted = p.wanted(); !wanted.empty() && found.size() % 2) {
            n = std::min(n, wanted.size());
            std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), n, wanted.begin());
            p.filled(n);
            at += n;
            n = 0;
        }
        std::span<const std::byte> input(stream.data() + at, n);
        at += n;
        for (bool more = true; more;) {
            switch (p.take(input)) {
                case parser::step::more:
                    more = false;
                    break;
                case parser::step::header:
                    place.assign(p.head().size + 1, std::byte{});
                    p.place(place.data());
                    break;
                case parser::step::whole:
                    found.push_back({p.head().what, std::string(reinterpret_cast<char *>(place.data()), p.head().size),
                                     p.head().tag, p.head().sequence});
                    break;
                case parser::step::broken:
                    CHECK(p.why() != nullptr);
                    broken = true;
                    more = false;
                    break;
            }
        }
    }
    return found;
}

chunk chunk_of(std::uint64_t sender, std::uint64_t sequence, std::size_t size) {
    return {kind::message, static_cast<std::uint16_t>(size), sender, sequence, 9, size, 0, 1, 2};
}

void append_chunk(bytes &to, const chunk &c) {
    std::byte head[chunk_header_bytes];
    put(c, head);
    append(to, head, sizeof head);
    bytes payload(c.bytes, static_cast<std::byte>(c.sequence));
    append(to, payload.data(), payload.size());
}

std::vector<std::uint64_t> scan(const bytes &stream, std::size_t piece, std::uint64_t &passed_over) {
    chunk_scanner s;
    std::vector<std::uint64_t> found;
    for (std::size_t at = 0; at < stream.size();) {
        std::size_t n = std::min({piece, stream.size() - at, s.free().size()});
        REQUIRE(n != 0);
        std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), n, s.free().begin());
        s.filled(n);
        at += n;
        s.each([&](const chunk &c, std::span<const std::byte> payload) {
            CHECK(payload.size() == c.bytes);
            for (std::byte b : payload) CHECK(b == static_cast<std::byte>(c.sequence));
            found.push_back(c.sequence);
            return true;
        });
    }
    passed_over = s.take_passed_over();
    return found;
}

}  // namespace

TEST_CASE("frames are the same in whatever pieces they come") {
    bytes stream;
    std::vector<told> sent;
    for (std::uint64_t i = 1; i <= 12; ++i) {
        std::string payload(i * i * 7 % 200, static_cast<char>('a' + i));
        sent.push_back({kind::message, payload, i * 1000, i});
        append_frame(stream, kind::message, payload, i * 1000, i);
    }
    sent.push_back({kind::end, "", 0, 12});
    append_frame(stream, kind::end, "", 0, 12);
    for (std::size_t piece = 1; piece <= 300; ++piece) {
        CAPTURE(piece);
        bool broken;
        CHECK(take_apart(stream, piece, broken) == sent);
        CHECK(!broken);
    }
}

TEST_CASE("what is no frame is told at its first byte that differs") {
    for (std::string foreign : {"GET / HTTP/1.1\r\n", "ipcx", "i", "\x16\x03\x01"}) {
        CAPTURE(foreign);
        parser p;
        std::span<const std::byte> input(reinterpret_cast<const std::byte *>(foreign.data()), foreign.size());
        CHECK(p.take(input) == (foreign == "i" ? parser::step::more : parser::step::broken));
        if (foreign != "i") CHECK(p.take(input) == parser::step::broken);
    }
}

TEST_CASE("a header that contradicts itself is refused") {
    std::byte good[header_bytes];
    put(header{kind::hello, 32, 0, 1}, good);
    header h;
    REQUIRE(get(good, h) == nullptr);
    auto with = [&](std::size_t at, unsigned char value) {
        std::byte bad[header_bytes];
        std::copy_n(good, header_bytes, bad);
        bad[at] = static_cast<std::byte>(value);
        return get(bad, h);
    };
    CHECK(with(0, 'x') != nullptr);
    CHECK(std::string(with(4, 1)).find("version") != std::string::npos);
    CHECK(with(5, 0) != nullptr);
    CHECK(with(5, 7) != nullptr);
    CHECK(with(6, 1) != nullptr);
    CHECK(with(9, 2) != nullptr);  // a hello of 544 bytes
}

TEST_CASE("random bytes are never taken for a frame") {
    std::mt19937 random(7);
    for (int i = 0; i < 20'000; ++i) {
        bytes stream(64);
        for (std::byte &b : stream) b = static_cast<std::byte>(random());
        bool broken;
        CHECK(take_apart(stream, 64, broken).empty());
        CHECK(broken);
    }
}

TEST_CASE("a stream that ends inside a frame shows it") {
    bytes stream;
    append_frame(stream, kind::message, "hello", 0, 1);
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        parser p;
        std::byte place[8];
        std::span<const std::byte> input(stream.data(), cut);
        if (p.take(input) == parser::step::header) {
            p.place(place);
            p.take(input);
        }
        CHECK(p.inside() == (cut != 0 && cut != stream.size()));
    }
}

TEST_CASE("chunks are found in whatever pieces they come") {
    bytes stream;
    std::vector<std::uint64_t> sent;
    for (std::uint64_t i = 1; i <= 40; ++i) {
        append_chunk(stream, chunk_of(5, i, i * 97 % most_chunk_payload));
        sent.push_back(i);
    }
    std::uint64_t passed_over;
    for (std::size_t piece : {1, 2, 3, 63, 64, 65, 1000, 4096, 70'000}) {
        CAPTURE(piece);
        CHECK(scan(stream, piece, passed_over) == sent);
        CHECK(passed_over == 0);
    }
}

TEST_CASE("a reader that begins anywhere finds the next chunk") {
    bytes stream;
    for (std::uint64_t i = 1; i <= 4; ++i) append_chunk(stream, chunk_of(5, i, 200));
    std::size_t each = chunk_header_bytes + 200;
    std::uint64_t passed_over;
    for (std::size_t from = 0; from <= each; ++from) {
        bytes rest(stream.begin() + static_cast<std::ptrdiff_t>(from), stream.end());
        std::vector<std::uint64_t> found = scan(rest, 50, passed_over);
        CHECK(found.size() == (from == 0 ? 4 : 3));
        CHECK(found.back() == 4);
        CHECK(passed_over == (from == 0 ? 0 : each - from));
    }
}

TEST_CASE("garbage between chunks is passed over and counted") {
    std::mt19937 random(11);
    bytes stream;
    std::vector<std::uint64_t> sent;
    std::uint64_t garbage = 0;
    for (std::uint64_t i = 1; i <= 30; ++i) {
        std::size_t n = random() % 300;
        for (std::size_t k = 0; k < n; ++k) stream.push_back(static_cast<std::byte>(k % 5 ? random() : 'i'));
        garbage += n;
        append_chunk(stream, chunk_of(5, i, i));
        sent.push_back(i);
    }
    std::uint64_t passed_over;
    CHECK(scan(stream, 77, passed_over) == sent);
    CHECK(passed_over == garbage);
}

TEST_CASE("a chunk with one bit turned is none") {
    std::byte good[chunk_header_bytes];
    put(chunk_of(5, 1, 100), good);
    chunk c;
    REQUIRE(get(good, c));
    for (std::size_t bit = 0; bit < 8 * chunk_header_bytes; ++bit) {
        std::byte bad[chunk_header_bytes];
        std::copy_n(good, chunk_header_bytes, bad);
        bad[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
        CHECK(!get(bad, c));
    }
}
