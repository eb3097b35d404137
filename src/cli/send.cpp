// ipc send: files or standard input, read straight into the ring.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ipc/ipc.hpp>
#include <system_error>

#include "command.hpp"
#include "progress.hpp"

namespace cli {

namespace {

// A file to read from, closed at the end; standard input stays open.
class input {
  public:
    explicit input(const std::string &name) : name_(name == "-" ? "standard input" : name) {
        file_ = name == "-" ? STDIN_FILENO : open(name.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) throw std::system_error(errno, std::generic_category(), "cannot open " + name);
    }
    input(input &&other) noexcept : name_(std::move(other.name_)), file_(std::exchange(other.file_, -1)) {}
    ~input() {
        if (file_ > STDIN_FILENO) close(file_);
    }
    // Bytes read, 0 at the end.
    std::size_t read_some(std::span<std::byte> to) const {
        for (;;) {
            ssize_t n = read(file_, to.data(), to.size());
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "cannot read " + name_);
        }
    }
    int file() const { return file_; }
    // Bytes in it, 0 if that can't be told.
    std::uint64_t size() const {
        struct stat s;
        return fstat(file_, &s) == 0 && S_ISREG(s.st_mode) ? static_cast<std::uint64_t>(s.st_size) : 0;
    }

  private:
    std::string name_;
    int file_;
};

// Who looks at a terminal that does nothing wants to know why.
void say_if_alone(ipc::sender &to, const send_options &o) {
    if (!o.quiet && isatty(STDERR_FILENO) && to.links().empty())
        fmt::print(stderr, "ipc send: no receiver on {} yet; waiting for one\n", o.url);
}

// Until there is something to read. A receiver that comes meanwhile is served; if none can come any more, it throws.
void wait_for_input(ipc::sender &to, const input &from) {
    for (;;) {
        pollfd both[] = {{from.file(), POLLIN, 0}, {to.fd(), POLLIN, 0}};
        int timeout = to.arm() ? -1 : 0;
        if (timeout == 0) {
            std::error_code error;
            to.reserve(0, ipc::timeout::zero(), error);
            if (error == std::errc::broken_pipe) throw std::system_error(error, "cannot send");
        }
        if (poll(both, 2, timeout) < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "cannot wait for input");
        if (both[0].revents != 0) return;
    }
}

// 64 KiB, or less where the channel takes no such message.
std::uint64_t suitable_size(ipc::sender &to) {
    for (std::uint64_t size = 64 << 10;; size /= 2) {
        std::error_code error;
        to.reserve(size, ipc::timeout::zero(), error);
        if (error != std::errc::message_size || size == 1) return size;
    }
}

void send_chunks(ipc::sender &to, const input &from, const send_options &o, progress &shown) {
    const std::uint64_t size = o.size != 0 ? o.size : suitable_size(to);
    for (;;) {
        wait_for_input(to, from);
        ipc::reservation room = to.reserve(size);
        std::size_t n = from.read_some(room.bytes());
        if (n == 0) return;
        room.commit(n, o.tag);
        shown.add(n);
    }
}

// A line is a message, its newline included, so that what is received is what was sent.
void send_lines(ipc::sender &to, const input &from, const send_options &o, progress &shown) {
    std::string pending;
    std::vector<std::byte> part(64 << 10);
    auto send = [&](std::string_view line) {
        to.send(line, o.tag);
        shown.add(line.size());
    };
    for (;;) {
        wait_for_input(to, from);
        std::size_t n = from.read_some(part);
        if (n == 0) break;
        std::string_view rest(reinterpret_cast<const char *>(part.data()), n);
        for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
            pending += rest.substr(0, end + 1);
            send(pending);
            pending.clear();
        }
        pending += rest;
    }
    if (!pending.empty()) send(pending);
}

}  // namespace

int send(const send_options &o) {
    std::vector<input> files;
    std::uint64_t total = 0;
    // All are opened before the first byte goes: a name that is wrong is not found out halfway.
    for (const std::string &name : o.files.empty() ? std::vector<std::string>{"-"} : o.files) {
        files.emplace_back(name);
        total += files.back().size();
    }
    ipc::sender to(o.url, std::max<std::uint64_t>(1 << 20, (2 * o.size + 4095) / 4096 * 4096));
    progress shown(o.quiet, total);
    for (const input &from : files) (o.lines ? send_lines : send_chunks)(to, from, o, shown);
    say_if_alone(to, o);
    // Without an end for the wait: a receiver that comes later still gets all.
    to.end();
    to.flush(ipc::forever);
    std::uint64_t lost = to.stats().lost;
    if (lost == 0) return success;
    shown.clear();
    fmt::print(stderr, "ipc send: {} messages on {} were lost\n", lost, o.url);
    return failed;
}

}  // namespace cli
