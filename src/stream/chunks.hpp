// How messages travel where several senders share one way (a FIFO), or where each piece arrives by itself or not at all
// (a datagram): chunks of a fixed header and a part of a message. PROTOCOL.md has the bytes. On a FIFO a chunk is
// written at once and has at most PIPE_BUF bytes: so those of several senders never mix. Pure.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "framing.hpp"

namespace libipc::stream {

struct chunk {
    kind what;
    std::uint16_t bytes;
    std::uint64_t sender, sequence, tag, size, offset;
    std::uint32_t pid, pid_namespace;
};

inline constexpr std::size_t chunk_header_bytes = 64;
inline constexpr std::size_t most_chunk_payload = PIPE_BUF - chunk_header_bytes;

void put(const chunk &c, std::byte *out);  // chunk_header_bytes
bool get(const std::byte *in, chunk &c);   // false: these bytes are none

// This process, as its chunks name it.
void sign(chunk &c);
std::uint32_t own_pid_namespace();

// Finds chunks in a stream of bytes, and passes over what lies between them: a reader may begin in the middle of one,
// and anybody may write into a FIFO. One that was cut short claims bytes of those that follow it: if no chunk follows
// it where it ends by its header, or nothing more is there and it is not whole, then one that begins in it ends it.
class chunk_scanner {
  public:
    chunk_scanner() : bytes_(room) {}
    // Where the next bytes go; filled() says how many came.
    std::span<std::byte> free() { return std::span(bytes_).subspan(end_); }
    void filled(std::size_t n) {
        end_ += n;
        filled_up_ = end_ == bytes_.size();
    }
    // Calls f(chunk, payload) for each whole one, until f returns false: that one is told again next time. False then.
    template <class F>
    bool each(F f) {
        chunk c;
        bool go_on = true;
        while (find(c)) {
            std::span<const std::byte> payload(bytes_.data() + begin_ + chunk_header_bytes, c.bytes);
            if (!(go_on = f(c, payload))) break;
            begin_ += chunk_header_bytes + c.bytes;
        }
        tidy();
        return go_on;
    }
    std::uint64_t take_passed_over() { return std::exchange(passed_over_, 0); }  // bytes since the last call
    template <class Archive>
    void hand_over(Archive &a) {
        a(bytes_, begin_, end_, filled_up_, passed_over_);
    }

  private:
    bool find(chunk &c);
    bool continues(std::size_t at) const;
    std::size_t next_chunk(std::size_t from, std::size_t to) const;
    void tidy();

    static constexpr std::size_t room = (64 << 10) + 2 * PIPE_BUF;
    std::vector<std::byte> bytes_;
    std::size_t begin_ = 0, end_ = 0;
    bool filled_up_ = false;  // there may be more that was written at once with the last of it
    std::uint64_t passed_over_ = 0;
};

}  // namespace libipc::stream
