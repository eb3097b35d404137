// How messages travel on a stream of bytes (unix, tcp, an inherited socket): frames of a fixed header and a payload.
// PROTOCOL.md has the bytes, and who says what when. Pure: no system call, nothing of the rest of src/stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace libipc::stream {

enum class kind : std::uint8_t {
    message = 1,
    end = 2,     // no more will come
    hello = 3,   // from the sender; sequence: of the first message to come; tag: the last that went over a connection
                 // that broke before its answer came, and may come again. Payload: hello
    answer = 4,  // from the receiver; sequence: all up to it are released, or lost; tag: the largest message it takes.
                 // Payload: answer
    released = 5,  // from the receiver; sequence: all up to it are released; tag: all up to it are delivered. Payload:
                   // released
    ask = 6,       // from the sender: tell me `released` now, and again until it has reached `sequence`
};

struct header {
    kind what;
    std::uint64_t size;
    std::uint64_t tag;
    std::uint64_t sequence;
};

inline constexpr std::size_t header_bytes = 32;
inline constexpr std::uint8_t framing_version = 2;

struct hello {
    std::uint64_t sender;
    std::uint64_t capacity;  // bytes of its ring: no message is larger than half of it
    std::uint64_t settled;   // all messages up to it are released, or counted as lost
    std::uint64_t answered;  // `receiver` has told it of what is lost up to this one
    std::uint64_t counted;   // it has counted so many as lost of those after `settled`
    std::uint64_t receiver;  // whose answer was the last; 0: nobody's
    std::int32_t pid;
    std::uint32_t reserved;
};
struct answer {
    std::uint64_t receiver;
    std::uint32_t refused;
    std::int32_t pid;
    char words[208];           // why it refused
    std::uint64_t delivered;   // all messages of this sender up to it are, or are lost
    std::uint64_t lost;        // so many are lost that it has not been told of
    std::uint64_t lost_to;     // ... of those up to this one
    std::uint64_t lost_after;  // so many of those after `delivered` are lost
};
struct released {
    std::uint64_t lost_after;  // as in the answer
};
static_assert(sizeof(hello) == 56 && sizeof(answer) == 256);
inline constexpr std::size_t most_control_bytes = sizeof(answer);  // payload of any frame that is no message

void put(const header &h, std::byte *out);  // header_bytes
// Null, or what is wrong.
const char *get(const std::byte *in, header &h);

// Takes a stream apart, in whatever pieces it comes. The payload goes where the caller says, as soon as the header has
// told its size.
class parser {
  public:
    enum class step {
        more,    // the input is used up
        header,  // head() is there; place() what follows it. Without that, it is told again
        whole,   // ... and its payload is where it was placed
        broken,  // why() says why; nothing after it can be trusted
    };
    // Takes from `input` what belongs to the next step.
    step take(std::span<const std::byte> &input);
    const header &head() const { return head_; }
    void place(std::byte *payload) {
        payload_ = payload;
        phase_ = phase::payload;
    }
    // Nobody wants what follows it.
    void skip() { place(nullptr); }
    // The rest of a placed payload, to be read into without a detour; filled() says how much was.
    std::span<std::byte> wanted() const {
        if (phase_ != phase::payload || !payload_) return {};
        return {payload_ + (head_.size - left_), static_cast<std::size_t>(left_)};
    }
    void filled(std::size_t bytes) { left_ -= bytes; }
    // A part of a frame is there: if the stream ends now, that was cut off.
    bool inside() const { return phase_ != phase::header || have_ != 0; }
    bool placed() const { return phase_ == phase::payload; }
    // So many bytes bring the next step.
    std::size_t needs() const {
        return phase_ == phase::header ? header_bytes - have_ : static_cast<std::size_t>(left_);
    }
    const char *why() const { return why_; }

    // A payload in the memory of an inbox stays there; for any other, replace() says where it is now.
    template <class Archive>
    void hand_over(Archive &a) {
        a(phase_, have_, bytes_, head_);
        a.resource(payload_, static_cast<std::byte *>(nullptr));
        a(left_);
        a.rebuilt(why_);
    }
    void replace(std::byte *payload) { payload_ = payload; }

  private:
    enum class phase : std::uint8_t { header, unplaced, payload, broken };
    phase phase_ = phase::header;
    std::size_t have_ = 0;
    std::byte bytes_[header_bytes];
    header head_{};
    std::byte *payload_ = nullptr;
    std::uint64_t left_ = 0;  // of the payload
    const char *why_ = nullptr;
};

}  // namespace libipc::stream
