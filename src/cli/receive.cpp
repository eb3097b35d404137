// ipc recv: messages to standard output or a file, straight from the ring, given back once they are written.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ipc/ipc.hpp>
#include <iterator>
#include <set>
#include <system_error>

#include "command.hpp"
#include "progress.hpp"

namespace cli {

namespace {

class output {
  public:
    explicit output(const std::string &name) : name_(name.empty() ? "standard output" : name) {
        if (!name.empty()) file_ = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (file_ < 0) throw std::system_error(errno, std::generic_category(), "cannot open " + name);
    }
    output(const output &) = delete;
    ~output() {
        if (file_ != STDOUT_FILENO) close(file_);
    }
    void write_all(const void *from, std::size_t size) const {
        for (auto *p = static_cast<const char *>(from); size > 0;) {
            ssize_t n = write(file_, p, size);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && errno == EAGAIN) {  // whoever shares it has made it so
                pollfd room{file_, POLLOUT, 0};
                poll(&room, 1, -1);
                continue;
            }
            if (n < 0) throw std::system_error(errno, std::generic_category(), "cannot write to " + name_);
            p += n;
            size -= static_cast<std::size_t>(n);
        }
    }

  private:
    std::string name_;
    int file_ = STDOUT_FILENO;
};

void append_hex(std::string &to, std::span<const std::byte> bytes, const char *between) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        fmt::format_to(std::back_inserter(to), "{}{:02x}", i != 0 ? between : "", static_cast<unsigned>(bytes[i]));
}

// As `hexdump -C` has it, under a line that says which message it is.
std::string as_hex(const ipc::message &m) {
    std::string text = fmt::format("message {} of {:016x}, tag {}, {} bytes{}{}{}\n", m.sequence(), m.sender(), m.tag(),
                                   m.bytes().size(), m.redelivered() ? ", redelivered" : "",
                                   m.duplicate() ? ", duplicate" : "", m.late() ? ", late" : "");
    for (std::size_t at = 0; at < m.bytes().size(); at += 16) {
        auto row = m.bytes().subspan(at, std::min<std::size_t>(16, m.bytes().size() - at));
        std::string hex, letters;
        append_hex(hex, row, " ");
        for (std::byte b : row) {
            char c = static_cast<char>(b);
            letters += c >= ' ' && c <= '~' ? c : '.';
        }
        fmt::format_to(std::back_inserter(text), "{:08x}  {:<47}  |{}|\n", at, hex, letters);
    }
    return text;
}

// One object a line. Senders are 64 bits, more than JSON's numbers hold everywhere: a string.
std::string as_json(const ipc::message &m) {
    std::string text = fmt::format(
        R"({{"sender":"{:016x}","sequence":{},"tag":{},"redelivered":{},"duplicate":{},"late":{},"size":{},"hex":")",
        m.sender(), m.sequence(), m.tag(), m.redelivered(), m.duplicate(), m.late(), m.bytes().size());
    append_hex(text, m.bytes(), "");
    return text + "\"}\n";
}

void write(const output &to, const ipc::message &m, int format) {
    if (format == receive_options::raw) return to.write_all(m.bytes().data(), m.bytes().size());
    std::string text = format == receive_options::hex ? as_hex(m) : as_json(m);
    to.write_all(text.data(), text.size());
}

void print_stats(const ipc_receiver_counters &c, const progress &shown) {
    std::string marks;
    for (auto [count, what] :
         {std::pair{c.skipped, "skipped"}, std::pair{c.lost, "lost"}, std::pair{c.duplicated, "duplicate"},
          std::pair{c.reordered, "late"}, std::pair{c.foreign, "foreign"}, std::pair{c.refused, "refused"}})
        if (count != 0) marks += fmt::format(", {} {}", count, what);
    fmt::print(stderr, "{} messages, {}, {:.3f} s, {}/s{}\n", shown.messages(),
               bytes_text(static_cast<double>(shown.bytes())), shown.seconds(),
               bytes_text(static_cast<double>(shown.bytes()) / shown.seconds()), marks);
}

ipc_receiver *interrupted_receiver;
volatile sig_atomic_t was_interrupted;

// Ctrl-C ends the wait, and not the process: what is in hand is written and given back.
void interrupt_on_signals(ipc::receiver &r) {
    interrupted_receiver = r.get();
    struct sigaction action {};
    action.sa_handler = [](int) {
        was_interrupted = 1;
        ipc_receiver_interrupt(interrupted_receiver);
    };
    action.sa_flags = SA_RESETHAND;  // the second one ends us
    for (int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

// What this process lacks now and may have later: the receiver looks again.
bool passes(const std::error_code &error) {
    return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
           error == std::errc::not_enough_memory || error == std::errc::no_space_on_device;
}

}  // namespace

int receive(const receive_options &o) {
    output to(o.to);
    ipc::receiver from(o.url);
    interrupt_on_signals(from);
    progress shown(o.quiet || (o.to.empty() && isatty(STDOUT_FILENO)));
    std::set<std::uint64_t> ended;
    int code = success;
    while (!was_interrupted) {
        std::error_code error;
        std::optional<ipc::event> event = from.receive(ipc::forever, error);
        if (error == std::errc::interrupted || error == std::errc::operation_canceled) continue;
        if (passes(error)) {
            shown.clear();
            fmt::print(stderr, "ipc recv: {}\n", error.message());  // told once, and waited for
            continue;
        }
        if (error) throw std::system_error(error, "cannot receive from " + o.url);
        if (event->what == ipc::event::message_came) {
            ipc::message &m = event->message;
            try {
                write(to, m, o.format);
            } catch (const std::system_error &) {
                new ipc::message(std::move(m));  // never released: the next receiver gets it
                throw;
            }
            shown.add(m.bytes().size());
            if (o.count != 0 && shown.messages() == o.count) break;
            continue;
        }
        if (event->what == ipc::event::sender_died) {
            shown.clear();
            if (event->sender == 0)
                fmt::print(stderr, "ipc recv: the other end was closed before a sender had said who it is\n");
            else
                fmt::print(stderr, "ipc recv: the sender {:016x} died: what it sent may be cut short\n", event->sender);
            if (o.until_end) code = sender_died;
        }
        ended.insert(event->sender);
        if (!o.until_end) continue;
        bool all = true;
        for (const ipc_link &link : from.links()) all &= ended.count(link.peer) != 0;
        if (all) break;
    }
    shown.clear();
    if (o.stats) print_stats(from.stats(), shown);
    return was_interrupted ? interrupted : code;
}

}  // namespace cli
