#include "inbox.hpp"

#include <cerrno>

#include "memory/layout.hpp"

namespace libipc::stream {

using layout::round_up;

// Before each message. What is skipped at the end of the memory has one too.
struct inbox::record {
    std::uint64_t length;  // to the next record
    std::uint64_t size;
    std::uint64_t tag;
    std::uint64_t sequence;
    std::uint64_t sender;
    std::uint32_t flags;
    std::uint16_t payload_offset;
    std::uint16_t released;
};

namespace {

constexpr std::uint64_t no_message = ~std::uint64_t{0};  // the size in a record of what was skipped
constexpr std::uint64_t unit = 16;
constexpr std::size_t record_bytes = 48;

// A record, then the payload as ipc.h says that it is aligned.
constexpr std::uint64_t payload_offset_for(std::uint64_t offset, std::uint64_t size) {
    std::uint64_t align = size < layout::payload_align_from ? unit : layout::payload_align;
    return round_up(offset + record_bytes, align) - offset;
}

}  // namespace

inbox::inbox(std::uint64_t capacity, std::uint64_t key, std::size_t spare)
    // Two of the largest messages with all that is around them, as one may have to skip nearly its own length.
    : capacity_(round_up(capacity + 512, 4096)), most_(capacity / 2), key_(key) {
    static_assert(sizeof(record) == record_bytes);
    memory_ = make_private(capacity_ + spare);
    starts_ = make_private(round_up(capacity_ / unit / 8, 4096));
}

inbox::record &inbox::at(std::uint64_t position) const {
    return *reinterpret_cast<record *>(memory_.get() + position % capacity_);
}

std::uint64_t &inbox::starts_word(std::uint64_t position) const {
    return reinterpret_cast<std::uint64_t *>(starts_.get())[position % capacity_ / unit / 64];
}

std::byte *inbox::place(std::uint64_t size) {
    // Nothing is there: start over, where the memory is in the cache.
    if (tail_ == head_) tail_ = next_ = head_ = round_up(head_, capacity_);
    std::uint64_t offset = head_ % capacity_, payload = payload_offset_for(offset, size);
    std::uint64_t length = round_up(payload + size, unit);
    skipped_ = 0;
    if (offset + length > capacity_) {
        skipped_ = capacity_ - offset;
        payload = payload_offset_for(0, size);
        length = round_up(payload + size, unit);
    }
    if (head_ + skipped_ + length - tail_ > capacity_) return nullptr;
    placed_ = skipped_ + length;
    record &r = at(head_ + skipped_);
    r.payload_offset = static_cast<std::uint16_t>(payload);
    return reinterpret_cast<std::byte *>(&r) + payload;
}

void inbox::keep(std::uint64_t size, std::uint64_t tag, std::uint64_t sequence, std::uint64_t sender,
                 std::uint32_t flags) {
    placed_ = 0;
    if (skipped_ != 0) {
        // Less than a record may be left there: only its first words are written, which always fit in 16 bytes.
        record &gap = at(head_);
        gap.length = skipped_;
        gap.size = no_message;
        head_ += skipped_;
        if (next_ == head_ - skipped_) next_ = head_;
        if (tail_ == head_ - skipped_) tail_ = head_;
    }
    record &r = at(head_);
    r.length = round_up(r.payload_offset + size, unit);
    r.size = size;
    r.tag = tag;
    r.sequence = sequence;
    r.sender = sender;
    r.flags = flags;
    r.released = 0;
    head_ += r.length;
    accounted_ = std::max(accounted_, sequence);
    ++unread_;
}

void inbox::take(ipc_message &out) {
    if (at(next_).size == no_message) next_ += at(next_).length;
    record &r = at(next_);
    out.data = reinterpret_cast<std::byte *>(&r) + r.payload_offset;
    out.size = r.size;
    out.tag = r.tag;
    out.sequence = r.sequence;
    out.sender = r.sender;
    out.flags = r.flags;
    out.position = key_ + next_;
    starts_word(next_) |= std::uint64_t{1} << (next_ % capacity_ / unit % 64);
    next_ += r.length;
    delivered_sequence_ = r.sequence;
    --unread_;
    catch_up();
    ++held_;
}

std::int32_t inbox::release(std::uint64_t position) {
    position -= key_;
    if (position >= next_ || position < tail_ || position % unit != 0) return -ESTALE;
    std::uint64_t bit = std::uint64_t{1} << (position % capacity_ / unit % 64);
    if (!(starts_word(position) & bit)) return -ESTALE;
    starts_word(position) &= ~bit;
    at(position).released = 1;
    --held_;
    while (tail_ != next_) {
        record &r = at(tail_);
        if (r.size != no_message) {
            if (!r.released) break;
            released_sequence_ = r.sequence;
        }
        tail_ += r.length;
    }
    catch_up();
    return 0;
}

}  // namespace libipc::stream
