// The measurements over anything that has a writing and a reading end. A medium M is made before the processes are
// forked:
//   M(size, capacity)        for messages of at most `size` bytes, `capacity` bytes of them on their way
//   M::writer(M &)           std::byte *room(size), void publish(size), void finish()
//   M::reader(M &)           const std::byte *next(size), null at the end; void done()
//   void give_up()           what the parent holds, once both are forked
#pragma once

#include "load.hpp"

namespace bench {

template <class Medium>
const board &flood_over(const setting &s, std::size_t size) {
    Medium m(size, s.capacity);
    return run_pair(
        s.where,
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
        [&] { m.give_up(); });
}

template <class Writer>
void write_word(Writer &to, std::uint64_t word) {
    std::memcpy(to.room(sizeof word), &word, sizeof word);
    to.publish(sizeof word);
}

template <class Reader>
bool read_word(Reader &from, std::uint64_t &word) {
    const std::byte *p = from.next(sizeof word);
    if (!p) return false;
    std::memcpy(&word, p, sizeof word);
    from.done();
    return true;
}

template <class Medium>
const board &asleep_over(const setting &s) {
    Medium m(sizeof(std::uint64_t), s.capacity);
    return run_pair(
        s.where,
        [&](board &b) {
            typename Medium::writer w(m);
            b.meet();
            at_intervals(b, s, asleep_gap_ns, true, [&](std::uint64_t now) { write_word(w, now); });
            w.finish();
        },
        [&](board &b) {
            typename Medium::reader r(m);
            b.meet();
            std::uint64_t start = ticks();
            for (std::uint64_t now; read_word(r, now);) {
                std::uint64_t seen = ticks_after();
                if (!is_warm_up(s, start)) b.add_sample(seen - now);
            }
        },
        [&] { m.give_up(); });
}

template <class Medium>
const board &answered_over(const setting &s) {
    Medium there(sizeof(std::uint64_t), s.capacity), back(sizeof(std::uint64_t), s.capacity);
    return run_pair(
        s.where,
        [&](board &b) {
            typename Medium::writer w(there);
            typename Medium::reader r(back);
            b.meet();
            std::uint64_t word = 0;
            sample_exchanges(b, s, [&] {
                write_word(w, word + 1);
                read_word(r, word);
            });
            w.finish();
            while (read_word(r, word)) {
            }
        },
        [&](board &b) {
            typename Medium::reader r(there);
            typename Medium::writer w(back);
            b.meet();
            for (std::uint64_t word; read_word(r, word);) write_word(w, word);
            w.finish();
        },
        [&] {
            there.give_up();
            back.give_up();
        });
}

template <class Medium>
peer over(const char *name, std::size_t most) {
    return {name, most, flood_over<Medium>, asleep_over<Medium>, answered_over<Medium>};
}

}  // namespace bench
