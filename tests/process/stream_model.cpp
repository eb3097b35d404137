// The library beside the model of ipc.h, over streams: random calls from a seed, in one process, and each result
// compared; also where connections are cut, and datagrams lost, doubled and overtaken. From time to time all comes to
// rest: then what came, and what is counted as lost, is all that was sent. See random_calls.hpp for how to make the
// calls again.
#include "stream_model.hpp"

#include <fcntl.h>
#include <poll.h>

#include <list>
#include <optional>
#include <type_traits>

#include "cut_connections.hpp"
#include "lowered_limit.hpp"
#include "transports.hpp"
#include "unsure_datagrams.hpp"

namespace {

using model::expect;
using model::is_lack;
using model::wanted;

constexpr std::size_t capacity = 64 << 10, large_capacity = 256 << 10;
constexpr std::size_t most_senders = 4;
constexpr std::size_t most_held = 40;  // far less than a receiver takes of one sender on udp
constexpr int steps = 3'000;
// What a receiver's socket takes of datagrams at once, for certain.
constexpr std::size_t sure_datagrams = 64 << 10;

struct tx_model : model::stream::sender {
    static constexpr char letter = 's';
    ipc_sender *h = nullptr;
    std::size_t capacity = 0;
    std::optional<std::size_t> reserved;
    void *room = nullptr;
    bool interrupted = false, armed = false;
    bool linked = false;    // to the receiver that is open
    bool all_out = false;   // the system had taken all, when it was looked at last
    bool alone = false;     // its one receiver has gone
    bool end_gone = false;  // ... also the end, for a receiver that went
};

struct rx_model : model::stream::receiver {
    static constexpr char letter = 'r';
    ipc_receiver *h = nullptr;
    std::vector<ipc_message> held;
    std::optional<ipc_message> released, nothing;  // the last one; and what an end or a death left
    bool interrupted = false, armed = false;
    bool lacked = false;         // it may have something to tell of a limit that is raised by now
    std::size_t on_its_way = 0;  // bytes of datagrams since nothing was left
};

// Whether what lies between the two sides is whole.
template <class T, bool Whole>
class run : public model::random_calls {
    static constexpr bool connects = T::tells_release, datagrams = !T::lossless;
    static constexpr bool tcp = std::is_same_v<T, over_tcp>;
    static constexpr bool inherited = requires { T::make(); };  // its two ends are opened together
    static constexpr model::stream::way way{T::lossless, connects, Whole && !tcp && !datagrams, Whole};
    using between_type = std::conditional_t<datagrams, unsure_datagrams, cut_connections>;

  public:
    // Every second time the receiver stays, and a sender goes when all is at rest, so that both sides count alike.
    explicit run(std::uint64_t seed)
        : random_calls(seed), stays_(!inherited && seed % 2 == 0), small_(connects && !inherited && seed % 4 == 3) {
        if constexpr (!inherited) url_ = senders_url_ = T::url(test_.folder());
        if constexpr (!Whole) {
            senders_url_ = second_url<T>(url_, test_.folder());
            between_.emplace(senders_url_, url_);
        }
    }
    ~run() {
        lower_.reset();
        close_all(senders_, receivers_);
    }

    void step() {
        if (random_.below(500) == 0) return lower_ ? raise() : lower();
        if (random_.below(300) == 0) return come_to_rest();
        if (!Whole) pass_some();
        if (random_.below(250) == 0) writes_ = 1 + random_.below(7);
        switch (random_.below(20)) {
            case 0:
                open_or_close();
                break;
            case 1:
            case 2:
                ask(any_sender());
                break;
            case 3:
                ask(any_receiver());
                break;
            case 4:
                release_wrongly();
                break;
            case 5:
            case 6:
            case 7:
                release(any_receiver());
                break;
            default:
                if (random_.below(8) < writes_)
                    write(any_sender());
                else if (rx_model *r = receiver())
                    receive_now(*r, patience());
        }
        check_readiness();
    }
    void finish() {
        come_to_rest();
        for (auto &s : senders_)
            if (s.open) close(s);
        come_to_rest();
    }
    void lift() { lower_.reset(); }

  private:
    // ---- Which ------------------------------------------------------------------------------------------------------

    // The one that is open.
    rx_model *receiver() { return !receivers_.empty() && receivers_.back().open ? &receivers_.back() : nullptr; }
    // Also one that is closed and holds messages. There always is one.
    rx_model &any_receiver() {
        std::vector<rx_model *> usable;
        for (auto &r : receivers_)
            if (r.h) usable.push_back(&r);
        if (!usable.empty()) return *usable[random_.below(usable.size())];
        open_receiver();
        return receivers_.back().h ? receivers_.back() : any_receiver();
    }
    tx_model &any_sender() {
        std::vector<tx_model *> usable;
        for (auto &s : senders_)
            if (s.h) usable.push_back(&s);
        if (!usable.empty()) return *usable[random_.below(usable.size())];
        open_sender();
        return senders_.back().h ? senders_.back() : any_sender();
    }
    tx_model &sender_of(std::uint64_t id) {
        if (inherited && id == 0) return senders_.back();  // it has not said who it is
        for (auto &s : senders_)
            if (s.id == id) return s;
        throw model::wrong("a sender that is none of ours");
    }
    std::int64_t patience() { return random_.below(60) == 0 ? 300'000 : 0; }
    bool lowered() const { return lower_.has_value(); }

    // ---- What lies between ------------------------------------------------------------------------------------------

    void pass_some() {
        if constexpr (datagrams) {
            if (random_.below(3) == 0) between_->pass(random_);
        } else {
            if (random_.below(2)) between_->pass(random_.below(8) ? 4096 : random_.below(400));
            if (random_.below(80) == 0) {
                bool towards_sender = random_.below(3) == 0;
                std::size_t which = random_.below(most_senders), after = random_.below(3) ? random_.below(400) : 0;
                say("cut ", which, towards_sender ? " towards the sender" : "", " after ", after);
                between_->cut(which, towards_sender, after);
            }
            note_ended();
        }
    }
    bool pass_all() {
        if constexpr (Whole) {
            return false;
        } else if constexpr (datagrams) {
            bool any = between_->pass(random_);
            between_->pass_late();
            return any;
        } else {
            bool any = between_->pass(4096);
            note_ended();
            return any;
        }
    }
    void note_ended() {
        if constexpr (!Whole && !datagrams)
            for (auto &e : between_->take_ended())
                for (auto &s : senders_)
                    if (s.id == e.sender && !e.answered) s.untold = s.committed();
    }

    // ---- Limits -----------------------------------------------------------------------------------------------------

    void lower() {
        rlim_t few = random_.below(12);
        say("lower RLIMIT_NOFILE to what is open and ", few);
        lower_.emplace(few);
        // A connection that is silent is let go if another needs its descriptor.
        for (auto &s : senders_) {
            s.may_die |= connects;
            s.sure_of = nullptr;
        }
    }
    void raise() {
        say("raise the limit");
        for (auto &r : receivers_) r.lacked = true;
        lower_.reset();
        if (rx_model *r = receiver())
            expect(eventually([&] { return counters(*r).waiting_for_fds == 0; }),
                   "the limit is raised, and a sender waits");
        for (auto &s : senders_)
            if (connects) s.loose |= !way.at_once;
    }

    // ---- Opening and closing ----------------------------------------------------------------------------------------

    void open_or_close() {
        if (random_.below(3) == 0) {
            rx_model *r = receiver();
            if (!r) return open_receiver();
            if (!inherited && random_.below(3)) return open_second();
            if (!stays_) close(*r);
            return;
        }
        auto n =
            static_cast<std::size_t>(std::count_if(senders_.begin(), senders_.end(), [](auto &s) { return s.open; }));
        if (random_.below(most_senders) >= n && !(inherited && receiver())) return open_sender();
        tx_model &s = any_sender();
        if (stays_) come_to_rest();
        close(s);
    }
    void open_pair() {
        if (lowered()) raise();
        if (rx_model *r = receiver()) close(*r);
        ends pair = ends_of<T>("");
        url_ = pair.receiver;
        senders_url_ = pair.sender;
        add_sender();
        add_receiver();
    }
    void open_sender() { inherited ? open_pair() : add_sender(); }
    void open_receiver() { inherited ? open_pair() : add_receiver(); }
    void add_sender() {
        auto &s = senders_.emplace_back();
        s.number = static_cast<int>(senders_.size());
        s.capacity = small_ && random_.below(2) ? large_capacity : capacity;
        s.may_die = !Whole || lowered();
        if (small_) {  // a message that is too large costs the connection
            s.too_large = capacity / 2;
            s.may_die = true;
        }
        ipc_sender_options options{sizeof options, s.capacity, 0};
        auto r = result(s, with("open", s.capacity), ipc_sender_open(&s.h, senders_url_.c_str(), &options, nullptr, 0));
        if (r != 0) {
            expect(lowered() && is_lack(r) && !s.h, "a sender is refused");
            s.open = false;
            return raise();
        }
        s.id = counters(s).id;
    }
    void add_receiver() {
        auto &r = receivers_.emplace_back();
        r.number = static_cast<int>(receivers_.size());
        std::string url = url_ + (small_ && random_.below(2) ? "?capacity=64KiB" : "");
        std::int64_t got = 0;
        // The system may have lent its port to somebody for a moment.
        eventually([&] {
            got = result(r, "open " + url, ipc_receiver_open(&r.h, url.c_str(), nullptr, nullptr, 0));
            return got != -EADDRINUSE || !url.starts_with("tcp:");
        });
        if (got != 0) {
            expect(lowered() && is_lack(got) && !r.h, "a receiver is refused");
            r.open = false;
            return raise();
        }
        r.id = counters(r).id;
    }
    void open_second() {
        ipc_receiver *h = nullptr;
        int got = ipc_receiver_open(&h, url_.c_str(), nullptr, nullptr, 0);
        say("open a second receiver: ", got);
        if (h) ipc_receiver_close(h);
        expect(got == -EADDRINUSE || (lowered() && is_lack(got)), "a second receiver");
    }
    void close(tx_model &s) {
        if (random_.below(2)) end(s);
        look(s);
        std::int64_t linger = patience();
        bool all_out = s.sure_of && s.sure == s.committed() && (s.sure_end || s.end_gone);
        // It may have come to a receiver that counts what it missed, and not know it.
        if (connects && !s.linked) slack_ += s.committed() - s.settled;
        s.ended = true;
        auto r = result(s, with("close", linger), ipc_sender_close(std::exchange(s.h, nullptr), linger));
        auto may = s.unreleased(way);
        expect(r >= 0 && may.has(static_cast<std::uint64_t>(r)), "close tells another number" + wanted(may));
        s.open = s.armed = false;
        // What tcp has still on its way may be lost with it.
        if (all_out && !(tcp && r != 0)) return;
        s.sure_of = nullptr;
        s.may_die |= connects || inherited;
    }
    void close(rx_model &r) {
        for (auto &s : senders_)
            if (s.open) look(s);
        stats(r);
        lost_before_ += r.lost;
        r.open = r.armed = false;
        auto held = result(r, "close", ipc_receiver_close(r.h));
        expect(held == static_cast<std::int64_t>(r.held.size()), "close tells another number of held messages");
        if (held == 0) r.h = nullptr;
        for (auto &s : senders_) {
            s.sure_of = nullptr;
            for (auto &m : s.messages) m.sure = false;
            if (!s.open) continue;
            s.alone = inherited;
            if (connects) {
                s.gone = s.committed();
                s.loose = !way.at_once;
                // One that is not linked now may not know what this one has got.
                if (Whole && s.linked) continue;
                for (std::uint64_t n = s.settled + 1; n <= s.committed(); ++n)
                    s.doubtful += s.messages[n - 1].given_to == r.number;
                if (!Whole) slack_ += s.committed() - s.settled;
            } else {
                s.gone = std::max(s.gone, s.settled);  // they lie in the pipe, or nowhere
                s.end_gone |= s.ended && s.all_out;
            }
        }
    }

    // ---- Sending ----------------------------------------------------------------------------------------------------

    std::size_t some_size(const tx_model &s) {
        switch (random_.below(32)) {
            case 0:
                return random_.below(s.capacity / 2 + 1000);
            case 1:
            case 2:
            case 3:
            case 4:
                return random_.below(20'000);
            default:
                return random_.below(1200);
        }
    }
    void write(tx_model &s) {
        if (s.reserved) {
            if (random_.below(8) == 0) return reserve(s);
            if (random_.below(8) == 0) {
                expect(result(s, "abort", ipc_sender_abort(s.h)) == 0, "abort");
                s.reserved.reset();
                return;
            }
            return commit(s, random_.below(8) ? *s.reserved : random_.below(*s.reserved + 10));
        }
        if (s.ended && random_.below(10)) return;
        if (random_.below(200) == 0) return end(s);
        if (random_.below(2)) return send(s);
        if (reserve(s); s.reserved && random_.below(4)) commit(s, *s.reserved);
    }
    void end(tx_model &s) {
        expect(result(s, "end", ipc_sender_end(s.h)) == 0, "end");
        s.ended = true;
        s.reserved.reset();
    }
    // What a reserve or a send that is told `r` may be told. True if there is room.
    bool admitted(tx_model &s, std::size_t size, std::int64_t timeout, std::int64_t r) {
        s.armed = false;
        if (s.ended) return expect(r == -EPIPE, "reserve after end"), false;
        std::size_t most = s.capacity / 2;
        if (s.reserved) return expect(r == -EINVAL || (r == -EMSGSIZE && size > most), "a second reserve"), false;
        if (size > most) return expect(r == -EMSGSIZE, "a message that is too large"), false;
        if (r == -EMSGSIZE) return expect(size > s.too_large, "a message that is not too large"), false;
        if (timeout != 0 && std::exchange(s.interrupted, false))
            return expect(r == -ECANCELED, "an interrupt is lost"), false;
        if (r == 0) return true;
        if (s.alone && r == -EPIPE) return false;
        expect(r == (timeout == 0 ? -EAGAIN : -ETIMEDOUT), "reserve");
        auto c = counters(s);
        if (c.used + size + 128 <= c.capacity) {  // there may be room since then
            void *room = nullptr;
            expect(result(s, with("reserve", size, 0), ipc_sender_reserve(s.h, size, &room, 0)) == 0, "there is room");
            ipc_sender_abort(s.h);
        }
        return false;
    }
    void reserve(tx_model &s) {
        std::size_t size = some_size(s);
        std::int64_t timeout = patience();
        void *room = nullptr;
        auto r = result(s, with("reserve", size, timeout), ipc_sender_reserve(s.h, size, &room, timeout));
        if (!admitted(s, size, timeout, r)) return;
        s.reserved = size;
        s.room = room;
    }
    void commit(tx_model &s, std::size_t size) {
        std::uint64_t tag = random_();
        if (size <= *s.reserved) fill(s.room, size, tag);
        auto r = result(s, with("commit", size), ipc_sender_commit(s.h, size, tag));
        if (size > *s.reserved) return expect(r == -EINVAL, "more is committed than was reserved");
        expect(r == 0, "commit");
        s.reserved.reset();
        went_out(s, tag, size);
    }
    void send(tx_model &s) {
        std::size_t size = some_size(s);
        std::int64_t timeout = patience();
        std::uint64_t tag = random_();
        std::string bytes(size, '\0');
        fill(bytes.data(), size, tag);
        auto r = result(s, with("send", size, timeout), ipc_sender_send(s.h, bytes.data(), size, tag, timeout));
        if (admitted(s, size, timeout, r)) went_out(s, tag, size);
    }
    void went_out(tx_model &s, std::uint64_t tag, std::size_t size) {
        s.messages.push_back({tag, size});
        s.bytes += size;
        if (rx_model *r = receiver(); datagrams && Whole && r) {
            r->on_its_way += size + 2048;
            s.messages.back().sure = r->on_its_way < sure_datagrams;
        }
        if (random_.below(4) == 0) look(s);
    }
    void ask(tx_model &s) {
        switch (random_.below(4)) {
            case 0:
                return look(s);
            case 1:
                flush(s, patience());
                return;
            case 2:
                expect(result(s, "interrupt", ipc_sender_interrupt(s.h)) == 0, "interrupt");
                s.interrupted = true;
                return;
            default:
                arm(s);
        }
    }
    bool flush(tx_model &s, std::int64_t timeout) {
        auto r = result(s, with("flush", static_cast<std::uint64_t>(timeout)), ipc_sender_flush(s.h, timeout));
        s.armed = false;
        if (timeout != 0 && std::exchange(s.interrupted, false))
            return expect(r == -ECANCELED, "an interrupt is lost"), false;
        expect(r >= 0, "flush");
        check_unreleased(s, static_cast<std::uint64_t>(r));
        return r == 0 || s.alone;
    }
    // True if it is to be waited for.
    bool arm(tx_model &s) {
        auto r = result(s, "arm", ipc_sender_arm(s.h));
        s.armed = r == 1;
        if (std::exchange(s.interrupted, false)) return expect(r == -ECANCELED, "an interrupt is lost"), false;
        expect(r == 0 || r == 1, "arm");
        return s.armed;
    }
    ipc_sender_counters counters(tx_model &s) {
        ipc_sender_counters c{};
        c.struct_size = sizeof c;
        expect(ipc_sender_stats(s.h, &c) == 0, "stats");
        say('s', s.number, " stats: ", c.messages, " messages, unreleased ", c.unreleased, ", links ", c.links,
            ", used ", c.used, " of ", c.capacity, ", lost ", c.lost);
        return c;
    }
    void check_unreleased(tx_model &s, std::uint64_t n) {
        auto may = s.unreleased(way);
        expect(may.has(n), "unreleased" + wanted(may));
        s.settled = s.committed() - n;
    }
    // At all that it tells: to whom its messages go, and how far they have got. In this order, as each call may let
    // them go.
    void look(tx_model &s) {
        ipc_link l{};
        l.struct_size = sizeof l;
        auto n = result(s, "links", ipc_sender_links(s.h, &l, 1));
        auto c = counters(s);
        rx_model *r = receiver();
        s.linked = n == 1;
        expect(n == 0 || n == 1, "links");
        expect(n == 0 || (l.state == IPC_LINK_UP && l.lack == 0), "links: state");
        if (connects) {
            bool here = n == 1 && r && l.peer == r->id;
            if (way.at_once) expect(n == 0 || here, "links: one that has gone");
            if (here) expect(l.pid == getpid(), "links: pid");
            if (s.loose) s.gone = s.committed();
            s.loose &= n == 1 && !here;
            s.linked = here;
        }
        expect(c.id == s.id && c.messages == s.committed() && c.bytes == s.bytes, "stats: messages, or bytes");
        expect(c.capacity == s.capacity && c.used <= c.capacity && c.links <= 1, "stats: used, or links");
        check_unreleased(s, c.unreleased);
        if (!datagrams) expect(s.lost_by_now().has(c.lost), "stats: lost" + wanted(s.lost_by_now()));
        if (!connects && !datagrams) expect(c.lost == 0, "stats: lost");
        s.lost = c.lost;
        s.all_out = c.used == 0;
        expect(c.unlinked == 0 && (small_ || c.refused == 0), "stats: unlinked, or refused");
        if (!Whole || datagrams || lowered() || !s.linked || !r) return;
        if (!s.all_out) return;
        s.sure_of = r;
        s.sure = s.committed();
        s.sure_end = s.ended && !s.end_gone;
    }

    // ---- Receiving --------------------------------------------------------------------------------------------------

    std::int64_t receive_now(rx_model &r, std::int64_t timeout) {
        ipc_message m{};
        m.struct_size = sizeof m;
        auto got = ipc_receiver_receive(r.h, &m, timeout);
        say('r', r.number, " receive ", timeout, ": ", got, got > 0 ? " of s" : "",
            got > 0 ? std::to_string(sender_of(m.sender).number) : "",
            got == IPC_MESSAGE ? ", " + std::to_string(m.sequence) + (m.flags ? "*" : "") : "");
        r.armed = false;
        if (timeout != 0 && std::exchange(r.interrupted, false)) {
            expect(got == -ECANCELED, "an interrupt is lost");
            return got;
        }
        if (got == IPC_MESSAGE) {
            r.held.push_back(m);
            r.gets(way, sender_of(m.sender), m);
            while (r.held.size() > most_held) release(r, 0);
        } else if (got == IPC_END || got == IPC_DIED) {
            expect(!m.data && m.size == 0 && m.sequence == 0, "an end, and more than that");
            r.nothing = m;
            got == IPC_END ? r.ends_with(way, sender_of(m.sender)) : r.hears_of_death(sender_of(m.sender));
        } else {
            bool lacks = is_lack(got) && (lowered() || std::exchange(r.lacked, false));
            if (lacks) return got;
            expect(got == (timeout == 0 ? -EAGAIN : -ETIMEDOUT), "receive");
            if (!must_get(r)) {
                r.on_its_way = 0;
                return got;
            }
            expect(!way.at_once && timeout < limit_ns, "something of s" + missing_of(r) + " is there");
            r.interrupted = false;
            if (auto later = receive_now(r, limit_ns); later != -ECANCELED) return later;
            return receive_now(r, limit_ns);
        }
        return got;
    }
    // Something is there for certain. (What is held may keep more from being read.)
    bool must_get(const rx_model &r) { return !missing_of(r).empty(); }
    std::string missing_of(const rx_model &r) {
        if (lowered() || !r.open) return "";
        for (auto &s : senders_) {
            auto in_the_way = [&](auto &m) { return !connects || m.sender == s.id; };
            if (r.must_get_of(s) && std::none_of(r.held.begin(), r.held.end(), in_the_way))
                return std::to_string(s.number);
        }
        return "";
    }
    void release(rx_model &r) {
        if (!r.held.empty()) release(r, random_.below(4) ? random_.below(r.held.size()) : 0);
    }
    void release(rx_model &r, std::size_t n) {
        ipc_message m = r.held[n];
        auto &s = sender_of(m.sender);
        expect(proven(m), "a message that was held has changed");
        r.held.erase(r.held.begin() + static_cast<std::ptrdiff_t>(n));
        auto got = result(r, "release of s" + std::to_string(s.number) + ", " + std::to_string(m.sequence),
                          ipc_receiver_release(r.h, &m));
        expect(got == 0, "release");
        if (r.open) s.messages[m.sequence - 1].released = true;
        r.released = m;
        if (!r.open && r.held.empty()) r.h = nullptr;
    }
    // None at all, that of an end, one a second time, or another receiver's.
    void release_wrongly() {
        rx_model &r = any_receiver(), &other = any_receiver();
        ipc_message m{};
        m.struct_size = sizeof m;
        std::uint64_t which = random_.below(4);
        if (which == 0 && r.released) m = *r.released;
        if (which == 1 && &other != &r && !other.held.empty()) m = other.held[random_.below(other.held.size())];
        if (which == 2 && r.nothing) m = *r.nothing;
        auto got = result(r, "release of none", ipc_receiver_release(r.h, &m));
        expect(m.data ? got == -ESTALE || got == -EINVAL : got == -EINVAL, "a release that is none");
    }
    void ask(rx_model &r) {
        if (!r.open) return;
        switch (random_.below(4)) {
            case 0:
                return stats(r);
            case 1:
                return links(r);
            case 2:
                expect(result(r, "interrupt", ipc_receiver_interrupt(r.h)) == 0, "interrupt");
                r.interrupted = true;
                return;
            default:
                arm(r);
        }
    }
    // True if it is to be waited for.
    bool arm(rx_model &r) {
        auto got = result(r, "arm", ipc_receiver_arm(r.h));
        r.armed = got == 1;
        if (std::exchange(r.interrupted, false)) return expect(got == -ECANCELED, "an interrupt is lost"), false;
        expect(got == 0 || got == 1, "arm");
        if (r.armed)
            expect(!way.at_once || !must_get(r), "arm: something is there");
        else if (auto there = receive_now(r, 0); !is_lack(there))
            expect(there > 0, "arm: nothing is there");
        return r.armed;
    }
    void links(rx_model &r) {
        std::vector<ipc_link> links(1024);
        links[0].struct_size = sizeof(ipc_link);
        auto n = result(r, "links", ipc_receiver_links(r.h, links.data(), links.size()));
        expect(n >= 0 && static_cast<std::size_t>(n) <= links.size(), "links");
        links.resize(static_cast<std::size_t>(n));
        std::map<std::uint64_t, std::uint64_t> held, there;
        for (auto &m : r.held) ++held[m.sender];
        for (auto &l : links) {
            auto &s = sender_of(l.peer);
            expect(there.emplace(l.peer, l.behind).second, "links: one is there twice");
            expect(l.state == IPC_LINK_UP || l.state == IPC_LINK_ENDED, "links: state");
            if (l.state == IPC_LINK_ENDED) expect(s.ended || s.may_die, "links: it has not ended");
        }
        for (auto &[id, count] : held) expect(there[id] == count, "links: what is held");
    }
    void stats(rx_model &r) {
        auto c = counters(r);
        expect(c.id == r.id && c.messages == r.messages && c.bytes == r.bytes, "stats: messages, or bytes");
        expect(c.held == r.held.size(), "stats: held");
        expect(c.ends == r.ends && c.deaths == r.deaths, "stats: ends, or deaths");
        expect(c.skipped == 0 && c.foreign == 0 && c.unheard == 0 && (small_ || c.refused == 0),
               "stats: skipped, foreign, unheard, or refused");
        expect(c.duplicated >= r.duplicated && c.reordered >= r.reordered, "stats: duplicated, or reordered");
        if (way.lossless) expect(c.duplicated == 0 && c.reordered == 0, "stats: duplicated, or reordered");
        if (!connects && !datagrams) expect(c.lost == 0, "stats: lost");
        if (!datagrams) expect(c.lost >= r.lost, "stats: lost, and found again");
        if (!lowered()) expect(c.waiting_for_fds == 0, "stats: waiting");
        r.lost = c.lost;
    }
    ipc_receiver_counters counters(rx_model &r) {
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        expect(ipc_receiver_stats(r.h, &c) == 0, "stats");
        say('r', r.number, " stats: ", c.messages, " messages, held ", c.held, ", links ", c.links, ", lost ", c.lost,
            ", duplicated ", c.duplicated, ", reordered ", c.reordered);
        return c;
    }

    // ---- Waiting ----------------------------------------------------------------------------------------------------

    static bool ready(int fd, std::int64_t patience_ns) {
        pollfd p{fd, POLLIN, 0};
        return poll(&p, 1, static_cast<int>(patience_ns / 1'000'000)) == 1;
    }
    void check_readiness() {
        if (rx_model *r = receiver(); r && r->armed && (r->interrupted || must_get(*r)))
            expect(ready(ipc_receiver_fd(r->h), r->interrupted || way.at_once ? 0 : limit_ns),
                   "the receiver is armed, has something to do, and its fd is not ready");
        for (auto &s : senders_)
            if (s.open && s.armed && s.interrupted)
                expect(ready(ipc_sender_fd(s.h), 0), "a sender is armed and interrupted, and its fd is not ready");
    }

    // ---- At rest ----------------------------------------------------------------------------------------------------

    // Everything that is there is received and released, and each sender has flushed: by calling all again and again,
    // or as a host does it, which calls who is ready and nobody else.
    void come_to_rest() {
        if (lowered()) raise();
        if (!receiver()) open_receiver();
        rx_model &r = *receiver();
        while (!r.held.empty()) release(r);  // one that was armed while it holds some would sleep on them
        bool as_host = random_.below(2);
        say("come to rest", as_host ? ", as a host does" : "");
        std::set<tx_model *> waits;
        for (auto &s : senders_)
            if (s.open) waits.insert(&s), s.armed = false;  // it was not armed for this flush
        auto called = [&](auto &h, int fd) { return !as_host || !h.armed || ready(fd, 0); };
        bool rests = eventually([&] {
            for (bool any = true; any;) {
                any = pass_all();
                for (auto it = waits.begin(); it != waits.end();) {
                    tx_model &s = **it;
                    if (!called(s, ipc_sender_fd(s.h))) {
                        ++it;
                    } else if (flush(s, 0)) {
                        any = true;
                        it = waits.erase(it);
                    } else {
                        if (as_host) any |= !arm(s);
                        ++it;
                    }
                }
                if (!called(r, ipc_receiver_fd(r.h))) continue;
                while (receive_now(r, 0) > 0) {
                    any = true;
                    while (!r.held.empty()) release(r);
                }
                while (!r.held.empty()) release(r);
                if (as_host) any |= !arm(r);
            }
            return waits.empty() && nothing_missing(r);
        });
        expect(rests, "it does not come to rest");
        r.lacked = false;
        while (pass_all() || receive_now(r, 0) > 0)
            while (!r.held.empty()) release(r);
        check_accounts(r);
    }
    bool nothing_missing(const rx_model &r) {
        for (auto &s : senders_) {
            if (r.must_get_of(s)) return false;
            if (datagrams)
                for (auto &m : s.messages)
                    if (m.sure && m.given_to == 0) return false;
            if (s.open && !s.alone && way.lossless && !connects) {  // all is in the pipe
                auto l = r.links.find(&s);
                if (!s.nothing_between(l == r.links.end() ? 0 : l->second.last(), s.committed() + 1)) return false;
            }
        }
        return true;
    }
    // What came, and what is counted as lost, is all that was sent.
    void check_accounts(rx_model &r) {
        stats(r);
        if (datagrams) {
            std::uint64_t lost = 0;
            for (auto &[s, l] : r.links) lost += l.lost(s->committed());
            expect(r.lost == lost, "lost, as the receiver counts: not " + std::to_string(lost));
            auto c = counters(r);
            expect(c.duplicated == r.duplicated && c.reordered == r.reordered, "duplicated, or reordered");
            for (auto &s : senders_) expect(s.lost <= s.committed() - s.given, "a sender counts more as lost than are");
            return;
        }
        if (!connects) return;
        if (inherited) {  // nobody comes after them who could count
            for (auto &s : senders_) expect(s.lost == 0, "s" + std::to_string(s.number) + ": lost");
            return expect(r.lost == 0, "lost");
        }
        std::uint64_t by_senders = 0;
        for (auto &s : senders_) {
            if (s.open) {
                look(s);
                expect(s.lost_at_last().has(s.lost),
                       "s" + std::to_string(s.number) + ": lost" + wanted(s.lost_at_last()));
            }
            by_senders += s.lost;
        }
        model::range may{by_senders, by_senders + slack_};
        expect(may.has(lost_before_ + r.lost), "lost, as receivers count" + wanted(may));
    }

    scratch test_;
    std::uint64_t writes_ = 4;  // of eight calls: now all runs full, and now dry
    bool stays_, small_;
    std::string url_, senders_url_;
    std::optional<between_type> between_;
    std::list<tx_model> senders_;
    std::list<rx_model> receivers_;  // the last one may be open
    std::optional<few_fds> lower_;
    std::uint64_t lost_before_ = 0;  // as the receivers count that have gone
    std::uint64_t slack_ = 0;        // so many may be counted by receivers, and by no sender
};

}  // namespace

TEST_CASE_TEMPLATE("whatever is called, in whichever order, over a stream, each result is one that the model allows", T,
                   STREAMS, INHERITED) {
    model::run_seeds<run<T, true>>(SLOWER == 1 ? 4 : 2, steps);
}

TEST_CASE_TEMPLATE("whatever is called, while connections are cut, nothing comes twice and what is lost is counted", T,
                   CONNECTIONS) {
    model::run_seeds<run<T, false>>(SLOWER == 1 ? 3 : 1, steps);
}

TEST_CASE("whatever is called, while datagrams are lost, doubled and overtaken, all is counted and marked") {
    model::run_seeds<run<over_udp, false>>(SLOWER == 1 ? 4 : 2, steps);
}
