// Everything that two processes both see, byte for byte: frames in a ring, the words of a link, hello and answer, the
// status page. Whoever changes anything here raises `version`. No system call, no dependency on the rest of src/.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace libipc::layout {

inline constexpr std::uint32_t version = 3;

// A word that lies in shared memory.
template <class T>
using shared = std::atomic<T>;
static_assert(shared<std::uint64_t>::is_always_lock_free && sizeof(shared<std::uint64_t>) == 8);
static_assert(shared<std::uint32_t>::is_always_lock_free && sizeof(shared<std::uint32_t>) == 4);

// ---- Frames ---------------------------------------------------------------------------------------------------------

// A frame starts at a multiple of 16 bytes: this header, then padding, then the payload.
struct frame_header {
    shared<std::uint64_t> word;  // 0: nothing here yet. Stored with release: it is the commit
    std::uint64_t tag;
};
static_assert(sizeof(frame_header) == 16 && offsetof(frame_header, tag) == 8);

inline constexpr std::size_t frame_align = 16;
inline constexpr std::size_t payload_align = 64;        // of payloads of at least
inline constexpr std::size_t payload_align_from = 256;  // so many bytes

// What a ring never lends out: the zeroed word after the last frame, and its last frame, an end or a `continued`, which
// therefore never waits.
inline constexpr std::size_t kept_back = 32;

enum class kind : unsigned {
    message = 1,
    end = 2,
    continued = 3,  // the stream goes on in another ring, which begins right behind this frame
};

// The header word: bits 0-3 kind, 4-7 payload offset from the header in units of 16, 8-15 zero, 16-63 payload bytes.
constexpr std::uint64_t frame_word(kind k, std::size_t payload_offset, std::uint64_t size) {
    return static_cast<std::uint64_t>(k) | (payload_offset / frame_align) << 4 | size << 16;
}
constexpr kind kind_of(std::uint64_t word) { return static_cast<kind>(word & 15); }
constexpr std::size_t payload_offset_of(std::uint64_t word) { return (word >> 4 & 15) * frame_align; }
constexpr std::uint64_t size_of(std::uint64_t word) { return word >> 16; }
constexpr bool reserved_bits_clear(std::uint64_t word) { return (word >> 8 & 255) == 0; }

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

// Bytes from this frame's header to the next.
constexpr std::uint64_t frame_length(std::uint64_t word) {
    return round_up(payload_offset_of(word) + size_of(word), frame_align);
}

// Where the payload of a frame at `offset` of the ring starts, counted from the header.
constexpr std::size_t payload_offset_for(std::uint64_t offset, std::uint64_t size) {
    if (size < payload_align_from) return sizeof(frame_header);
    return round_up(offset + sizeof(frame_header), payload_align) - offset;
}

inline constexpr std::uint64_t least_capacity = 64 << 10;
inline constexpr std::uint64_t default_capacity = 1 << 20;
inline constexpr std::uint64_t most_capacity = std::uint64_t{64} << 30;
inline constexpr std::size_t most_rings = 16;  // of one sender at a time

// ---- Links ----------------------------------------------------------------------------------------------------------

// The first page of a link's memory. One cache line for each (writer, rate of writing), so that none moves without
// need.
struct link_words {
    // Read by the sender at every message, written by the receiver when it falls asleep or wakes.
    alignas(64) shared<std::uint32_t> asleep;  // 1: ring the data bell after a commit; the ringer sets it to 0
    shared<std::uint32_t> unfenced;            // 1: the sender need not fence between commit and the look at asleep

    // Written by the receiver at every message, read by the sender when it lacks room.
    alignas(64) shared<std::uint64_t> delivered;  // all before it was handed to the user
    shared<std::uint64_t> released;               // all before it is the sender's again
    shared<std::uint64_t> skipped;                // messages passed over
    shared<std::uint32_t> accepted;               // 1: the receiver has chosen where it starts

    // Read by the receiver at every release, written by the sender when it lacks room.
    alignas(64) shared<std::uint64_t> wants;  // ring the space bell when released reaches it; 0: the sender is awake
    shared<std::uint32_t> sender_unfenced;    // 1: the receiver need not fence between release and the look at wants
};
static_assert(offsetof(link_words, delivered) == 64 && offsetof(link_words, released) == 72);
static_assert(offsetof(link_words, wants) == 128 && sizeof(link_words) == 192);

inline constexpr std::size_t link_words_bytes = 4096;

// For each ring of the sender a link has bits: one for each 16 bytes of the ring, set while a message that starts there
// is released though an older one is not. `released` is stored first, then the bits before it are cleared, so that at
// any instant [released, delivered) and the bits tell exactly what is not released.
constexpr std::size_t bitmap_words(std::uint64_t capacity) { return capacity / frame_align / 64; }
constexpr std::uint64_t bits_bytes(std::uint64_t capacity) { return round_up(bitmap_words(capacity) * 8, 4096); }

// ---- Hello and answer -----------------------------------------------------------------------------------------------

inline constexpr std::uint64_t hello_magic = 0x6f6c6c6568637069;    // "ipchello"
inline constexpr std::uint64_t waiting_magic = 0x7374696177637069;  // "ipcwaits"
inline constexpr std::uint64_t answer_magic = 0x72776e6173637069;   // "ipcsanwr"
inline constexpr std::uint64_t notice_magic = 0x6563696f6e637069;   // "ipcnoice"
inline constexpr std::uint64_t ring_magic = 0x676e697277637069;     // "ipcwring"

// The first 16 bytes of anything sent over a link's socket never change, whatever the version.
struct preamble {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t size;
};
static_assert(sizeof(preamble) == 16);

// A part of the stream: what is at position p from `base` on lies at p % capacity of this ring, up to the next one's.
struct ring_place {
    std::uint64_t base;
    std::uint64_t capacity;
};
static_assert(sizeof(ring_place) == 16);

// A link's memory: its words, then the bits of each ring of the hello. Those of ring i begin where the memory for the
// first i rings would end.
constexpr std::uint64_t link_bytes(const ring_place *rings, std::size_t count) {
    std::uint64_t bytes = link_words_bytes;
    for (std::size_t i = 0; i < count; ++i) bytes += bits_bytes(rings[i].capacity);
    return bytes;
}

// From the sender, right after connect, with these descriptors: the link's memory, the sender's space bell, each ring's
// memory, and, where the kernel can't tell the receiver (SO_PEERPIDFD, Linux 6.5), a pidfd of the sender. A user may
// have so many descriptors on their way as a process may have open: hence as few as possible.
enum hello_fd { link_fd, space_bell_fd, first_ring_fd };
constexpr std::size_t hello_fds(std::size_t rings, bool with_pid) { return first_ring_fd + rings + (with_pid ? 1 : 0); }

struct hello {
    preamble head;
    std::uint64_t sender;
    std::uint64_t start;           // where the receiver starts if it has no wish
    std::uint64_t start_sequence;  // sequence of the first message at or after start
    std::uint64_t oldest;          // where it may start with from=oldest; the link gates here until it has chosen
    std::uint64_t oldest_sequence;
    std::uint64_t redelivered_until;  // messages before it were delivered to a receiver that is gone
    std::uint64_t committed;          // none of these positions is beyond it
    std::uint32_t membarrier;         // 1: the sender is registered for global expedited membarrier
    std::int32_t pid;
    std::uint32_t with_pid;  // 1: a pidfd is among the descriptors
    std::uint32_t reserved;
    std::uint64_t rings;          // so many of the places count; `oldest` lies in the first
    ring_place ring[most_rings];  // each begins where the one before it is continued
};
static_assert(sizeof(hello) == 96 + 16 * most_rings);

// From the sender, right after connect, if it can't say hello yet: it keeps all that the receiver is to have, and tries
// again on this connection. If that ends first, the sender has gone, and what it had for the receiver with it.
struct waiting {
    preamble head;
    std::uint64_t sender;
    std::int32_t lack;  // what it lacks: -errno
    std::uint32_t reserved;
};
static_assert(sizeof(waiting) == 32);

// From the sender, at any time after the hello, with two descriptors, the ring's memory and one with the link's bits
// for it: the stream may go on there. It does when a `continued` that ends at `base` has been committed; if another
// ring is announced after the same one, it never will.
inline constexpr std::size_t ring_fds = 2;
struct ring_notice {
    preamble head;
    std::uint64_t after;  // base of the ring that is continued
    ring_place place;
};
static_assert(sizeof(ring_notice) == 40);

// From the receiver, with the link's data bell, and a pidfd of its own where the kernel can't tell the sender. Neither
// has to arrive: for want of descriptors it is said without them, or they are lost on their way. A refusal carries
// none, but words, for whoever looks at the socket with strace.
struct answer {
    preamble head;
    std::uint64_t receiver;
    std::uint32_t refused;
    std::uint32_t membarrier;
    char words[256];
};
static_assert(sizeof(answer) == 288);

// From either side, at any time after the hello or the answer.
enum class notice_kind : std::uint32_t {
    moved = 1,    // receiver: its name was made again, or yours was deleted: see whether yours is still there
    leaving = 2,  // receiver: closed, but some messages are held: they gate on, a newcomer may take its place
    wake = 3,     // sender: the data bell rings, which it does not have
};
struct notice {
    preamble head;
    notice_kind what;
    std::uint32_t reserved;
};
static_assert(sizeof(notice) == 24);

// ---- Status page ----------------------------------------------------------------------------------------------------

inline constexpr std::uint64_t status_magic = 0x7375746174737069;  // "ipstatus"

// One link of a handle. Positions are bytes of the sender's stream; on pipes and sockets, of what went through this
// side's own memory.
struct status_link {
    std::uint64_t peer;  // 0: not known
    std::int32_t pid;
    std::int16_t state;
    std::int16_t lack;        // why it is not linked yet: -errno
    std::uint64_t committed;  // 0 on a receiver's page while the sender lives: only that knows
    std::uint64_t delivered;
    std::uint64_t released;
    std::uint64_t skipped;
    std::uint64_t lost;
};
static_assert(sizeof(status_link) == 56);

inline constexpr std::size_t status_links = 60;  // so many, and those above with them, fit a page of memory

// Lies in a memfd named ipc:<channel>. Written by its handle alone; a reader copies it and takes the copy if `turn` was
// even and the same before and after.
struct status_page {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t size;
    shared<std::uint64_t> turn;
    std::uint64_t id;
    std::int32_t pid;
    std::int32_t role;
    std::uint64_t messages;
    std::uint64_t bytes;
    std::uint64_t backlog;
    std::uint64_t capacity;
    std::uint64_t skipped;
    std::uint64_t lost;
    std::int64_t updated_ns;  // CLOCK_MONOTONIC
    std::uint32_t links;
    std::uint32_t shown;  // of them, in link
    char url[256];
    char folder[256];
    status_link link[status_links];
};
static_assert(sizeof(status_page) == 3976);

}  // namespace libipc::layout
