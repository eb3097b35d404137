#include "framing.hpp"

#include <algorithm>
#include <bit>

namespace libipc::stream {

// As on every machine that libipc is built for; elsewhere numbers would have to be turned.
static_assert(std::endian::native == std::endian::little);

namespace {

constexpr char magic[4] = {'i', 'p', 'c', 'f'};

struct wire_header {
    char magic[4];
    std::uint8_t version;
    std::uint8_t what;
    std::uint16_t zero;
    std::uint64_t size, tag, sequence;
};
static_assert(sizeof(wire_header) == header_bytes);

}  // namespace

void put(const header &h, std::byte *out) {
    wire_header w{{}, framing_version, static_cast<std::uint8_t>(h.what), 0, h.size, h.tag, h.sequence};
    std::memcpy(w.magic, magic, sizeof magic);
    std::memcpy(out, &w, sizeof w);
}

const char *get(const std::byte *in, header &h) {
    wire_header w;
    std::memcpy(&w, in, sizeof w);
    if (std::memcmp(w.magic, magic, sizeof magic) != 0) return "these bytes are no frame of libipc";
    if (w.version != framing_version) return "the peer frames its messages as another version of libipc does";
    bool control = w.what != static_cast<std::uint8_t>(kind::message);
    if (w.what < 1 || w.what > static_cast<std::uint8_t>(kind::ask) || w.zero != 0 ||
        (control && w.size > most_control_bytes))
        return "the header of a frame contradicts itself";
    h = {static_cast<kind>(w.what), w.size, w.tag, w.sequence};
    return nullptr;
}

parser::step parser::take(std::span<const std::byte> &input) {
    if (phase_ == phase::header) {
        std::size_t n = std::min(header_bytes - have_, input.size());
        if (n != 0) std::memcpy(bytes_ + have_, input.data(), n);
        have_ += n;
        input = input.subspan(n);
        // What can't become a header is told at once, and not after 32 bytes that may never come.
        std::size_t seen = std::min(have_, sizeof magic);
        if (std::memcmp(bytes_, magic, seen) != 0) {
            why_ = "these bytes are no frame of libipc";
            phase_ = phase::broken;
            return step::broken;
        }
        if (have_ < header_bytes) return step::more;
        if ((why_ = get(bytes_, head_))) {
            phase_ = phase::broken;
            return step::broken;
        }
        left_ = head_.size;
        phase_ = phase::unplaced;
    }
    if (phase_ == phase::broken) return step::broken;
    if (phase_ == phase::unplaced) return step::header;
    auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size()));
    if (n != 0 && payload_) std::memcpy(payload_ + (head_.size - left_), input.data(), n);
    left_ -= n;
    input = input.subspan(n);
    if (left_ != 0) return step::more;
    phase_ = phase::header;
    have_ = 0;
    return step::whole;
}

}  // namespace libipc::stream
