#include "connection.hpp"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "connections.hpp"
#include "memory/layout.hpp"
#include "memory/limits.hpp"
#include "system/failure.hpp"

namespace libipc::stream {

namespace {

// A peer that has much to say is read so often before the others have their turn.
constexpr int reads_a_turn = 16;
// ... and, where what it has said must be known first (before its answer, or before that to its next connection), so
// many turns; no message is given out before.
constexpr int turns_to_answer = 256;
// What one reading of bare bytes brings at most.
constexpr std::uint64_t raw_bytes = 64 << 10;
// What a peer may make us hold, unless the receiver's capacity says otherwise.
constexpr std::uint64_t most_capacity = std::uint64_t{1} << 30;

}  // namespace

connection::connection(connections &home, std::size_t slot) : slot(slot), point_(home.uv(), *this), home_(&home) {}

void connection::begin(fd socket) {
    socket_ = std::move(socket);
    point_.begin(socket_.get());
    heard_ns_ = coarse_now_ns();
    waits_ = raw() && !greet();
    watch();
}

void connection::resume(connections &home) {
    home_ = &home;
    if (in_.placed() && in_.head().what != kind::message) in_.replace(control_.data());
    point_.resume(home.uv(), *this, socket_.get());
}

intake &connection::from() const { return home_->to(); }
origin &connection::its_origin() const { return from()[origin_]; }

bool connection::raw() const { return home_->where().raw; }

void connection::watch() { point_.want(!starved_ && !waits_, owed_to_ != 0); }

void connection::ready(bool readable, bool writable) {
    if (writable && owed_to_ != 0) {
        bool all = flush();
        watch();
        if (all && std::exchange(acknowledgement_owed_, false)) acknowledge();
    }
    if (readable && !starved_ && !waits_) read();
    if (dead_) home_->remove(slot);  // and this is no more
}

void connection::room() {
    its_origin().starved = starved_ = false;
    watch();
    // What is still in the socket comes when the loop runs.
    if (!raw()) feed({its_origin().box.spare(), std::exchange(rest_, 0)});
    if (dead_) home_->remove(slot);
}

void connection::acknowledge() {
    // After its end nothing is unread that could be lost; and who hears it may make no other call.
    if (!has_origin_ || its_origin().gone || its_origin().asked > its_origin().acknowledged || !may_take_back())
        tell_released();
}

void connection::tell_released() {
    if (answer_) greeting();
    if (!flush()) {
        acknowledgement_owed_ = true;
        return watch();
    }
    if (!has_origin_) return say_released(had_, had_, 0);
    origin &o = its_origin();
    note_told(o.last_sequence);
    say_released(o.acknowledged, o.box.delivered_sequence(), o.box.lost_after());
}

void connection::say_released(std::uint64_t sequence, std::uint64_t delivered, std::uint64_t lost_after) {
    released r{lost_after};
    say({kind::released, sizeof r, delivered, sequence}, std::as_bytes(std::span(&r, 1)));
}

// It is told of all that is released, up to this one: it knows of no later one as sent.
void connection::note_told(std::uint64_t sent) {
    origin &o = its_origin();
    o.acknowledged = std::min(o.box.released_sequence(), sent);
    o.acknowledged_at = o.box.released();
}

void connection::refuse(const refusal &why) {
    ++from().counters.refused;
    if (answer_) greeting();
    if (!raw()) answer_with(why.words, {});
    hang_up(false);
}

void connection::hang_up(bool ended) {
    dead_ = true;
    if (has_origin_)
        finish(ended);
    else if (home_->adopted() && !greeted_)
        home_->unknown_died();
}

void connection::finish(bool ended) {
    home_->gone(sender_, its_origin().last_sequence, ended);
    from().finish(origin_, ended);
    if (!from().done(origin_)) return;  // the user is to be told, or holds some
    std::uint32_t index = origin_;
    origin_dropped();
    from().drop(index);
}

void connection::origin_dropped() {
    had_ = std::max(had_, its_origin().last_sequence);
    has_origin_ = false;
}

bool connection::idle_since(std::int64_t then_ns) const {
    return (greeted_ || waits_) && !starved_ && heard_ns_ <= then_ns && unread() == 0;
}

void connection::leave() {
    if (has_origin_ && !raw()) tell_released();  // what is unread is lost anyway
    shutdown(socket_.get(), SHUT_RDWR);
}

void connection::read() {
    int turns = 0;
    do
        for (int i = 0; i < reads_a_turn && !dead_; ++i)
            if (!(raw() ? read_raw() : read_frames())) break;
    while (answer_ && !dead_ && !starved_ && unread() != 0 && ++turns < turns_to_answer);
    if (answer_ && !dead_) greeting();
}

int connection::unread() const {
    int bytes = 0;
    ioctl(socket_.get(), FIONREAD, &bytes);
    return bytes;
}

// A TCP peer that has closed or died takes back what is still on its way to us when it is told anything. What is read
// to its end has nothing on its way, as far as we can see.
bool connection::may_take_back() const {
    int domain = AF_UNIX;
    socklen_t size = sizeof domain;
    getsockopt(socket_.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
    return domain != AF_UNIX && unread() != 0;
}

ssize_t connection::receive(std::span<iovec> into) {
    msghdr m{};
    m.msg_iov = into.data();
    m.msg_iovlen = into.size();
    ssize_t n;
    do n = recvmsg(socket_.get(), &m, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

// The rest of a payload goes to its place, and what follows it to the staging. A hello is read alone: what follows it
// stays where it is until there is a place for it. False: nothing more for now.
bool connection::read_frames() {
    std::array<iovec, 2> parts;
    std::span<std::byte> wanted = in_.wanted(), staging = home_->staging();
    if (!greeted_) {
        wanted = {};
        staging = staging.first(std::min(in_.needs(), staging.size()));
    }
    std::size_t n = 0, asked = wanted.size() + staging.size();
    if (!wanted.empty()) parts[n++] = {wanted.data(), wanted.size()};
    parts[n++] = {staging.data(), staging.size()};
    ssize_t got = receive(std::span(parts).first(n));
    if (got == -EAGAIN) return false;
    if (got <= 0) return hang_up(false), false;
    heard_ns_ = coarse_now_ns();
    auto count = static_cast<std::size_t>(got), direct = std::min(count, wanted.size());
    if (direct != 0) in_.filled(direct);
    return feed(staging.first(count - direct)) && count == asked;
}

bool connection::read_raw() {
    origin &o = its_origin();
    std::uint64_t size = std::min(raw_bytes, o.box.most());
    std::byte *room = o.box.place(size);
    if (!room) return starve({});
    iovec part{room, size};
    ssize_t got = receive({&part, 1});
    if (got <= 0) o.box.give_up();
    if (got == -EAGAIN) return false;
    if (got <= 0) return hang_up(got == 0), false;
    heard_ns_ = coarse_now_ns();
    from().keep(origin_, static_cast<std::uint64_t>(got), 0, o.last_sequence + 1, o.sender);
    return static_cast<std::uint64_t>(got) == size;
}

bool connection::starve(std::span<const std::byte> input) {
    rest_ = input.size();
    if (rest_ != 0) std::memmove(its_origin().box.spare(), input.data(), rest_);
    its_origin().starved = starved_ = true;
    watch();
    return false;
}

bool connection::feed(std::span<const std::byte> input) {
    while (!dead_ && !waits_) {
        switch (in_.take(input)) {
            case parser::step::more:
                return true;
            case parser::step::broken:
                refuse("{}", in_.why());
                break;
            case parser::step::header:
                if (in_.head().what != kind::message) {
                    in_.place(control_.data());
                } else if (!greeted_) {
                    refuse("a message comes before its sender's hello");
                } else if (!has_origin_ || its_origin().gone) {
                    refuse("a message comes after its sender's end");
                } else if (in_.head().sequence <= had_) {
                    in_.skip();  // it came before: it needs no room
                } else if (origin &o = its_origin(); in_.head().size > o.box.most()) {
                    refuse(
                        "a message of {} bytes is larger than this receiver takes ({}); open it with a larger capacity",
                        in_.head().size, o.box.most());
                } else if (std::byte *room = o.box.place(in_.head().size)) {
                    in_.place(room);
                } else {
                    return starve(input);
                }
                break;
            case parser::step::whole:
                whole();
                break;
        }
    }
    return false;
}

void connection::whole() {
    const header &h = in_.head();
    switch (h.what) {
        case kind::message: {
            origin &o = its_origin();
            if (h.sequence <= o.last_sequence) return refuse("sequence numbers go backwards");
            if (h.sequence <= had_) {  // it came over an earlier connection, and the sender could not know
                o.box.account(o.last_sequence = h.sequence);
                return;
            }
            if (o.ended || o.end_known) return refuse("a message comes after its sender's end");
            from().lose(origin_, h.sequence - std::max(o.last_sequence, had_) - 1);
            o.box.account(h.sequence - 1);
            return from().keep(origin_, h.size, h.tag, h.sequence, o.sender);
        }
        case kind::end:
            if (!has_origin_) return refuse("an end comes where none belongs");
            return finish(true);
        case kind::hello:
            return hear_hello();
        case kind::ask:
            if (!greeted_) return refuse("a question comes before its sender's hello");
            // Without an origin: that had ended, and all is released.
            (has_origin_ ? its_origin().asked : had_) = h.sequence;
            return acknowledge();
        default:
            return refuse("this is what a receiver says, and not a sender");
    }
}

void connection::hear_hello() {
    hello h;
    std::memcpy(&h, control_.data(), sizeof h);
    if (greeted_ || in_.head().size != sizeof h || h.sender == 0 || in_.head().sequence == 0 ||
        h.settled >= in_.head().sequence)
        return refuse("the hello contradicts itself");
    waits_ = !greet();
    if (waits_) watch();
}

void connection::greet_again() {
    waits_ = !greet();
    if (waits_) return;
    watch();
    ready(true, false);
}

// False: there is no memory for it now, and nothing has changed.
bool connection::greet() try {
    raw() ? greet_raw() : greet_framed();
    has_origin_ = greeted_ = true;
    its_origin().way = static_cast<std::uint32_t>(slot);
    return true;
} catch (const std::exception &) {
    home_->short_of_memory();
    return false;
}

// A stream of bare bytes.
void connection::greet_raw() {
    std::uint64_t capacity = home_->where().capacity.value_or(layout::default_capacity);
    sender_ = random_id();
    origin_ = from().add(sender_, capacity, peer_of(socket_.get()).pid);
}

void connection::greet_framed() {
    const header &head = in_.head();
    hello h;
    std::memcpy(&h, control_.data(), sizeof h);
    std::uint64_t most = std::min(most_capacity, most_ring_capacity());
    if (home_->where().capacity) most = *home_->where().capacity;
    std::uint64_t capacity = std::clamp(h.capacity, std::min(layout::least_capacity, most), most);
    connections::past &before = home_->meet(h.sender);
    if (from().is_of(before.origin, h.sender)) {
        from().resume(before.origin, h.pid);
    } else {
        before.origin = from().add(h.sender, capacity, h.pid, connections::staging_bytes);
        from()[before.origin].end_known = before.ended;
        from()[before.origin].death_known = before.ended || before.died;
    }
    origin_ = before.origin;
    sender_ = h.sender;
    before.here = true;
    before.slot = slot;
    // What was lost since the sender was here last, and what it has not been told of, is counted and told.
    std::uint64_t sent = head.sequence - 1, tried = std::max(sent, head.tag);
    if (h.receiver == home_->id() && before.lost_to <= h.answered) before.lost = 0;
    std::uint64_t last = std::max(before.last, h.settled);
    // Who was forgotten since may have got it before: it is not given out again.
    std::uint64_t lost_to = before.known || !home_->forgets() ? sent : tried;
    before.known = true;
    origin &o = its_origin();
    if (last < lost_to) {
        std::uint64_t lost = lost_to - last, counted = last == h.settled ? h.counted : 0;
        lost -= std::min(lost, counted);
        from().lose(origin_, lost);
        before.lost += lost;
        before.lost_to = last = lost_to;
    }
    before.last = had_ = last;
    o.box.account(o.last_sequence = sent);
    // Told when what follows the hello is read: see may_take_back().
    answer_ = told{sent, before.lost, before.lost_to};
}

void connection::greeting() { answer_with("", *std::exchange(answer_, std::nullopt)); }

void connection::answer_with(const char *words, const told &t) {
    answer a{};
    a.receiver = home_->id();
    a.refused = *words != 0;
    a.pid = getpid();
    std::strncpy(a.words, words, sizeof a.words - 1);
    a.lost = t.lost;
    a.lost_to = t.lost_to;
    header h{kind::answer, sizeof a, 0, t.sent};
    if (has_origin_ && !a.refused) {
        note_told(t.sent);
        h.tag = its_origin().box.most();
        h.sequence = its_origin().acknowledged;
        a.delivered = its_origin().box.delivered_sequence();
        a.lost_after = its_origin().box.lost_after();
    }
    say(h, std::as_bytes(std::span(&a, 1)));
}

// Without waiting. What the socket doesn't take comes out when it takes something again; meanwhile nothing else is
// said.
void connection::say(const header &h, std::span<const std::byte> payload) {
    if (!flush()) return;
    put(h, owed_.data());
    std::copy(payload.begin(), payload.end(), owed_.begin() + header_bytes);
    owed_to_ = header_bytes + payload.size();
    if (!flush()) watch();
}

bool connection::flush() {
    while (owed_to_ != 0) {
        ssize_t n = send(socket_.get(), owed_.data() + owed_from_, owed_to_ - owed_from_, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return false;
        // That a sender is gone is told by reading.
        owed_from_ = n < 0 ? owed_to_ : owed_from_ + static_cast<std::size_t>(n);
        if (owed_from_ == owed_to_) owed_from_ = owed_to_ = 0;
    }
    return true;
}

// The same sender is here again before this connection was seen to be gone.
void connection::replace() {
    for (int turns = 0; turns < turns_to_answer && !dead_ && !starved_ && unread() != 0; ++turns)
        read();  // whoever talks without end keeps nobody up
    if (!dead_) hang_up(false);
    home_->remove(slot);  // and this is no more
}

}  // namespace libipc::stream
