// A pipe, as one uses it: write() and read() that block, a message a call where it fits.
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "load.hpp"

namespace bench {

namespace {

struct pipe_owner {
    int fds[2];
    pipe_owner() {
        if (pipe(fds) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    ~pipe_owner() { close_both(); }
    void close_reader() { shut(fds[0]); }
    void close_writer() { shut(fds[1]); }
    void close_both() {
        close_reader();
        close_writer();
    }
    static void shut(int &fd) {
        if (fd >= 0) close(fd);
        fd = -1;
    }
    void write_all(const void *from, std::size_t size) const {
        for (auto *p = static_cast<const char *>(from); size > 0;) {
            ssize_t n = write(fds[1], p, size);
            if (n < 0) throw std::system_error(errno, std::generic_category(), "write");
            p += n;
            size -= static_cast<std::size_t>(n);
        }
    }
    // False at the end of the stream.
    bool read_all(void *to, std::size_t size) const {
        for (auto *p = static_cast<char *>(to); size > 0;) {
            ssize_t n = read(fds[0], p, size);
            if (n < 0) throw std::system_error(errno, std::generic_category(), "read");
            if (n == 0) return false;
            p += n;
            size -= static_cast<std::size_t>(n);
        }
        return true;
    }
};

struct pipe_writer {
    pipe_owner &pipe;
    std::vector<std::byte> buffer;
    std::byte *room(std::size_t) { return buffer.data(); }
    void publish(std::size_t size) { pipe.write_all(buffer.data(), size); }
    void finish() { pipe.close_writer(); }
};

struct pipe_reader {
    pipe_owner &pipe;
    std::vector<std::byte> buffer;
    const std::byte *next(std::size_t size) { return pipe.read_all(buffer.data(), size) ? buffer.data() : nullptr; }
    void done() {}
};

}  // namespace

const board &flood_pipe(const setting &s, std::size_t size) {
    pipe_owner pipe;
    return run_pair(
        s.where,
        [&](board &b) {
            pipe_writer w{pipe, std::vector<std::byte>(size)};
            pipe.close_reader();
            b.meet();
            with_size(size, [&](auto n) { pump(b, w, n); });
        },
        [&](board &b) {
            pipe_reader r{pipe, std::vector<std::byte>(size)};
            pipe.close_writer();
            b.meet();
            with_size(size, [&](auto n) { drain(b, r, n, s.seconds); });
        },
        [&] { pipe.close_both(); });
}

const board &asleep_pipe(const setting &s) {
    pipe_owner pipe;
    return run_pair(
        s.where,
        [&](board &b) {
            b.meet();
            at_intervals(s, asleep_gap_ns, true, [&](std::uint64_t now) { pipe.write_all(&now, sizeof now); });
            pipe.close_writer();
        },
        [&](board &b) {
            pipe.close_writer();
            b.meet();
            std::uint64_t start = ticks();
            for (std::uint64_t now; pipe.read_all(&now, sizeof now);) {
                std::uint64_t seen = ticks_after();
                if (!is_warm_up(s, start)) b.add_sample(seen - now);
            }
        },
        [&] { pipe.close_both(); });
}

const board &answered_pipe(const setting &s) {
    pipe_owner there, back;
    return run_pair(
        s.where,
        [&](board &b) {
            back.close_writer();
            b.meet();
            std::uint64_t word = 0;
            sample_exchanges(b, s, [&] {
                there.write_all(&word, sizeof word);
                back.read_all(&word, sizeof word);
            });
            there.close_writer();
        },
        [&](board &b) {
            there.close_writer();
            b.meet();
            for (std::uint64_t word; there.read_all(&word, sizeof word);) back.write_all(&word, sizeof word);
        },
        [&] {
            there.close_both();
            back.close_both();
        });
}

}  // namespace bench
