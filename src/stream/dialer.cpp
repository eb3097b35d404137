#include "dialer.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "address.hpp"
#include "system/failure.hpp"

namespace libipc::stream {

namespace {

constexpr std::int64_t first_retry_ns = 1'000'000;
constexpr std::int64_t last_retry_ns = 200'000'000;
// A receiver that has refused us is not asked often.
constexpr std::int64_t refused_retry_ns = 1'000'000'000;

constexpr std::size_t frames_a_write = 128;

// Whoever says more than we care to hear must not keep us here.
constexpr int reads_a_turn = 16;
constexpr int reads_to_leave = 1024;

}  // namespace

void dialer::resume(site &s, outbox &out) {
    site_ = &s;
    outbox_ = &out;
    in_.replace(control_.data());
    point_.resume(*s.uv, *this, socket_.get());
}

void dialer::adopt(fd connected_socket) {
    adopted_ = true;
    socket_ = std::move(connected_socket);
    point_ = watch_point(*site_->uv, *this);
    point_.begin(socket_.get());
    connected();
}

void dialer::open() {
    point_ = watch_point(*site_->uv, *this);
    begin();
}

void dialer::begin() {
    int r = dial(socket_);
    if (r == 0 || r == -EINPROGRESS) {
        point_.begin(socket_.get());
        if (r == 0) return connected();
        state_ = state::connecting;
        return point_.want(false, true);
    }
    close(0);
}

// Gives up this connection; another is tried after a while.
void dialer::close(std::int64_t retry_ns) {
    tried_ = std::max(tried_, outbox_->sent());
    outbox_->end_trial();
    point_.end();
    socket_.reset();
    done_ = owed_from_ = owed_to_ = 0;
    blocked_ = silent_ = false;
    asked_ = 0;
    in_ = parser();
    if (adopted_) {
        state_ = state::over;
        return;
    }
    if (state_ == state::up) retry_.succeeded();
    state_ = state::idle;
    if (outbox_->ended() && settled() >= outbox_->sent()) return;  // there is nothing to say to another receiver
    // What the receiver's user has got, and holds, is not lost with it.
    settle(delivered_, delivered_, counted_, outbox_->sent());
    site_->alarm_in(retry_.next(std::max(first_retry_ns, retry_ns), std::max(last_retry_ns, retry_ns)));
}

void dialer::alarm() {
    if (state_ != state::idle) return;
    try {
        begin();
    } catch (const std::exception &) {
        close(last_retry_ns);  // there may be memory later, and what has become impossible since open may be mended
    }
}

void dialer::connected() {
    if (site_->where.raw) {
        state_ = state::up;
        retry_.succeeded();
        watch();
        return pump();
    }
    hello h{site_->id, outbox_->ring().capacity(), settled_, answered_, counted_, receiver_, getpid(), 0};
    owe({kind::hello, sizeof h, tried_, outbox_->sent() + 1}, std::as_bytes(std::span(&h, 1)));
    // The receiver that was told may be another one.
    if (outbox_->ended()) owe({kind::end, 0, 0, outbox_->sent()});
    state_ = state::greeting;
    watch();
    outbox_->begin_trial();
    pump();
}

// Comes out by flush().
void dialer::owe(const header &h, std::span<const std::byte> payload) {
    put(h, owed_.data() + owed_to_);
    std::copy(payload.begin(), payload.end(), owed_.data() + owed_to_ + header_bytes);
    owed_to_ += header_bytes + payload.size();
}

void dialer::watch() {
    if (silent_ && !blocked_)
        point_.want_hang_up();
    else
        point_.want(!silent_, blocked_);
}

// Of a peer that says no more.
bool dialer::hung_up() {
    pollfd p{socket_.get(), 0, 0};
    if (poll(&p, 1, 0) == 1) return true;
    std::byte urgent;
    recv(socket_.get(), &urgent, 1, MSG_OOB | MSG_DONTWAIT);
    return false;
}

void dialer::ready(bool readable, bool writable) {
    if (state_ == state::connecting) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return close(0);
        // Where nobody listens, the system may lend us that very port, and TCP connects it with itself.
        if (name_of_socket(socket_.get()) == peer_of_socket(socket_.get())) return close(0);
        return connected();
    }
    if (silent_ && hung_up()) return close(0);
    if (readable && !silent_) read();
    if (!socket_) return;
    if (writable && blocked_) {
        blocked_ = false;
        watch();
    }
    pump();
}

void dialer::read() {
    std::byte bytes[1024];
    for (int i = 0; i < reads_a_turn; ++i) {
        ssize_t n = recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n == 0 && site_->where.raw) {
            // Programs that only listen say so: `nc -N -l`, and any with nothing on its standard input. If it is gone
            // altogether, that is told by the next write, or by a hang-up.
            silent_ = true;
            return watch();
        }
        if (n <= 0) return close(0);
        if (site_->where.raw) continue;  // nothing that is said there is for us
        std::span<const std::byte> input(bytes, static_cast<std::size_t>(n));
        for (parser::step s; socket_ && (s = in_.take(input)) != parser::step::more;) {
            if (s == parser::step::header && in_.head().size <= sizeof control_) {
                in_.place(control_.data());
            } else if (s == parser::step::whole) {
                heard();
            } else {
                ++refused_;
                close(refused_retry_ns);
            }
        }
        if (!socket_) return;
    }
}

void dialer::heard() {
    const header &h = in_.head();
    if (h.what == kind::answer && h.size == sizeof(answer) && state_ == state::greeting) {
        answer a;
        std::memcpy(&a, control_.data(), sizeof a);
        if (a.refused) {
            ++refused_;
            return close(refused_retry_ns);
        }
        if (std::exchange(receiver_, a.receiver) != a.receiver) answered_ = 0;
        pid_ = a.pid;
        most_ = h.tag;
        std::uint64_t sent = outbox_->sent_before_trial();
        std::uint64_t last = std::max(sent, tried_), most = last - settled_;
        std::uint64_t lost = std::min(a.lost, most - std::min(counted_, most));
        answered_ = std::clamp(a.lost_to, answered_, std::max(answered_, last));
        lost_ += lost;
        settle(h.sequence, a.delivered, a.lost_after, sent);
        outbox_->end_trial(most_);
        state_ = state::up;
        retry_.succeeded();
        return;
    }
    if (h.what == kind::released && h.size == sizeof(released) && (state_ == state::up || state_ == state::parting)) {
        released r;
        std::memcpy(&r, control_.data(), sizeof r);
        return settle(h.sequence, h.tag, r.lost_after, outbox_->sent());
    }
    ++refused_;
    close(refused_retry_ns);
}

// All up to these are released and delivered, or lost; of more than was sent, nobody can know that.
void dialer::settle(std::uint64_t released, std::uint64_t delivered, std::uint64_t lost_after, std::uint64_t sent) {
    settled_ = std::clamp(released, settled_, std::max(settled_, sent));
    delivered_ = std::clamp(delivered, settled_, std::max(settled_, sent));
    counted_ = lost_after;
}

// True if all is written; `done` says how much is.
bool dialer::write(std::span<iovec> parts, std::size_t &done) {
    std::size_t all = 0;
    for (const iovec &p : parts) all += p.iov_len;
    int n;
    do n = send_parts(socket_.get(), parts);
    while (n == -EINTR);
    done = n < 0 ? 0 : static_cast<std::size_t>(n);
    if (n < 0 && n != -EAGAIN) {
        // What the receiver has said before it went is worth reading: also that it has taken what was on trial.
        read();
        if (socket_) close(0);
        return false;
    }
    if (done == all) return true;
    blocked_ = true;
    watch();
    return false;
}

bool dialer::flush() {
    if (owed_to_ == 0) return true;
    iovec part{owed_.data() + owed_from_, owed_to_ - owed_from_};
    std::size_t done;
    bool all = write({&part, 1}, done);
    if (owed_to_ == 0) return false;  // the connection is given up
    owed_from_ += done;
    if (all) owed_from_ = owed_to_ = 0;
    return all;
}

void dialer::pump() {
    if (blocked_ || (state_ != state::up && state_ != state::greeting)) return;
    std::array<std::byte, 6 << 10> fronts;  // headers, and what is copied behind them
    std::array<iovec, 2 * frames_a_write> parts;
    std::array<std::size_t, frames_a_write> lengths;
    while (flush()) {
        std::size_t n = 0, frames = 0, used = 0;
        bool shut = false;
        outbox_->each([&](const outbox::item &i) {
            if (i.size > most_) return false;
            bool copied = !site_->where.raw && i.size <= most_copied;
            std::size_t front_bytes = header_bytes + (copied ? i.size : 0);
            if (site_->where.raw) {
                shut = i.end;
            } else {
                if (used + front_bytes > fronts.size()) return false;
                std::byte *front = fronts.data() + used;
                used += front_bytes;
                put({i.end ? kind::end : kind::message, i.size, i.tag, i.sequence}, front);
                if (copied && i.size != 0) std::memcpy(front + header_bytes, i.payload, i.size);
                parts[n++] = {front, front_bytes};
            }
            if (!copied && i.size != 0) parts[n++] = {i.payload, i.size};
            lengths[frames] = (site_->where.raw ? 0 : header_bytes) + i.size;
            return ++frames < frames_a_write;
        });
        if (frames == 0) return outbox_->empty() ? void() : pass_over();
        // What the socket has of the first is not given again.
        std::size_t first = 0;
        for (std::size_t skip = done_; skip != 0; ++first) {
            if (parts[first].iov_len > skip) {
                parts[first] = {static_cast<std::byte *>(parts[first].iov_base) + skip, parts[first].iov_len - skip};
                break;
            }
            skip -= parts[first].iov_len;
        }
        std::size_t wrote = 0;
        bool all = n == first || write(std::span(parts).subspan(first, n - first), wrote);
        if (!socket_) return;
        done_ += wrote;
        for (std::size_t f = 0; f < frames && done_ >= lengths[f]; ++f) {
            done_ -= lengths[f];
            outbox_->pop();
        }
        if (!all) return;
        if (shut) shutdown(socket_.get(), SHUT_WR);
    }
}

// The oldest message, which is larger than this receiver takes. Both sides count it when the next connection is made.
void dialer::pass_over() {
    if (state_ != state::up) return;
    outbox_->pop();
    state_ = state::parting;
    retry_.succeeded();
    shutdown(socket_.get(), SHUT_WR);
}

void dialer::ask() {
    if (state_ != state::up || blocked_ || site_->where.raw || done_ != 0 || asked_ == outbox_->sent() || !flush())
        return;
    asked_ = outbox_->sent();
    owe({kind::ask, 0, 0, asked_});
    flush();
}

std::uint64_t dialer::behind(std::uint64_t unreleased) const {
    if (site_->where.raw) return unreleased;
    std::uint64_t n = outbox_->sent() - std::max(delivered_, settled_);
    outbox_->each([&](const outbox::item &i) { return n += !i.end, true; });
    return n;
}

void dialer::leave() {
    if (!socket_) return;
    pump();
    if (!socket_) return;
    // A TCP socket that is closed with something unread in it takes back what it has not delivered yet.
    std::byte bytes[1024];
    for (int i = 0; i < reads_to_leave && recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT) > 0;) ++i;
    shutdown(socket_.get(), SHUT_WR);
}

}  // namespace libipc::stream
