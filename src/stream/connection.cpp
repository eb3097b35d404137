#include "connection.hpp"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "../failure.hpp"
#include "../layout.hpp"
#include "connections.hpp"

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

connection::connection(connections &home, std::size_t slot, fd socket)
    : slot(slot), socket_(std::move(socket)), point_(*home.site_->uv, socket_.get(), *this), home_(&home) {
    watch();
}

void connection::resume(connections &home) {
    home_ = &home;
    if (in_.placed() && in_.head().what != kind::message) in_.replace(control_);
    point_.resume(*home.site_->uv, socket_.get(), *this);
}

intake &connection::from() const { return *home_->intake_; }
origin &connection::its_origin() const { return from()[origin_]; }

bool connection::raw() const { return home_->site_->where.raw; }

void connection::watch() { point_.want(!starved_, !owed_.empty()); }

void connection::ready(bool readable, bool writable) {
    if (writable && !owed_.empty()) {
        bool all = flush();
        watch();
        if (all && std::exchange(acknowledgement_owed_, false)) acknowledge();
    }
    if (readable && !starved_) read();
    if (dead_) home_->remove(slot);  // and this is no more
}

void connection::room() {
    its_origin().starved = starved_ = false;
    std::vector<std::byte> rest = std::move(rest_);
    rest_.clear();
    watch();
    // What is still in the socket comes when the loop runs.
    if (!raw()) feed(rest);
    if (dead_) home_->remove(slot);
}

void connection::acknowledge() {
    // After its end nothing is unread that could be lost; and who hears it may make no other call.
    if (!has_origin_ || its_origin().gone || its_origin().asked > its_origin().acknowledged || !may_take_back())
        tell_released();
}

void connection::tell_released() {
    if (had_before_) greeting();
    if (!flush()) {
        acknowledgement_owed_ = true;
        return watch();
    }
    if (!has_origin_) return say({kind::released, 0, had_, had_});
    origin &o = its_origin();
    o.acknowledged = o.box.released_sequence();
    o.acknowledged_at = o.box.released();
    say({kind::released, 0, o.box.delivered_sequence(), o.acknowledged});
}

void connection::begin_raw() {
    std::uint64_t capacity = home_->site_->where.capacity.value_or(layout::default_capacity);
    origin_ = from().add(random_id(), capacity, peer_of(socket_.get()).pid);
    has_origin_ = true;
}

void connection::refuse(const std::string &words) {
    ++from().counters.refused;
    if (had_before_) greeting();
    if (!raw()) answer_with(words, 0);
    hang_up(false);
}

void connection::hang_up(bool ended) {
    dead_ = true;
    if (!has_origin_) {
        if (home_->adopted_ && !greeted_) from().finish_unknown();
        return;
    }
    origin &o = its_origin();
    home_->remember(o.sender, o.last_sequence);
    from().finish(origin_, ended);
}
std::uint64_t connection::sender() const { return has_origin_ ? its_origin().sender : 0; }

void connection::origin_dropped() {
    had_ = its_origin().last_sequence;
    has_origin_ = false;
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
    while (had_before_ && !dead_ && !starved_ && unread() != 0 && ++turns < turns_to_answer);
    if (had_before_ && !dead_) greeting();
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

// The rest of a payload goes to its place, and what follows it to the staging. False: nothing more for now.
bool connection::read_frames() {
    std::array<iovec, 2> parts;
    std::span<std::byte> wanted = in_.wanted();
    std::size_t n = 0, asked = wanted.size() + home_->staging_.size();
    if (!wanted.empty()) parts[n++] = {wanted.data(), wanted.size()};
    parts[n++] = {home_->staging_.data(), home_->staging_.size()};
    ssize_t got = receive(std::span(parts).first(n));
    if (got == -EAGAIN) return false;
    if (got <= 0) return hang_up(false), false;
    auto count = static_cast<std::size_t>(got), direct = std::min(count, wanted.size());
    if (direct != 0) in_.filled(direct);
    return feed({home_->staging_.data(), count - direct}) && count == asked;
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
    from().keep(origin_, static_cast<std::uint64_t>(got), 0, o.last_sequence + 1, o.sender);
    return static_cast<std::uint64_t>(got) == size;
}

bool connection::starve(std::span<const std::byte> input) {
    rest_.assign(input.begin(), input.end());
    its_origin().starved = starved_ = true;
    watch();
    return false;
}

bool connection::feed(std::span<const std::byte> input) {
    while (!dead_) {
        switch (in_.take(input)) {
            case parser::step::more:
                return true;
            case parser::step::broken:
                refuse(in_.why());
                break;
            case parser::step::header:
                if (in_.head().what != kind::message) {
                    in_.place(control_);
                } else if (!has_origin_) {
                    refuse("a message comes before its sender's hello");
                } else if (origin &o = its_origin(); o.gone) {
                    refuse("a message comes after its sender's end");
                } else if (in_.head().size > o.box.most()) {
                    refuse(
                        fmt::format("a message of {} bytes is larger than this receiver takes ({}); open it "
                                    "with a larger capacity",
                                    in_.head().size, o.box.most()));
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
                o.box.pass_over(h.sequence);
                o.last_sequence = h.sequence;
                return;
            }
            lose(o, h.sequence - o.last_sequence - 1);
            return from().keep(origin_, h.size, h.tag, h.sequence, o.sender);
        }
        case kind::end:
            if (!has_origin_) return refuse("an end comes before its sender's hello");
            home_->remember(its_origin().sender, its_origin().last_sequence);
            return from().finish(origin_, true);
        case kind::hello:
            return greet();
        case kind::ask:
            if (!greeted_) return refuse("a question comes before its sender's hello");
            // Without an origin: that had ended, and all is released.
            (has_origin_ ? its_origin().asked : had_) = h.sequence;
            return acknowledge();
        default:
            return refuse("this is what a receiver says, and not a sender");
    }
}

void connection::lose(origin &o, std::uint64_t count) {
    o.lost += count;
    from().counters.lost += count;
}

void connection::greet() {
    hello h;
    std::memcpy(&h, control_, sizeof h);
    if (has_origin_ || greeted_ || in_.head().size != sizeof h || h.sender == 0 || in_.head().sequence == 0 ||
        h.settled >= in_.head().sequence)
        return refuse("the hello contradicts itself");
    greeted_ = true;
    // The same sender, before its last connection was seen to be gone: that one is, when it is read to its end.
    for (auto &other : home_->all_)
        if (other && other.get() != this && other->sender() == h.sender) {
            std::vector<std::byte> staging(home_->staging_.size());
            home_->staging_.swap(staging);                           // there lies what follows this hello
            for (int turns = 0; turns < turns_to_answer; ++turns) {  // whoever talks without end keeps nobody up
                if (other->dead_ || other->starved_ || other->unread() == 0) break;
                other->read();
            }
            home_->staging_.swap(staging);
            other->hang_up(false);
            home_->remove(other->slot);
        }
    std::uint64_t most = std::min(most_capacity, most_ring_capacity());
    if (home_->site_->where.capacity) most = *home_->site_->where.capacity;
    std::uint64_t capacity = std::clamp(h.capacity, std::min(layout::least_capacity, most), most);
    try {
        origin_ = from().add(h.sender, capacity, h.pid);
    } catch (const failure &f) {
        return refuse(f.words);
    }
    has_origin_ = true;
    origin &o = its_origin();
    std::uint64_t before = in_.head().sequence - 1;
    had_ = std::max(home_->last_of(h.sender), h.settled);
    if (had_ < before) lose(o, before - had_);
    o.last_sequence = o.acknowledged = before;
    had_before_ = std::min(had_, before);  // told when what follows the hello is read: see may_take_back()
}

void connection::greeting() { answer_with({}, *std::exchange(had_before_, std::nullopt)); }

void connection::answer_with(const std::string &words, std::uint64_t had) {
    answer a{};
    a.receiver = home_->site_->id;
    a.refused = words.empty() ? 0 : 1;
    a.pid = getpid();
    words.copy(a.words, sizeof a.words - 1);
    std::uint64_t most = has_origin_ ? its_origin().box.most() : 0;
    say({kind::answer, sizeof a, most, had}, std::as_bytes(std::span(&a, 1)));
}

// Without waiting. What the socket doesn't take comes out when it takes something again; meanwhile nothing else is
// said.
void connection::say(const header &h, std::span<const std::byte> payload) {
    if (!flush()) return;
    std::array<std::byte, header_bytes + sizeof(answer)> frame;
    put(h, frame.data());
    std::copy(payload.begin(), payload.end(), frame.begin() + header_bytes);
    owed_.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header_bytes + payload.size()));
    if (!flush()) watch();
}

bool connection::flush() {
    while (!owed_.empty()) {
        ssize_t n = send(socket_.get(), owed_.data(), owed_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return false;
        if (n < 0) return owed_.clear(), true;  // that a sender is gone is told by reading
        owed_.erase(owed_.begin(), owed_.begin() + n);
    }
    return true;
}

}  // namespace libipc::stream
