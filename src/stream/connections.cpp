#include "connections.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "../failure.hpp"
#include "../layout.hpp"

namespace libipc::stream {

namespace {

constexpr std::size_t staging_bytes = 64 << 10;
// A peer that has much to say is read so often before the others have their turn.
constexpr int reads_a_turn = 16;
constexpr std::int64_t fd_retry_ns = 100'000'000;
constexpr std::size_t most_past = 256;
// What a peer may make us hold, unless the receiver's capacity says otherwise.
constexpr std::uint64_t most_capacity = std::uint64_t{1} << 30;

}  // namespace

class connections::connection final : public watched {
  public:
    connection(connections &home, std::size_t slot, fd socket)
        : slot(slot), socket_(std::move(socket)), point_(home.site_.uv, socket_.get(), *this), home_(home) {
        point_.want(true, false);
    }

    void ready(bool readable, bool) override {
        if (readable) read();
        if (dead_) home_.remove(slot);  // and this is no more
    }
    void room() {
        origin &o = home_.intake_[origin_];
        o.starved = false;
        std::vector<std::byte> rest = std::move(rest_);
        rest_.clear();
        point_.want(true, false);
        std::span<const std::byte> input(rest);
        // What is still in the socket comes when the loop runs.
        if (!home_.site_.where.raw) feed(input);
        if (dead_) home_.remove(slot);
    }
    void acknowledge() {
        origin &o = home_.intake_[origin_];
        o.acknowledged = o.box.released_sequence();
        o.acknowledged_at = o.box.released();
        say({kind::released, 0, o.box.delivered_sequence(), o.acknowledged});
    }
    // Starts a stream of bare bytes.
    void begin_raw() {
        std::uint64_t capacity = home_.site_.where.capacity.value_or(layout::default_capacity);
        origin_ = home_.intake_.add(random_id(), capacity, peer_of(socket_.get()).pid);
        has_origin_ = true;
    }
    void refuse(const std::string &words) {
        ++home_.intake_.counters.refused;
        if (!home_.site_.where.raw) answer_with(words, 0);
        hang_up(false);
    }
    // Nothing more is taken from this peer.
    void hang_up(bool ended) {
        dead_ = true;
        if (!has_origin_) {
            if (home_.adopted_ && !greeted_) home_.intake_.finish_unknown();
            return;
        }
        origin &o = home_.intake_[origin_];
        home_.remember(o.sender, o.last_sequence);
        home_.intake_.finish(origin_, ended);
    }
    bool is_of(std::uint32_t origin) const { return has_origin_ && origin_ == origin; }
    void origin_dropped() { has_origin_ = false; }
    std::uint64_t sender() const { return has_origin_ ? home_.intake_[origin_].sender : 0; }
    // As this handle's own going, so that a child that holds a copy of the socket doesn't keep the sender waiting.
    void leave() { shutdown(socket_.get(), SHUT_RDWR); }

    std::size_t slot;

  private:
    void read() {
        for (int i = 0; i < reads_a_turn && !dead_; ++i)
            if (!(home_.site_.where.raw ? read_raw() : read_frames())) return;
    }

    ssize_t receive(std::span<iovec> into) {
        msghdr m{};
        m.msg_iov = into.data();
        m.msg_iovlen = into.size();
        for (int resets = 0;;) {
            ssize_t n = recvmsg(socket_.get(), &m, MSG_DONTWAIT);
            if (n >= 0) return n;
            if (errno == EINTR) continue;
            // Of a Unix socket: comes once, before what is still queued.
            if (errno == ECONNRESET && ++resets < 3) continue;
            return -errno;
        }
    }

    // The rest of a payload goes to its place, and what follows it to the staging. False: nothing more for now.
    bool read_frames() {
        std::array<iovec, 2> parts;
        std::span<std::byte> wanted = in_.wanted();
        std::size_t n = 0, asked = wanted.size() + home_.staging_.size();
        if (!wanted.empty()) parts[n++] = {wanted.data(), wanted.size()};
        parts[n++] = {home_.staging_.data(), home_.staging_.size()};
        ssize_t got = receive(std::span(parts).first(n));
        if (got == -EAGAIN) return false;
        if (got <= 0) return hang_up(false), false;
        auto count = static_cast<std::size_t>(got), direct = std::min(count, wanted.size());
        if (direct != 0) in_.filled(direct);
        return feed({home_.staging_.data(), count - direct}) && count == asked;
    }

    bool read_raw() {
        origin &o = home_.intake_[origin_];
        std::uint64_t size = std::min<std::uint64_t>(staging_bytes, o.box.most());
        std::byte *room = o.box.place(size);
        if (!room) return starve({});
        iovec part{room, size};
        ssize_t got = receive({&part, 1});
        if (got <= 0) o.box.give_up();
        if (got == -EAGAIN) return false;
        if (got <= 0) return hang_up(got == 0), false;
        home_.intake_.keep(origin_, static_cast<std::uint64_t>(got), 0, o.last_sequence + 1, o.sender);
        return static_cast<std::uint64_t>(got) == size;
    }

    bool starve(std::span<const std::byte> input) {
        rest_.assign(input.begin(), input.end());
        home_.intake_[origin_].starved = true;
        point_.want(false, false);
        return false;
    }

    bool feed(std::span<const std::byte> input) {
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
                    } else if (origin &o = home_.intake_[origin_]; o.gone) {
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

    void whole() {
        const header &h = in_.head();
        switch (h.what) {
            case kind::message: {
                origin &o = home_.intake_[origin_];
                if (h.sequence <= o.last_sequence) return refuse("sequence numbers go backwards");
                if (h.sequence <= had_) {  // it came over an earlier connection, and the sender could not know
                    o.box.give_up();
                    o.last_sequence = h.sequence;
                    return;
                }
                lose(o, h.sequence - o.last_sequence - 1);
                return home_.intake_.keep(origin_, h.size, h.tag, h.sequence, o.sender);
            }
            case kind::end:
                if (!has_origin_) return refuse("an end comes before its sender's hello");
                home_.remember(home_.intake_[origin_].sender, home_.intake_[origin_].last_sequence);
                return home_.intake_.finish(origin_, true);
            case kind::hello:
                return greet();
            case kind::ask:
                if (!has_origin_) return;  // its last origin had all released, and was told so
                home_.intake_[origin_].asked = h.sequence;
                return acknowledge();
            default:
                return refuse("this is what a receiver says, and not a sender");
        }
    }

    void lose(origin &o, std::uint64_t count) {
        o.lost += count;
        home_.intake_.counters.lost += count;
    }

    void greet() {
        hello h;
        std::memcpy(&h, control_, sizeof h);
        if (has_origin_ || greeted_ || in_.head().size != sizeof h || h.sender == 0 || in_.head().sequence == 0 ||
            h.settled >= in_.head().sequence)
            return refuse("the hello contradicts itself");
        greeted_ = true;
        // The same sender, before its last connection was seen to be gone: that one is.
        for (auto &other : home_.all_)
            if (other && other.get() != this && other->sender() == h.sender) {
                other->hang_up(false);
                home_.remove(other->slot);
            }
        std::uint64_t most = std::min(most_capacity, most_ring_capacity());
        if (home_.site_.where.capacity) most = *home_.site_.where.capacity;
        std::uint64_t capacity = std::clamp(h.capacity, std::min(layout::least_capacity, most), most);
        try {
            origin_ = home_.intake_.add(h.sender, capacity, h.pid);
        } catch (const failure &f) {
            return refuse(f.words);
        }
        has_origin_ = true;
        origin &o = home_.intake_[origin_];
        std::uint64_t before = in_.head().sequence - 1;
        had_ = std::max(home_.last_of(h.sender), h.settled);
        if (had_ < before) lose(o, before - had_);
        o.last_sequence = o.acknowledged = before;
        answer_with({}, std::min(had_, before));
    }

    void answer_with(const std::string &words, std::uint64_t had) {
        answer a{};
        a.receiver = home_.site_.id;
        a.refused = words.empty() ? 0 : 1;
        a.pid = getpid();
        words.copy(a.words, sizeof a.words - 1);
        std::uint64_t most = has_origin_ ? home_.intake_[origin_].box.most() : 0;
        say({kind::answer, sizeof a, most, had}, std::as_bytes(std::span(&a, 1)));
    }

    // Without waiting. What the socket doesn't take comes out at the next opportunity: an acknowledgement is overtaken
    // by the next one, but a frame that was begun must be finished.
    void say(const header &h, std::span<const std::byte> payload = {}) {
        if (!flush()) return;
        std::array<std::byte, header_bytes + sizeof(answer)> frame;
        put(h, frame.data());
        std::copy(payload.begin(), payload.end(), frame.begin() + header_bytes);
        owed_.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header_bytes + payload.size()));
        flush();
    }
    bool flush() {
        while (!owed_.empty()) {
            ssize_t n = send(socket_.get(), owed_.data(), owed_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;  // a sender that is gone is told of by reading
            owed_.erase(owed_.begin(), owed_.begin() + n);
        }
        return true;
    }

    fd socket_;
    watch_point point_;
    connections &home_;
    parser in_;
    std::byte control_[most_control_bytes];
    std::vector<std::byte> rest_;  // read, and not taken apart for want of room
    std::vector<std::byte> owed_;
    std::uint32_t origin_ = 0;
    bool has_origin_ = false;
    std::uint64_t had_ = 0;  // all of its messages up to this one came before, or are lost
    bool greeted_ = false;
    bool dead_ = false;
};

connections::connections(site &s, intake &in) : site_(s), intake_(in), staging_(staging_bytes) {}
connections::~connections() = default;

void connections::listen(fd listener) {
    listener_ = std::move(listener);
    point_ = watch_point(site_.uv, listener_.get(), *this);
    point_.want(true, false);
}

void connections::adopt(fd connected) {
    adopted_ = true;
    take_in(std::move(connected));
}

void connections::take_in(fd socket) {
    std::size_t slot = 0;
    while (slot < all_.size() && all_[slot]) ++slot;
    if (slot == all_.size()) all_.emplace_back();
    int number = socket.get();
    all_[slot] = std::make_unique<connection>(*this, slot, std::move(socket));
    if (std::string why = admit(number); !why.empty()) {
        all_[slot]->refuse(why);
        return remove(slot);
    }
    if (site_.where.raw) all_[slot]->begin_raw();
}

// A connection from the listening socket.
void connections::ready(bool, bool) {
    for (;;) {
        int s = accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EMFILE || errno == ENFILE) short_of_fds(-errno);
            return;
        }
        try {
            take_in(fd(s));
        } catch (const failure &) {
            ++intake_.counters.refused;  // no memory for it; it finds the connection closed, and tries again
        }
    }
}

// Whoever waits to be accepted stays in the queue of the socket.
void connections::short_of_fds(int error) {
    if (!intake_.counters.waiting_for_fds) site_.fd_error = error;
    intake_.counters.waiting_for_fds = 1;
    point_.want(false, false);
    site_.alarm_in(fd_retry_ns);
}

void connections::alarm() {
    if (!intake_.counters.waiting_for_fds || !listener_) return;
    intake_.counters.waiting_for_fds = 0;
    std::int32_t told_before = site_.fd_error;
    ready(true, false);
    if (intake_.counters.waiting_for_fds)
        site_.fd_error = told_before;  // it is told once, until all have come in
    else
        point_.want(true, false);
}

void connections::remove(std::size_t slot) { all_[slot].reset(); }

connections::connection *connections::of(std::uint32_t origin) {
    for (auto &c : all_)
        if (c && c->is_of(origin)) return c.get();
    return nullptr;
}

void connections::room(std::uint32_t index) {
    if (connection *c = of(index)) c->room();
}

void connections::dropped(std::uint32_t index) {
    if (connection *c = of(index)) c->origin_dropped();
}

void connections::acknowledge(std::uint32_t index) {
    if (site_.where.raw) return;
    if (connection *c = of(index)) c->acknowledge();
}

std::uint64_t connections::last_of(std::uint64_t sender) const {
    auto at = std::find_if(past_.begin(), past_.end(), [&](const past &p) { return p.sender == sender; });
    return at == past_.end() ? 0 : at->last;
}

void connections::remember(std::uint64_t sender, std::uint64_t last) {
    std::erase_if(past_, [&](const past &p) { return p.sender == sender; });
    if (past_.size() == most_past) past_.erase(past_.begin());
    past_.push_back({sender, last});
}

void connections::leave() {
    point_ = watch_point();
    listener_.reset();
    for (auto &c : all_)
        if (c) c->leave();
    all_.clear();
}

}  // namespace libipc::stream
