// What the machine gives: a cache line that moves, a process that is woken, memory that is written here and read there.
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <vector>

#include "medium.hpp"

namespace bench {

namespace {

struct alignas(64) line {
    std::atomic<std::uint64_t> word{0};
};

// Slots in plain shared memory, and a flag for each: nothing else, and nothing less.
struct floor_side {
    line *flags;
    std::byte *memory;
    std::size_t slots, stride;
    std::size_t at = 0;
    void advance() {
        if (++at == slots) at = 0;
    }
};

enum : std::uint64_t { empty, full, over };

struct floor_writer : floor_side {
    explicit floor_writer(const floor_side &s) : floor_side(s) {}
    std::byte *room(std::size_t) {
        while (flags[at].word.load(std::memory_order_acquire) != empty) pause();
        return memory + at * stride;
    }
    void publish(std::size_t) {
        flags[at].word.store(full, std::memory_order_release);
        advance();
    }
    void finish() {
        while (flags[at].word.load(std::memory_order_acquire) != empty) pause();
        flags[at].word.store(over, std::memory_order_release);
    }
};

struct floor_reader : floor_side {
    explicit floor_reader(const floor_side &s) : floor_side(s) {}
    const std::byte *next(std::size_t) {
        std::uint64_t flag;
        while ((flag = flags[at].word.load(std::memory_order_acquire)) == empty) pause();
        return flag == over ? nullptr : memory + at * stride;
    }
    void done() {
        flags[at].word.store(empty, std::memory_order_release);
        advance();
    }
};

struct floor_medium {
    using writer = floor_writer;
    using reader = floor_reader;
    std::size_t stride, slots;
    shared_memory flags, memory;
    floor_medium(std::size_t size, std::size_t capacity)
        : stride((size + 63) / 64 * 64),
          slots(std::max<std::size_t>(capacity / stride, 2)),
          flags(slots * sizeof(line)),
          memory(slots * stride) {}
    operator floor_side() const { return {reinterpret_cast<line *>(flags.get()), memory.get(), slots, stride}; }
    void give_up() {}
};

// The loop that our ring is at heart, without anything that makes it a library: a header word that is the commit, the
// next one zeroed before, the line for a later message asked for early, room given back now and then.
struct bare_frame {
    std::atomic<std::uint64_t> word;
    std::uint64_t tag;
};

struct bare_side {
    std::byte *memory;
    std::atomic<std::uint64_t> *released;
    std::uint64_t frames, stride;
    std::uint64_t at = 0, count = 0;
    bare_frame &frame(std::uint64_t i) const { return *reinterpret_cast<bare_frame *>(memory + i * stride); }
    std::uint64_t after() const { return at + 1 == frames ? 0 : at + 1; }
    static constexpr std::uint64_t given_back_every = 64;
};

struct bare_writer : bare_side {
    explicit bare_writer(const bare_side &s) : bare_side(s) {}
    std::uint64_t limit = 0;
    std::byte *room(std::size_t) {
        while (count >= limit) limit = released->load(std::memory_order_acquire) + frames - 1;
        return memory + at * stride + sizeof(bare_frame);
    }
    void store(std::uint64_t word) {
        bare_frame &f = frame(at);
        at = after();
        ++count;
        frame(at).word.store(0, std::memory_order_relaxed);
        prefetch_for_writing(memory + at * stride + 512);
        f.tag = count;
        f.word.store(word, std::memory_order_release);
    }
    void publish(std::size_t) { store(full); }
    void finish() {
        room(0);
        store(over);
    }
};

struct bare_reader : bare_side {
    explicit bare_reader(const bare_side &s) : bare_side(s) {}
    const std::byte *next(std::size_t) {
        std::uint64_t word;
        while ((word = frame(at).word.load(std::memory_order_acquire)) == empty) pause();
        return word == over ? nullptr : memory + at * stride + sizeof(bare_frame);
    }
    void done() {
        at = after();
        if (++count % given_back_every == 0) released->store(count, std::memory_order_release);
    }
};

struct bare_medium {
    using writer = bare_writer;
    using reader = bare_reader;
    std::size_t stride, frames;
    shared_memory memory, released;
    bare_medium(std::size_t size, std::size_t capacity)
        : stride((sizeof(bare_frame) + size + 15) / 16 * 16),
          frames(capacity / stride),
          memory(capacity + 4096),
          released(64) {}
    operator bare_side() const {
        return {memory.get(), reinterpret_cast<std::atomic<std::uint64_t> *>(released.get()), frames, stride};
    }
    void give_up() {}
};

// A message of one word. It has the size of the largest that the compiler sees a loop for.
struct one_word {
    std::uint64_t word, unused[7];
    std::byte *bytes() { return reinterpret_cast<std::byte *>(&word); }
};

// One line that holds the whole message: the reader must have seen it before the next one is written.
struct line_medium {
    static constexpr std::uint64_t last_word = 1;  // no message is made of it
    shared_memory memory{sizeof(line)};
    line_medium(std::size_t, std::size_t) {}
    line &get() const { return *reinterpret_cast<line *>(memory.get()); }
    void give_up() {}
    struct writer {
        line &to;
        one_word message{};
        explicit writer(const line_medium &m) : to(m.get()) {}
        std::byte *room(std::size_t) { return message.bytes(); }
        void publish(std::size_t) const { to.word.store(message.word, std::memory_order_release); }
        void finish() const { to.word.store(last_word, std::memory_order_release); }
    };
    struct reader {
        line &from;
        one_word message{};
        explicit reader(const line_medium &m) : from(m.get()) {}
        const std::byte *next(std::size_t) {
            std::uint64_t now;
            while ((now = from.word.load(std::memory_order_acquire)) == message.word) pause();
            message.word = now;
            return now == last_word ? nullptr : message.bytes();
        }
        void done() {}
    };
};

// A message is a word in shared memory, and a call each to ring and to wait.
struct eventfd_medium {
    static constexpr std::size_t slots = 1 << 16;  // more than are ever on their way
    shared_memory memory{slots * sizeof(std::uint64_t)};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    eventfd_medium(std::size_t, std::size_t) {
        if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    ~eventfd_medium() { close(fd); }
    void give_up() {}

    struct end {
        int fd;
        std::atomic<std::uint64_t> *words;
        one_word message{};
        std::uint64_t at = 0;
        explicit end(const eventfd_medium &m)
            : fd(m.fd), words(reinterpret_cast<std::atomic<std::uint64_t> *>(m.memory.get())) {}
        std::atomic<std::uint64_t> &slot() { return words[at++ % slots]; }
    };
    struct writer : end {
        using end::end;
        std::byte *room(std::size_t) { return message.bytes(); }
        void publish(std::size_t) {
            std::uint64_t one = 1;
            slot().store(message.word, std::memory_order_release);
            if (write(fd, &one, sizeof one) != sizeof one)
                throw std::system_error(errno, std::generic_category(), "ringing");
        }
        void finish() {
            message.word = line_medium::last_word;
            publish(0);
        }
    };
    struct reader : end {
        using end::end;
        const std::byte *next(std::size_t) {
            std::uint64_t count;
            if (read(fd, &count, sizeof count) != sizeof count)
                throw std::system_error(errno, std::generic_category(), "waiting");
            message.word = slot().load(std::memory_order_acquire);
            return message.word == line_medium::last_word ? nullptr : message.bytes();
        }
        void done() {}
    };
};

constexpr std::size_t any = ~std::size_t{0}, word_size = sizeof(std::uint64_t);

}  // namespace

contender floor_memory() { return over<floor_medium>("floor", contender::raw, any); }
contender bare_ring() { return over<bare_medium>("bare ring", contender::raw, any); }
contender cache_line() { return over<line_medium>("line", contender::raw, word_size); }
contender plain_eventfd() { return over<eventfd_medium>("eventfd", contender::raw, word_size); }

double memcpy_rate(const setting &s, std::size_t size) {
    shared_memory memory(2 * size);
    const board &b = run_pair(
        s,
        [&](board &here) {
            std::byte *from = memory.get(), *to = from + size;
            std::uint64_t n = 0, start = 0, now = ticks(), until = now + to_ticks(s.seconds * 2e8);
            for (;;) {
                for (std::size_t done = 0; done < std::max<std::size_t>(size, 1 << 20); done += size, ++n) {
                    std::memcpy(to, from, size);
                    asm volatile("" : : "r"(to) : "memory");
                }
                now = ticks();
                if (now < until) continue;
                if (start != 0) break;
                start = now;
                n = 0;
                until = now + to_ticks(s.seconds * 8e8);
            }
            here.messages_per_s = static_cast<double>(n) / to_ns(now - start) * 1e9;
        },
        [](board &) {});
    return b.messages_per_s * static_cast<double>(size);
}

}  // namespace bench
