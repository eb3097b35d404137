#include "udp.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "memory/layout.hpp"
#include "system/failure.hpp"

namespace libipc::stream {

namespace {

constexpr std::size_t most_datagram = 65'507;  // that IPv4 takes
constexpr std::size_t datagrams_a_call = 16;
constexpr std::size_t slot = 65'536;  // of each
constexpr std::uint64_t default_capacity = 8 << 20;
constexpr int socket_buffer = 4 << 20;  // as far as the system lets us (net.core.rmem_max)
constexpr std::size_t most_senders = 1024;
constexpr std::size_t most_ended = 1024;
constexpr std::uint64_t most_sequence = std::uint64_t{1} << 62;  // so that no sum of them is too large
// An end is a datagram, and may be lost as any other.
constexpr int times_to_end = 3;

int make_udp_socket(const address &a) {
    int s = socket(a.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return s < 0 ? -errno : s;
}

}  // namespace

std::uint32_t udp_source::record::note(std::uint64_t sequence) {
    if (sequence > highest) {
        std::uint64_t ahead = sequence - highest;
        for (std::uint64_t s = ahead >= window ? sequence - window + 1 : highest + 1; s <= sequence; ++s)
            word(s) &= ~bit(s);
        highest = sequence;
    } else if (highest - sequence >= window) {
        // So late that nobody knows any more whether it came: it was counted as lost.
        ++came;
        return IPC_LATE;
    } else if (word(sequence) & bit(sequence)) {
        return IPC_DUPLICATE;
    }
    first = std::min(first, sequence);
    word(sequence) |= bit(sequence);
    ++came;
    return sequence < highest ? IPC_LATE : 0;
}

udp_source::udp_source(site &s, intake &in)
    : site_(&s),
      intake_(&in),
      bound_(resolve(s.where)),
      allowed_(s.where, bound_),
      room_(datagrams_a_call * slot),
      records_(most_senders),
      ended_(most_ended) {
    ended_.reserve();
    socket_ = made(make_udp_socket(bound_), "a socket");
    set_option(socket_.get(), SOL_SOCKET, SO_RCVBUF, socket_buffer);
    set_option(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, socket_buffer);  // root may have more
    if (bound_.family() == AF_INET6) set_option(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, s.where.host != "*");
    if (bind(socket_.get(), bound_.get(), bound_.size) != 0) fail_to_have(bound_, "udp", "bind", errno);
    bound_ = name_of_socket(socket_.get());
    point_ = watch_point(*site_->uv, *this);
    point_.begin(socket_.get());
    point_.want(true, false);
}

void udp_source::resume(site &s, intake &in) {
    site_ = &s;
    intake_ = &in;
    room_.resize(datagrams_a_call * slot);
    point_.resume(*s.uv, *this, socket_.get());
}

std::string udp_source::url() const { return url_of("udp", site_->where, bound_.port()); }

void udp_source::dropped(std::uint32_t index) {
    // One that was forgotten may have come again since, and have another origin.
    std::uint64_t sender = (*intake_)[index].sender;
    if (record *r = records_.find(sender); r && r->origin == index) records_.erase(sender);
}

void udp_source::leave() {
    point_.end();
    socket_.reset();
}

void udp_source::ready(bool, bool) {
    for (int turns = 0; turns < 16 && socket_; ++turns) {
        std::array<mmsghdr, datagrams_a_call> messages{};
        std::array<iovec, datagrams_a_call> parts;
        std::array<address, datagrams_a_call> from;
        for (std::size_t i = 0; i < datagrams_a_call; ++i) {
            parts[i] = {room_.data() + i * slot, slot};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
            messages[i].msg_hdr.msg_name = from[i].get();
            messages[i].msg_hdr.msg_namelen = sizeof from[i].storage;
        }
        int n = recvmmsg(socket_.get(), messages.data(), datagrams_a_call, MSG_DONTWAIT, nullptr);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
            from[i].size = messages[i].msg_hdr.msg_namelen;
            take({room_.data() + i * slot, messages[i].msg_len}, from[i]);
        }
        if (n < static_cast<int>(datagrams_a_call)) return;
    }
}

void udp_source::take(std::span<const std::byte> datagram, const address &from) {
    if (!allowed_.has(from)) return drop_foreign();
    if (site_->where.raw) {
        record *r = record_of(from.as_id(), 1, from);
        if (!r) return drop_unknown();
        r->highest = ++r->came;
        return keep(*r, datagram, 0, r->highest, 0);
    }
    chunk c;
    if (datagram.size() < chunk_header_bytes || !get(datagram.data(), c) || c.offset != 0 || c.size != c.bytes ||
        datagram.size() != chunk_header_bytes + c.bytes || c.sequence > most_sequence ||
        (c.sequence == 0 && c.what == kind::message))
        return drop_foreign();
    // An end is sent more than once; and what was overtaken by it was counted as lost.
    if (ended_.find(c.sender)) return;
    record *r = record_of(c.sender, c.sequence + (c.what == kind::end), from);
    if (!r) return drop_unknown();
    if (!(r->from == from)) return drop_foreign();
    if (c.what == kind::end) {
        // What was sent and is missing at the end is known by its sequence.
        if (c.sequence > r->highest) count_lost(*r, [&] { r->highest = c.sequence; });
        intake_->finish(r->origin, true);
        records_.erase(c.sender);
        return remember_end(c.sender);
    }
    std::uint32_t flags = 0;
    count_lost(*r, [&] { flags = r->note(c.sequence); });
    if (flags == IPC_DUPLICATE) ++intake_->counters.duplicated;
    if (flags == IPC_LATE) ++intake_->counters.reordered;
    keep(*r, datagram.subspan(chunk_header_bytes), c.tag, c.sequence, flags);
}

template <class F>
void udp_source::count_lost(record &r, F change) {
    std::uint64_t before = r.lost();
    change();
    intake_->counters.lost += r.lost() - before;  // unsigned: what comes late takes away again
    (*intake_)[r.origin].lost = r.lost();
}

void udp_source::keep(record &r, std::span<const std::byte> payload, std::uint64_t tag, std::uint64_t sequence,
                      std::uint32_t flags) {
    origin &o = (*intake_)[r.origin];
    std::byte *place = payload.size() <= o.box.most() ? o.box.place(payload.size()) : nullptr;
    if (!place && flags == IPC_DUPLICATE) return;  // it is there already
    if (!place) {
        // The user is so far behind that there is no room: as if the system had had none.
        return count_lost(r, [&] { ++r.dropped; });
    }
    if (!payload.empty()) std::memcpy(place, payload.data(), payload.size());
    intake_->keep(r.origin, payload.size(), tag, sequence, r.sender, flags);
}

void udp_source::remember_end(std::uint64_t sender) {
    if (ended_.full()) ended_.erase(ended_.oldest());
    ended_.add(sender);
}

// Null: there is no room for one more, or no memory.
udp_source::record *udp_source::record_of(std::uint64_t sender, std::uint64_t sequence, const address &from) try {
    if (record *r = records_.find(sender)) {
        records_.touch(sender);
        return r;
    }
    if (intake_->full()) return nullptr;
    if (records_.full()) {
        // Whoever sends from made-up ids makes us forget the one that was silent for longest.
        intake_->finish(records_.at_oldest().origin, false);
        records_.erase(records_.oldest());
    }
    std::uint32_t index = intake_->add(sender, site_->where.capacity.value_or(default_capacity), 0);
    try {
        record &r = records_.add(sender);
        r = {sender, from, index, sequence, sequence - 1};
        return &r;
    } catch (...) {
        intake_->drop(index);
        throw;
    }
} catch (const std::exception &) {
    return nullptr;
}

udp_outlet::udp_outlet(site &s, outbox &out) : site_(&s), outbox_(&out), there_(resolve(s.where)) {
    socket_ = made(make_udp_socket(there_), "a socket");
    set_option(socket_.get(), SOL_SOCKET, SO_SNDBUF, socket_buffer);
    if (connect(socket_.get(), there_.get(), there_.size) != 0)
        fail(-errno, "there is no way to {}: {}", there_.words(), errno_words(errno));
    point_ = watch_point(*site_->uv, *this);
    point_.begin(socket_.get());
    sign(signature_);
    signature_.sender = s.id;
}

void udp_outlet::resume(site &s, outbox &out) {
    site_ = &s;
    outbox_ = &out;
    point_.resume(*s.uv, *this, socket_.get());
}

std::uint64_t udp_outlet::most() const { return most_datagram - (site_->where.raw ? 0 : chunk_header_bytes); }

void udp_outlet::pump() {
    while (!blocked_) {
        std::array<mmsghdr, datagrams_a_call> messages{};
        std::array<std::array<iovec, 2>, datagrams_a_call> parts;
        std::array<std::array<std::byte, chunk_header_bytes>, datagrams_a_call> headers;
        std::size_t n = 0, items = 0;
        bool raw = site_->where.raw, ends = false;
        outbox_->each([&](const outbox::item &i) {
            ends = i.end;
            ++items;
            if (raw && i.end) return false;  // nothing says so
            chunk c = signature_;
            c.what = i.end ? kind::end : kind::message;
            c.bytes = static_cast<std::uint16_t>(i.size);
            c.sequence = i.sequence;
            c.tag = i.tag;
            c.size = i.size;
            c.offset = 0;
            put(c, headers[n].data());
            parts[n] = {{{headers[n].data(), chunk_header_bytes}, {i.payload, i.size}}};
            messages[n].msg_hdr.msg_iov = raw ? &parts[n][1] : parts[n].data();
            messages[n].msg_hdr.msg_iovlen = raw ? 1 : 2;
            return ++n < datagrams_a_call;
        });
        if (items == 0) return;
        int sent = n == 0 ? 0 : sendmmsg(socket_.get(), messages.data(), static_cast<unsigned>(n), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            blocked_ = true;
            return point_.want(false, true);
        }
        if (sent < 0) {
            // Nobody listened to an earlier one (the other machine said so), or this one can't go that way.
            if (errno == ECONNREFUSED) {
                ++lost_;
                if (refused_in_a_row_++ < 3) continue;
            }
            refused_in_a_row_ = 0;
            if (n > 1 || !ends) ++lost_;  // an end is no message
            sent = 1;
        }
        refused_in_a_row_ = 0;
        bool all = static_cast<std::size_t>(sent) == n;
        for (int i = 0; i < sent; ++i) outbox_->pop();
        if (!all || !ends) continue;
        if (raw) {
            outbox_->pop();
        } else {
            for (int again = 1; again < times_to_end; ++again)
                sendmsg(socket_.get(), &messages[n - 1].msg_hdr, MSG_NOSIGNAL);
        }
        return;
    }
}

void udp_outlet::ready(bool, bool) {
    blocked_ = false;
    point_.want(false, false);
    pump();
}

}  // namespace libipc::stream
