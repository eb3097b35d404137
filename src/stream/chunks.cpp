#include "chunks.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace libipc::stream {

namespace {

constexpr char magic[4] = {'i', 'p', 'c', 'c'};
constexpr std::uint8_t version = 2;

struct wire_chunk {
    char magic[4];
    std::uint8_t version;
    std::uint8_t what;
    std::uint16_t bytes;
    std::uint64_t sender, sequence, tag, size, offset;
    std::uint32_t pid, pid_namespace;
    std::uint32_t check;
    std::uint32_t zero;
};
static_assert(sizeof(wire_chunk) == chunk_header_bytes);

// FNV-1a of 64 bits (Fowler, Noll, Vo), which takes eight bytes at a time here, and its halves xored.
std::uint32_t check_of(const wire_chunk &w) {
    std::uint64_t words[offsetof(wire_chunk, check) / 8];
    std::memcpy(words, &w, sizeof words);
    std::uint64_t sum = 14695981039346656037u;
    for (std::uint64_t word : words) sum = (sum ^ word) * 1099511628211u;
    return static_cast<std::uint32_t>(sum ^ sum >> 32);
}

}  // namespace

void put(const chunk &c, std::byte *out) {
    wire_chunk w{{},      version,         static_cast<std::uint8_t>(c.what),
                 c.bytes, c.sender,        c.sequence,
                 c.tag,   c.size,          c.offset,
                 c.pid,   c.pid_namespace, 0,
                 0};
    std::memcpy(w.magic, magic, sizeof magic);
    w.check = check_of(w);
    std::memcpy(out, &w, sizeof w);
}

bool get(const std::byte *in, chunk &c) {
    wire_chunk w;
    std::memcpy(&w, in, sizeof w);
    if (std::memcmp(w.magic, magic, sizeof magic) != 0 || w.version != version || w.zero != 0 || w.check != check_of(w))
        return false;
    auto what = static_cast<kind>(w.what);
    if ((what != kind::message && what != kind::end) || w.sender == 0 || w.offset > w.size ||
        w.bytes > w.size - w.offset)
        return false;
    c = {what, w.bytes, w.sender, w.sequence, w.tag, w.size, w.offset, w.pid, w.pid_namespace};
    return true;
}

std::uint32_t own_pid_namespace() {
    struct stat s;
    return stat("/proc/self/ns/pid", &s) == 0 ? static_cast<std::uint32_t>(s.st_ino) : 0;
}

void sign(chunk &c) {
    c.pid = static_cast<std::uint32_t>(getpid());
    c.pid_namespace = own_pid_namespace();
}

bool chunk_scanner::find(chunk &c) {
    while (end_ - begin_ >= chunk_header_bytes) {
        std::size_t to;
        if (get(bytes_.data() + begin_, c) && c.bytes <= most_chunk_payload) {
            std::size_t end = begin_ + chunk_header_bytes + c.bytes;
            if (end <= end_ && continues(end)) return true;
            // All that one of ours writes is there at once, unless our room was too small for it.
            to = end <= end_ || !filled_up_ ? next_chunk(begin_ + chunk_header_bytes, std::min(end, end_)) : end;
            if (to >= std::min(end, end_)) return end <= end_;
        } else {
            const void *next = std::memchr(bytes_.data() + begin_ + 1, magic[0], end_ - begin_ - 1);
            to = next ? static_cast<std::size_t>(static_cast<const std::byte *>(next) - bytes_.data()) : end_;
        }
        passed_over_ += to - begin_;
        begin_ = to;
    }
    return false;
}

// What is there from `at` on may be the beginning of a chunk, or nothing is.
bool chunk_scanner::continues(std::size_t at) const {
    return std::memcmp(bytes_.data() + at, magic, std::min(sizeof magic, end_ - at)) == 0;
}

// Where the first chunk between the two begins; `to` if none does.
std::size_t chunk_scanner::next_chunk(std::size_t from, std::size_t to) const {
    chunk c;
    for (; from < to; ++from) {
        const void *next = std::memchr(bytes_.data() + from, magic[0], to - from);
        if (!next) break;
        from = static_cast<std::size_t>(static_cast<const std::byte *>(next) - bytes_.data());
        if (from + chunk_header_bytes <= end_ && get(bytes_.data() + from, c)) return from;
    }
    return to;
}

void chunk_scanner::tidy() {
    if (begin_ == 0) return;
    std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
}

}  // namespace libipc::stream
