// The library beside the model of ipc.h: random calls from a seed, in one process, and each result compared. See
// random_calls.hpp for how to make them again.
#include "model.hpp"

#include <malloc.h>
#include <poll.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <variant>

#include "lowered_limit.hpp"
#include "support.hpp"

namespace {

using model::expect;
using model::is_lack;
using model::wanted;
using seen = model::link::seen;

constexpr std::size_t capacity = 64 << 10, max_capacity = 512 << 10;
constexpr std::size_t most_at_once = 5;  // of open senders, and of receivers
constexpr int steps = 4'000;

struct tx_model : model::sender {
    static constexpr char letter = 's';
    ipc_sender *h = nullptr;
    int number = 0;
    std::optional<std::size_t> reserved;
    void *room = nullptr;
    bool interrupted = false, armed = false;
    std::uint64_t flushed = 0;  // so many messages were to be released when flush was refused
};

struct rx_model : model::receiver {
    static constexpr char letter = 'r';
    ipc_receiver *h = nullptr;
    int number = 0;
    std::vector<ipc_message> held;
    std::optional<ipc_message> released;  // the last one
    bool interrupted = false, armed = false;
    bool lacked = false;  // it may have something to tell of a limit that is raised by now
};

class run : public model::random_calls {
  public:
    explicit run(std::uint64_t seed) : random_calls(seed) {}
    ~run() {
        lower_.reset();
        close_all(senders_, receivers_);
    }

    void step() {
        if (random_.below(400) == 0) return lower_ ? raise() : lower();
        auto &s = any(senders_);
        auto &r = any(receivers_);
        switch (random_.below(20)) {
            case 0:
                open_or_close();
                break;
            case 1:
                ask_sender(s);
                break;
            case 2:
                ask_receiver(r);
                break;
            case 3:
                release_wrongly(r);
                break;
            case 4:
            case 5:
            case 6:
            case 7:
                release(r);
                break;
            default:
                if (random_.below(2))
                    write(s);
                else
                    receive(r);
        }
        check_readiness();
    }
    // All that is left to be received is, and nothing but that.
    void finish() {
        if (lower_) raise();
        for (auto &r : receivers_)
            if (r.open)
                while (receive_now(r, 0) > 0)
                    while (!r.held.empty()) release(r);
        for (auto &s : senders_)
            if (s.open) close(s);
        for (auto &r : receivers_) {
            if (!r.open) continue;
            stats(r);
            for (std::int64_t got = 1; got > 0 || got == -ECANCELED;) {
                got = receive_now(r, 1'000'000);
                while (!r.held.empty()) release(r);
            }
            for (auto &s : senders_)
                if (auto *l = s.of(r)) expect(!s.must_come(*l), "all was received, and something is missing");
        }
    }
    void lift() { lower_.reset(); }

  private:
    // ---- Which
    // -------------------------------------------------------------------------------------------------------

    template <class List>
    static std::size_t open_ones(const List &list) {
        return static_cast<std::size_t>(std::count_if(list.begin(), list.end(), [](auto &h) { return h.open; }));
    }
    // An open one, or a receiver that is closed and holds messages. There always is one.
    template <class List>
    typename List::value_type &any(List &list) {
        for (;;) {
            std::size_t usable = 0;
            for (auto &h : list) usable += h.h != nullptr;
            if (usable == 0) {
                open(list);
                continue;
            }
            std::size_t n = random_.below(usable);
            for (auto &h : list)
                if (h.h && n-- == 0) return h;
        }
    }
    std::int64_t patience() { return random_.below(60) == 0 ? 300'000 : 0; }
    bool lowered() const { return lower_.has_value(); }
    // Of a receiver that can't be linked.
    static bool is_in_the_way(std::int32_t lack) { return is_lack(lack) || lack == -ETOOMANYREFS || lack == -EAGAIN; }

    // ---- Limits
    // ------------------------------------------------------------------------------------------------------

    void lower() {
        if (SLOWER == 1 && random_.below(2)) {  // sanitizers map too much for that
            std::size_t pages = 0;
            std::ifstream("/proc/self/statm") >> pages;
            rlim_t more = random_.below(2 << 20);
            say("lower RLIMIT_AS to what is mapped and ", more);
            lower_.emplace(std::make_unique<lowered_limit>(RLIMIT_AS, pages * 4096 + more));
            return;
        }
        rlim_t few = random_.below(12);
        say("lower RLIMIT_NOFILE to what is open and ", few);
        lower_.emplace(std::make_unique<few_fds>(few));
    }
    // Within a second after it, all that could not be linked is.
    void raise() {
        say("raise the limit");
        for (auto &r : receivers_) r.lacked = true;
        lower_.reset();
        for (auto &s : senders_) {
            if (!s.open) continue;
            expect(eventually([&] { return counters(s).unlinked == 0; }),
                   "the limit is raised, and a receiver is not linked");
            see_links(s);
        }
        for (auto &r : receivers_) {
            if (!r.open) continue;
            expect(eventually([&] { return counters(r).waiting_for_fds == 0; }),
                   "the limit is raised, and a sender waits");
            hears(r);
        }
    }

    // ---- Opening and closing
    // -----------------------------------------------------------------------------------------

    void open_or_close() {
        bool sends = random_.below(2);
        std::size_t n = sends ? open_ones(senders_) : open_ones(receivers_);
        if (random_.below(most_at_once) >= n) {
            if (sends)
                open(senders_);
            else
                open(receivers_);
        } else if (sends) {
            close(any(senders_));
        } else if (auto &r = any(receivers_); r.open) {
            close(r);
        }
    }
    void open(std::list<tx_model> &) {
        auto &s = senders_.emplace_back();
        s.number = static_cast<int>(senders_.size());
        ipc_sender_options options{sizeof options, capacity, max_capacity};
        auto r = result(s, "open", ipc_sender_open(&s.h, "shm://model", &options, nullptr, 0));
        if (r != 0) {
            expect(lowered() && is_lack(r) && !s.h, "a sender is refused");
            s.open = false;
            if (!s.h && open_ones(senders_) == 0) raise();
            return;
        }
        for (auto &to : receivers_)
            if (to.open) s.came(to);
        s.id = counters(s).id;
        looks(s);
    }
    void open(std::list<rx_model> &) {
        auto &r = receivers_.emplace_back();
        r.number = static_cast<int>(receivers_.size());
        r.from = random_.below(3) ? IPC_FROM_DEFAULT : static_cast<std::int32_t>(1 + random_.below(2));
        ipc_receiver_options options{sizeof options, r.from, IPC_OVERFLOW_BLOCK};
        auto got = result(r, with("open from", r.from), ipc_receiver_open(&r.h, "shm://model", &options, nullptr, 0));
        if (got != 0) {
            expect(lowered() && is_lack(got) && !r.h, "a receiver is refused");
            r.open = false;
            if (open_ones(receivers_) == 0) raise();
            return;
        }
        for (auto &s : senders_)
            if (s.open) s.came(r);
        r.id = counters(r).id;
    }
    void close(tx_model &s) {
        if (lowered()) return;  // whoever can't be linked now would never hear of it
        std::int64_t linger = patience();
        std::size_t before = s.committed();
        auto r = result(s, with("close", linger), ipc_sender_close(std::exchange(s.h, nullptr), linger));
        expect(before == s.committed() && r >= 0, "close");
        s.ended = true;
        s.looks();
        expect(s.unreleased().has(static_cast<std::uint64_t>(r)),
               "close tells another number" + wanted(s.unreleased()));
        s.open = false;
    }
    void close(rx_model &r) {
        if (lowered()) return;
        settle(r);
        r.open = r.armed = false;
        auto held = result(r, "close", ipc_receiver_close(r.h));
        expect(held == static_cast<std::int64_t>(r.held.size()), "close tells another number of held messages");
        if (held == 0) r.h = nullptr;
    }

    // ---- Sending
    // -----------------------------------------------------------------------------------------------------

    std::size_t some_size() {
        switch (random_.below(64)) {
            case 0:
                return random_.below(max_capacity / 2 + 1000);
            case 1:
            case 2:
            case 3:
            case 4:
                return random_.below(capacity / 2 + 1);
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
            std::size_t size = random_.below(8) ? *s.reserved : random_.below(*s.reserved + 10);
            return commit(s, size);
        }
        if (s.ended && random_.below(10)) return;
        if (random_.below(300) == 0) {
            expect(result(s, "end", ipc_sender_end(s.h)) == 0, "end");
            if (!std::exchange(s.ended, true)) looks(s);
            return;
        }
        if (reserve(s); s.reserved && random_.below(4)) commit(s, *s.reserved);
    }
    void reserve(tx_model &s) {
        std::size_t size = some_size();
        std::int64_t timeout = patience();
        void *room = nullptr;
        s.armed = false;
        s.flushed = 0;
        auto r = result(s, with("reserve", static_cast<std::int64_t>(size), timeout),
                        ipc_sender_reserve(s.h, size, &room, timeout));
        if (s.ended) return expect(r == -EPIPE, "reserve after end");
        if (s.reserved) return expect(r == -EINVAL || (r == -EMSGSIZE && size > max_capacity / 2), "a second reserve");
        if (size > max_capacity / 2) return expect(r == -EMSGSIZE, "a message that is too large");
        if (timeout != 0 && std::exchange(s.interrupted, false)) return expect(r == -ECANCELED, "an interrupt is lost");
        bool large = size > capacity / 2;
        bool may_wait = s.may_wait();
        std::vector<const model::receiver *> wait;
        for (auto &l : s.links)
            if (l.waits()) wait.push_back(l.to);
        if (s.alone())
            looks(s);
        else
            s.may_have_looked();
        if (r == 0) {
            s.reserved = size;
            s.room = room;
            if (!wait.empty()) see_links(s);
            for (auto *to : wait) expect(!s.of(*to)->waits(), "reserve: one that was seen is not linked");
            return;
        }
        if (large && lowered() && is_lack(r)) return looks(s);
        expect(r == (timeout == 0 ? -EAGAIN : -ETIMEDOUT), "reserve");
        ipc_sender_counters c = counters(s);
        looks(s);
        if (lowered() && may_wait) return;
        if (!large) return expect(c.used + size + 128 > c.capacity, "there is room");
        expect(lowered() || c.used != 0 || s.connected() != 0, "there is all the room that may be");
    }
    void commit(tx_model &s, std::size_t size) {
        std::uint64_t tag = random_();
        if (size <= *s.reserved) fill(s.room, size, tag);
        auto r = result(s, with("commit", static_cast<std::int64_t>(size)), ipc_sender_commit(s.h, size, tag));
        if (size > *s.reserved) return expect(r == -EINVAL, "more is committed than was reserved");
        expect(r == 0, "commit");
        s.reserved.reset();
        s.messages.push_back({tag, size});
        s.bytes += size;
    }
    void ask_sender(tx_model &s) {
        switch (random_.below(5)) {
            case 0: {
                auto alive = std::count_if(s.links.begin(), s.links.end(), [](auto &l) { return l.alive(); });
                ipc_sender_counters c = counters(s);
                looks(s);
                expect(c.links + c.unlinked >= static_cast<std::uint64_t>(alive),
                       "stats: one that was seen is missing");
                check(s, c);
                break;
            }
            case 1:
                see_links(s);
                break;
            case 2:
                flush(s);
                break;
            case 3:
                expect(result(s, "interrupt", ipc_sender_interrupt(s.h)) == 0, "interrupt");
                s.interrupted = true;
                break;
            default:
                arm(s);
        }
    }
    void flush(tx_model &s) {
        std::int64_t timeout = patience();
        auto r = result(s, with("flush", timeout), ipc_sender_flush(s.h, timeout));
        s.armed = false;
        if (timeout != 0 && std::exchange(s.interrupted, false)) return expect(r == -ECANCELED, "an interrupt is lost");
        looks(s);
        expect(r >= 0 && s.unreleased().has(static_cast<std::uint64_t>(r)), "flush" + wanted(s.unreleased()));
        s.flushed = r == 0 ? 0 : s.committed();
    }
    void arm(tx_model &s) {
        auto r = result(s, "arm", ipc_sender_arm(s.h));
        s.armed = r == 1;
        looks(s);
        if (std::exchange(s.interrupted, false)) return expect(r == -ECANCELED, "an interrupt is lost");
        expect(r == 0 || r == 1, "arm");
        if (r == 0) s.flushed = 0;
    }
    ipc_sender_counters counters(tx_model &s) {
        ipc_sender_counters c{};
        c.struct_size = sizeof c;
        expect(ipc_sender_stats(s.h, &c) == 0, "stats");
        say('s', s.number, " stats: ", c.messages, " messages, unreleased ", c.unreleased, ", links ", c.links,
            ", used ", c.used, " of ", c.capacity, ", unlinked ", c.unlinked);
        return c;
    }
    void check(tx_model &s, const ipc_sender_counters &c) {
        expect(c.id == s.id && c.messages == s.committed() && c.bytes == s.bytes, "stats: messages, or bytes");
        if (lowered())
            expect(c.links + c.unlinked <= s.connected(), "stats: links");
        else
            expect(c.links == s.connected() && c.unlinked == 0, "stats: links");
        expect(s.unreleased().has(c.unreleased), "stats: unreleased" + wanted(s.unreleased()));
        expect(s.used().has(c.used), "stats: used" + wanted(s.used()));
        expect(c.refused == 0 && c.lost == 0, "stats: refused, or lost");
    }
    // Tells where each newcomer starts.
    void see_links(tx_model &s) {
        std::vector<ipc_link> links(2 * most_at_once + 64);
        links[0].struct_size = sizeof(ipc_link);
        auto n = result(s, "links", ipc_sender_links(s.h, links.data(), links.size()));
        expect(n >= 0 && static_cast<std::size_t>(n) <= links.size(), "links");
        auto find = [&](auto &l) {
            return std::find_if(links.begin(), links.begin() + n, [&](auto &at) { return at.peer == l.to->id; });
        };
        auto is_there = [&](auto &l) { return !lowered() || find(l) != links.begin() + n; };
        s.looks(is_there, [&](auto &l) { return !lowered() || find(l)->state != IPC_LINK_UNLINKED; });
        std::size_t told = 0;
        for (auto &l : s.links) {
            auto found = find(l);
            if (!l.connected()) {
                expect(found == links.begin() + n, "links: one that has gone");
                continue;
            }
            expect(found != links.begin() + n, "links: one is missing");
            ++told;
            expect((found->state == IPC_LINK_LEFT) == !l.to->open, "links: left");
            expect((found->state == IPC_LINK_UNLINKED) == l.waits(), "links: unlinked");
            expect(found->pid == getpid() || (l.waits() && found->pid == 0), "links: pid");
            expect(l.waits() ? is_in_the_way(found->lack) : found->lack == 0, "links: what it lacks");
            expect(l.to->open || found->behind <= s.committed(), "links: behind");
            if (!l.to->open || l.told) continue;
            std::uint64_t next = s.committed() + 1 - found->behind;
            say("    r", static_cast<rx_model *>(l.to)->number, " is to get ", next, " to ", s.committed(), ":",
                words(l.courses));
            std::string wants = words(l.courses);
            std::erase_if(l.courses, [&](auto &c) { return !c.starts_at(next); });
            expect(!l.courses.empty(), "links: where it starts:" + wants);
            for (auto &c : l.courses)
                if (l.to->from == IPC_FROM_DEFAULT) c.first = c.last = c.from = c.until = next;
        }
        expect(told == static_cast<std::size_t>(n), "links: how many");
    }
    void looks(tx_model &s) {
        if (lowered() || s.looks()) see_links(s);
    }
    // Whom it may have linked, or not, is known from now on.
    void settle(tx_model &s) {
        if (s.open && std::any_of(s.links.begin(), s.links.end(), [](auto &l) { return l.phase == seen::perhaps; }))
            see_links(s);
    }
    void settle(rx_model &r) {
        for (auto &s : senders_)
            if (s.of(r)) settle(s);
    }
    static std::string words(const std::vector<course> &courses) {
        std::string all;
        for (auto &c : courses) {
            all += " [" + std::to_string(c.first) + " to " + std::to_string(c.last) + ", as a rule " +
                   std::to_string(c.from) + " to " + std::to_string(c.until);
            for (auto n : c.marked) all += " " + std::to_string(n) + "*";
            for (auto n : c.passed) all += " -" + std::to_string(n);
            all += "]";
        }
        return all;
    }

    // ---- Receiving
    // ---------------------------------------------------------------------------------------------------

    void receive(rx_model &r) {
        if (r.open) receive_now(r, patience());
    }
    std::int64_t receive_now(rx_model &r, std::int64_t timeout) {
        settle(r);
        ipc_message m{};
        m.struct_size = sizeof m;
        auto got = ipc_receiver_receive(r.h, &m, timeout);
        say('r', r.number, " receive ", timeout, ": ", got, got > 0 ? " of s" : "", got > 0 ? number_of(m.sender) : "",
            got == IPC_MESSAGE ? ", " + std::to_string(m.sequence) + (m.flags ? "*" : "") : "");
        r.armed = false;
        if (timeout != 0 && std::exchange(r.interrupted, false)) {
            expect(got == -ECANCELED, "an interrupt is lost");
            return got;
        }
        if (got == IPC_MESSAGE) {
            given(r, m);
        } else if (got == IPC_END) {
            auto &s = sender_of(m.sender);
            auto *l = s.of(r);
            expect(l && s.ended && !l->told && l->phase == seen::yes, "an end");
            l->begins(0, s.committed() + 1);
            expect(l->any([&](auto &c) { return !c.must_come(s.committed()); }), "an end before the last message");
            l->told = true;
            ++r.ends;
        } else {
            bool lacks = is_lack(got) && (lowered() || std::exchange(r.lacked, false));
            if (!lacks) expect(got == (timeout == 0 ? -EAGAIN : -ETIMEDOUT), "receive");
            if (timeout != 0) hears(r);
            if (lowered()) return got;
            for (auto &s : senders_)
                if (auto *l = s.of(r); l && l->heard)
                    expect(!s.must_come(*l), "something of s" + std::to_string(s.number) + " is there");
        }
        return got;
    }
    void given(rx_model &r, const ipc_message &m) {
        r.held.push_back(m);
        auto &s = sender_of(m.sender);
        auto *l = s.of(r);
        expect(l && l->phase == seen::yes && !l->told && m.sequence <= s.committed(), "a message that is none");
        l->begins(m.sequence, m.sequence);
        bool redelivered = m.flags & IPC_REDELIVERED;
        std::string wants = words(l->courses);
        std::erase_if(l->courses, [&](course &c) { return !c.take(m.sequence, redelivered); });
        expect(!l->courses.empty(), "not this message, or with another mark:" + wants);
        auto &sent = s.messages[m.sequence - 1];
        expect(m.tag == sent.tag && m.size == sent.size && proven(m), "another message than was sent");
        l->held.insert(m.sequence);
        l->given = m.sequence;
        ++r.messages;
        r.bytes += m.size;
    }
    void release(rx_model &r) {
        if (r.held.empty()) return;
        std::size_t n = random_.below(r.held.size());
        ipc_message m = r.held[n];
        auto &s = sender_of(m.sender);
        auto *l = s.of(r);
        if (!r.open) settle(s);
        expect(proven(m), "a message that was held has changed");
        r.held.erase(r.held.begin() + static_cast<std::ptrdiff_t>(n));
        auto got = result(r, "release of s" + number_of(m.sender) + with(",", static_cast<std::int64_t>(m.sequence)),
                          ipc_receiver_release(r.h, &m));
        expect(got == 0, "release");
        l->held.erase(m.sequence);
        if (!r.open) s.releases_late(r, m.sequence);
        r.released = m;
        if (!r.open && r.held.empty()) r.h = nullptr;
    }
    // A second time, another receiver's, or none at all.
    void release_wrongly(rx_model &r) {
        ipc_message m{};
        m.struct_size = sizeof m;
        auto &other = any(receivers_);
        std::uint64_t which = random_.below(3);
        if (which == 0 && r.released) {
            m = *r.released;
        } else if (which == 1 && &other != &r && !other.held.empty()) {
            m = other.held[random_.below(other.held.size())];
        }
        // That another receiver's is none of its own is found nearly always.
        auto same = [&](auto &at) { return at.link == m.link && at.position == m.position; };
        if (std::any_of(r.held.begin(), r.held.end(), same)) return;
        auto got = result(r, "release of none", ipc_receiver_release(r.h, &m));
        expect(got == -ESTALE || got == -EINVAL, "a release that is none");
    }
    void ask_receiver(rx_model &r) {
        if (!r.open) return;
        settle(r);
        switch (random_.below(4)) {
            case 0:
                return stats(r);
            case 1: {
                std::vector<ipc_link> links(64);
                links[0].struct_size = sizeof(ipc_link);
                auto n = result(r, "links", ipc_receiver_links(r.h, links.data(), links.size()));
                hears(r);
                if (lowered()) {
                    std::set<std::uint64_t> peers;
                    for (std::int64_t i = 0; i < n; ++i) {
                        auto &at = links[static_cast<std::size_t>(i)];
                        auto *l = sender_of(at.peer).of(r);
                        expect(peers.insert(at.peer).second, "links: one is there twice");
                        expect(l && l->phase == seen::yes, "links: one that has not seen us");
                        if (at.state == IPC_LINK_UNLINKED)
                            expect(!l->heard && is_in_the_way(at.lack), "links: what is in the way");
                    }
                    return;
                }
                expect(n == static_cast<std::int64_t>(links_of(r)),
                       "links: not " + std::to_string(links_of(r)) + which_links(r));
                for (std::int64_t i = 0; i < n; ++i) {
                    auto &at = links[static_cast<std::size_t>(i)];
                    auto &s = sender_of(at.peer);
                    auto *l = s.of(r);
                    expect(l && at.behind == l->held.size() && at.pid == getpid(), "links: what is held");
                    if (l->told || !s.open) expect(at.state == IPC_LINK_ENDED, "links: it has ended");
                    if (!s.ended) expect(at.state == IPC_LINK_UP, "links: it has not ended");
                }
                return;
            }
            case 2:
                expect(result(r, "interrupt", ipc_receiver_interrupt(r.h)) == 0, "interrupt");
                r.interrupted = true;
                return;
            default:
                return arm(r);
        }
    }
    void arm(rx_model &r) {
        auto got = result(r, "arm", ipc_receiver_arm(r.h));
        r.armed = got == 1;
        hears(r);
        if (std::exchange(r.interrupted, false)) return expect(got == -ECANCELED, "an interrupt is lost");
        expect(got == 0 || got == 1, "arm");
        if (lowered()) return;
        bool must = false, may = false;
        for (auto &s : senders_)
            if (auto *l = s.of(r)) must |= s.must_come(*l), may |= s.may_come(*l);
        if (got == 1) return expect(!must, "arm: something is there");
        if (may) return;
        // A sender may have gone on in another ring, with nothing in it yet: that is seen once.
        receive_now(r, 0);
        r.armed = result(r, "arm", ipc_receiver_arm(r.h)) == 1;
        expect(r.armed, "arm: nothing is there");
    }
    void stats(rx_model &r) {
        settle(r);
        ipc_receiver_counters c = counters(r);
        hears(r);
        expect(c.id == r.id && c.messages == r.messages && c.bytes == r.bytes, "stats: messages, or bytes");
        expect(c.held == r.held.size() && c.ends == r.ends && c.deaths == 0, "stats: held, ends or deaths");
        if (lowered()) return expect(c.waiting_for_fds <= 1, "stats: waiting");
        expect(r.skipped.has(c.skipped), "stats: skipped" + wanted(r.skipped));
        expect(c.links == links_of(r), "stats: links");
        expect(c.refused == 0 && c.lost == 0 && c.waiting_for_fds == 0, "stats: refused, lost, or waiting");
    }
    ipc_receiver_counters counters(rx_model &r) {
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        expect(ipc_receiver_stats(r.h, &c) == 0, "stats");
        say('r', r.number, " stats: ", c.messages, " messages, held ", c.held, ", links ", c.links, ", skipped ",
            c.skipped);
        return c;
    }
    // It looks for certain: at all that are linked.
    void hears(rx_model &r) {
        if (lowered()) return;
        for (auto &s : senders_)
            if (auto *l = s.of(r); l && l->phase == seen::yes) l->begins(0, s.committed() + 1);
    }
    std::size_t links_of(rx_model &r) {
        std::size_t n = 0;
        for (auto &s : senders_)
            if (auto *l = s.of(r)) n += l->connected();
        return n;
    }
    std::string which_links(rx_model &r) {
        std::string which;
        for (auto &s : senders_)
            if (auto *l = s.of(r))
                which += " s" + std::to_string(s.number) + (l->connected() ? "" : "-") + (l->told ? "t" : "") +
                         (l->heard ? "h" : "");
        return which;
    }
    tx_model &sender_of(std::uint64_t id) {
        for (auto &s : senders_)
            if (s.id == id) return s;
        throw model::wrong("a sender that is none of ours");
    }
    std::string number_of(std::uint64_t id) { return std::to_string(sender_of(id).number); }

    // ---- Waiting
    // -----------------------------------------------------------------------------------------------------

    template <class Handle>
    void must_be_ready(const Handle &h, int fd) {
        pollfd p{fd, POLLIN, 0};
        if (poll(&p, 1, 0) == 1) return;
        throw model::wrong((std::is_same_v<Handle, tx_model> ? "s" : "r") + std::to_string(h.number) +
                           " is armed, has something to do, and its fd is not ready");
    }
    void check_readiness() {
        if (lowered()) return;
        for (auto &r : receivers_) {
            if (!r.armed) continue;
            bool there = r.interrupted;
            for (auto &s : senders_)
                if (auto *l = s.of(r)) there |= s.must_come(*l);
            if (there) must_be_ready(r, ipc_receiver_fd(r.h));
        }
        for (auto &s : senders_) {
            if (!s.h || !s.armed) continue;
            bool news = std::any_of(s.links.begin(), s.links.end(), [](auto &l) {
                return l.to->open ? l.phase == seen::no : l.phase == seen::yes && !l.left && l.held.empty();
            });
            s.advance_tail();
            if (s.interrupted || news || (s.flushed != 0 && s.flushed < s.tail)) must_be_ready(s, ipc_sender_fd(s.h));
        }
    }

    std::list<tx_model> senders_;
    std::list<rx_model> receivers_;
    std::optional<std::variant<std::unique_ptr<lowered_limit>, std::unique_ptr<few_fds>>> lower_;
};

}  // namespace

// A heap and a stack that have room and grow no more, so that a limit of address space is the library's alone.
[[gnu::noinline]] static void fill_memory() {
    volatile char stack[1 << 20];
    for (std::size_t i = 0; i < sizeof stack; i += 4096) stack[i] = 0;
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_ARENA_MAX, 1);
    void *volatile heap = std::malloc(64 << 20);  // volatile: or else the two calls are left out
    std::free(heap);
}

TEST_CASE_FIXTURE(scratch,
                  "whatever is called, in whichever order, each result is one that the model of ipc.h allows") {
    fill_memory();
    model::run_seeds<run>(SLOWER == 1 ? 8 : 2, steps);
}
