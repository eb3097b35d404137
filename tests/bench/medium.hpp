// The measurements over anything that has a writing and a reading end. A medium M is made before the processes are
// forked:
//   M(size, capacity)        for messages of at most `size` bytes, `capacity` bytes of them on their way
//   M::writer(M &)           std::byte *room(size), void publish(size), void finish()
//   M::reader(M &)           const std::byte *next(size), null at the end; void done()
//   void give_up()           what the parent holds, once both are forked
// and, if a writer needs calls to get on, in the reader
//   void wait_beside(writer &)   serve that one, too, while waiting
#pragma once

#include "contender.hpp"
#include "load.hpp"

namespace bench {

// make(size, capacity) makes the medium.
template <class Medium, class Make>
const board &flood_over(Make make, const setting &s, std::size_t size) {
    Medium m = make(size, s.capacity);
    return run_pair(
        s,
        [&](board &b) {
            typename Medium::writer w(m);
            b.meet();
            with_size(size, [&](auto n) { pump(b, w, n); });
        },
        [&](board &b) {
            typename Medium::reader r(m);
            b.meet();
            with_size(size, [&](auto n) { drain(b, r, n, s.seconds); });
        },
        [&](pid_t, pid_t) { m.give_up(); });
}

template <class Medium, class Make>
const board &paced_over(Make make, const setting &s, std::size_t size, double per_second) {
    Medium m = make(size, s.capacity);
    return run_pair(
        s,
        [&](board &b) {
            typename Medium::writer w(m);
            b.meet();
            with_size(size, [&](auto n) {
                at_rate(b, s, per_second, [&](std::uint64_t sent) {
                    std::byte *p = w.room(n);
                    fill(p, n, sent);
                    std::memcpy(p, &sent, sizeof sent);
                    w.publish(n);
                });
            });
            b.leave();
            w.finish();
        },
        [&](board &b) {
            typename Medium::reader r(m);
            b.meet();
            with_size(size, [&](auto n) {
                std::uint64_t start = ticks(), count = 0, sent;
                while (const std::byte *p = r.next(n)) {
                    std::uint64_t seen = ticks_after();
                    std::memcpy(&sent, p, sizeof sent);
                    check(p + sizeof sent, n - sizeof sent, sent);
                    r.done();
                    if (++count == 2 || (count > 2 && !is_warm_up(s, start)))
                        b.latency.add(seen > sent ? seen - sent : 0);
                }
                b.messages = count;
            });
            b.leave();
        },
        [&](pid_t, pid_t) { m.give_up(); });
}

template <class Medium, class Make>
const board &answered_over(Make make, const setting &s, std::size_t size) {
    Medium there = make(size, s.capacity), back = make(size, s.capacity);
    return run_pair(
        s,
        [&](board &b) {
            typename Medium::writer w(there);
            typename Medium::reader r(back);
            if constexpr (requires { r.wait_beside(w); }) r.wait_beside(w);
            b.meet();
            with_size(size, [&](auto bytes) {
                time_exchanges(b, s, [&](std::uint64_t n) {
                    fill(w.room(bytes), bytes, n);
                    w.publish(bytes);
                    const std::byte *p = r.next(bytes);
                    if (!p) throw std::runtime_error("no answer came");
                    check(p, bytes, n + 1);
                    r.done();
                });
            });
            b.leave();
            w.finish();
            while (r.next(size)) r.done();
        },
        [&](board &b) {
            typename Medium::reader r(there);
            typename Medium::writer w(back);
            if constexpr (requires { r.wait_beside(w); }) r.wait_beside(w);
            b.meet();
            with_size(size, [&](auto bytes) {
                for (std::uint64_t n = 1; const std::byte *p = r.next(bytes); ++n) {
                    check(p, bytes, n);
                    r.done();
                    fill(w.room(bytes), bytes, n + 1);
                    w.publish(bytes);
                }
            });
            b.leave();
            w.finish();
        },
        [&](pid_t, pid_t) {
            there.give_up();
            back.give_up();
        });
}

// Its three measurements; those that make no sense for it are taken out again by whoever makes it.
template <class Medium, class Make>
contender over(const std::string &name, contender::kind_type kind, std::size_t most, Make make) {
    contender c{.name = name, .kind = kind, .most = most, .flood = {}, .answered = {}, .paced = {}};
    c.flood = [=](const setting &s, std::size_t size) -> const board & { return flood_over<Medium>(make, s, size); };
    c.answered = [=](const setting &s, std::size_t size) -> const board & {
        return answered_over<Medium>(make, s, size);
    };
    c.paced = [=](const setting &s, std::size_t size, double per_second) -> const board & {
        return paced_over<Medium>(make, s, size, per_second);
    };
    return c;
}
template <class Medium>
contender over(const std::string &name, contender::kind_type kind, std::size_t most) {
    return over<Medium>(name, kind, most,
                        [](std::size_t size, std::size_t capacity) { return Medium(size, capacity); });
}

}  // namespace bench
