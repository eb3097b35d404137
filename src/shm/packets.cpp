#include "packets.hpp"

#include <ipc/ipc.h>

#include <algorithm>
#include <cerrno>

#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr std::uint64_t most_position = std::uint64_t{1} << 62;  // far from where counting would start again
static_assert(most_fds == layout::hello_fds(layout::most_rings, true));

void check_place(const layout::ring_place &place) {
    if (place.capacity < layout::least_capacity || place.capacity > layout::most_capacity || place.capacity % 4096 != 0)
        fail(-EINVAL, "a ring of {} bytes is none of ours", place.capacity);
    if (place.base % layout::frame_align != 0 || place.base > most_position)
        fail(-EINVAL, "a ring that begins at {} is none of ours", place.base);
}

void check_head(const layout::preamble &head, const received &got, std::uint64_t magic, const char *what,
                std::size_t size) {
    auto heard = static_cast<std::size_t>(got.size);
    if (heard < sizeof(layout::preamble) || head.magic != magic)
        fail(-EINVAL, "these are not the first bytes of a libipc sender's {}", what);
    if (head.version != layout::version)
        fail(IPC_EVERSION,
             "the sender has memory layout {}, this receiver has {}: build both with the same version of libipc",
             head.version, layout::version);
    if (heard != size || head.size != size) fail(-EINVAL, "the {} has {} bytes instead of {}", what, heard, size);
}

void check_fds(const received &got, const char *what, std::size_t count) {
    if (got.count != count || got.fds_cut)
        fail(-EINVAL, "the {} came with {}{} descriptors instead of {}", what, got.fds_cut ? "more than " : "",
             got.count, count);
}

template <class Packet>
bool is(const Packet &p, std::uint64_t magic, const received &got) {
    return got.size == sizeof p && p.head.magic == magic && p.head.version == layout::version &&
           p.head.size == sizeof p;
}

}  // namespace

std::size_t fds_of(const layout::hello &h) {
    return layout::hello_fds(std::min<std::uint64_t>(h.rings, layout::most_rings), h.with_pid == 1);
}

void check_hello(const layout::hello &h, const received &got) {
    check_head(h.head, got, layout::hello_magic, "hello", sizeof h);
    if (h.rings == 0 || h.rings > layout::most_rings)
        fail(-EINVAL, "{} rings are none of ours; a sender has 1 to {}", h.rings, layout::most_rings);
    check_fds(got, "hello", fds_of(h));
    bool good = (h.start | h.oldest | h.redelivered_until | h.committed) % layout::frame_align == 0 &&
                h.oldest <= h.start && h.start <= h.committed && h.redelivered_until <= h.committed &&
                h.committed <= most_position && h.start_sequence >= h.oldest_sequence && h.sender != 0 &&
                h.ring[0].base <= h.oldest;
    for (std::size_t i = 0; i < h.rings; ++i) {
        check_place(h.ring[i]);
        // Its part of the stream from `oldest` on lies in it. Only the first can begin before that.
        std::uint64_t from = i == 0 ? h.oldest : h.ring[i].base;
        std::uint64_t until = i + 1 < h.rings ? h.ring[i + 1].base : h.committed;
        good = good && from <= until && until - from <= h.ring[i].capacity && (i + 1 == h.rings || from < until);
    }
    if (!good) fail(-EINVAL, "the positions in the hello contradict each other");
}

void check_ring(const layout::ring_notice &n, const received &got) {
    check_head(n.head, got, layout::ring_magic, "ring", sizeof n);
    check_fds(got, "ring", layout::ring_fds);
    check_place(n.place);
}

void check_space_bell(const fd &bell) {
    if (!is_anon_inode(bell.get(), "anon_inode:[eventfd]")) fail(-EINVAL, "the doorbell is not an eventfd");
    if (!is_nonblocking(bell.get())) fail(-EINVAL, "the doorbell would block whoever rings it");
}

read_ring map_ring(const layout::ring_place &place, const fd &memory, int link_file, std::uint64_t bits_at) {
    return {place, map_peer_ring(memory.get(), place.capacity),
            map_link_part(link_file, bits_at, layout::bits_bytes(place.capacity))};
}

bool is_waiting(const layout::waiting &w, const received &got) { return is(w, layout::waiting_magic, got); }

bool is_answer(const layout::answer &a, const received &got) { return is(a, layout::answer_magic, got); }

bool is_notice(const layout::notice &n, const received &got) { return is(n, layout::notice_magic, got); }

bool is_wake(const layout::notice &n, const received &got) {
    return is_notice(n, got) && n.what == layout::notice_kind::wake;
}

bool is_lack(int code) {
    return code == -EAGAIN || code == -ENOMEM || code == -ENOSPC || code == -EMFILE || code == -ENFILE;
}

}  // namespace libipc
