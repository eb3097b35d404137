// ipc send: files or standard input, read straight into the ring.
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <ipc/ipc.hpp>
#include <stdexcept>
#include <system_error>
#include <tuple>

#include "command.hpp"
#include "idle.hpp"
#include "input.hpp"
#include "progress.hpp"
#include "say.hpp"
#include "stop.hpp"

namespace cli {

namespace {

// Thrown where a wait is given up: a signal has come, or --timeout has passed.
struct given_up {};

// The sender, in waits that a signal or --timeout ends, and that say what they wait for.
class patient_sender {
  public:
    patient_sender(const send_options &o, progress &shown)
        : o_(o), shown_(shown), to_(o.url, std::max<std::uint64_t>(1 << 20, 2 * o.size)) {
        stop_on_signals(to_);
    }

    ipc::reservation reserve(std::size_t size) {
        ipc::reservation room;
        wait(size,
             [&](idle &waiting, std::error_code &error) { room = to_.reserve(size, waiting.next_wait(), error); });
        return room;
    }
    void send(std::string_view text) {
        wait(text.size(),
             [&](idle &waiting, std::error_code &error) { to_.send(text, o_.tag, waiting.next_wait(), error); });
        shown_.add(text.size());
    }
    // Says that no more will come. Where nothing was sent, that is all that a receiver gets, and is not to be missed.
    void end() {
        if (shown_.messages() == 0)
            wait(0, [&](idle &waiting, std::error_code &error) {
                std::ignore = to_.wait_for_receivers(1, waiting.next_wait(), error);
            });
        to_.end();
    }
    // Until all is received. A receiver that comes later still gets all.
    void flush() {
        std::size_t left = 0;
        wait(0, [&](idle &waiting, std::error_code &error) {
            std::size_t before = std::exchange(left, to_.flush(waiting.next_wait(), error));
            if (left != 0 && left < before) waiting.restart();
            if (left != 0) error = std::make_error_code(std::errc::timed_out);
        });
    }
    // Until there is something to read. A receiver that comes meanwhile is served; if none can come any more, it
    // throws.
    void wait_for(const input &from) {
        for (;;) {
            pollfd both[] = {{from.file(), POLLIN, 0}, {to_.fd(), POLLIN, 0}};
            std::error_code error;
            bool sleep = to_.arm(error);
            if (!sleep) std::ignore = to_.reserve(0, ipc::timeout::zero(), error);
            if (stopped_by) throw given_up();
            if (error == std::errc::broken_pipe) throw std::system_error(error, "cannot send on " + o_.url);
            int ready = poll(both, 2, !sleep ? 0 : shown_.watched() ? static_cast<int>(glance.count()) : -1);
            if (ready < 0 && errno != EINTR)
                throw std::system_error(errno, std::generic_category(), "cannot wait for input");
            if (stopped_by) throw given_up();
            if (ready > 0 && both[0].revents != 0) return;
            if (ready == 0 && sleep) tell();
        }
    }

    // 64 KiB, or less where the channel takes no such message.
    std::uint64_t suitable_size() { return std::min<std::uint64_t>(64 << 10, to_.largest_message()); }

    void commit(ipc::reservation &room, std::size_t size) {
        room.commit(size, o_.tag);
        shown_.add(size);
    }
    ipc::sender &handle() { return to_; }

  private:
    // size: of the message, if there is one.
    template <class Try>
    void wait(std::size_t size, Try try_once) {
        for (idle waiting(o_.timeout, shown_.watched());;) {
            std::error_code error;
            try_once(waiting, error);
            if (!error) return;
            if (stopped_by || (has_passed(error) && waiting.too_long())) throw given_up();
            if (has_passed(error))
                tell();
            else if (error == std::errc::message_size)
                throw std::runtime_error(fmt::format("cannot send a message of {} bytes on {}, which takes {} at most",
                                                     size, o_.url, to_.largest_message()));
            else if (!was_cut(error))
                throw std::system_error(error, "cannot send on " + o_.url);
        }
    }
    // Who looks at a terminal that does nothing wants to know why.
    void tell() {
        if (to_.links().empty())
            shown_.wait_alone(fmt::format("ipc send: no receiver on {} now; waiting for one", o_.url));
        else
            shown_.wait();
    }

    const send_options &o_;
    progress &shown_;
    ipc::sender to_;
};

// An input without a byte is a message without a byte.
void send_chunks(patient_sender &to, const input &from, const send_options &o) {
    const std::uint64_t size = o.size != 0 ? o.size : to.suitable_size();
    for (bool first = true;; first = false) {
        to.wait_for(from);
        ipc::reservation room = to.reserve(size);
        std::size_t n = from.read_some(room.bytes());
        if (stopped_by) throw given_up();
        if (n != 0 || first) to.commit(room, n);
        if (n == 0) return;
    }
}

// A line is a message, its newline included, so that what is received is what was sent.
void send_lines(patient_sender &to, const input &from) {
    std::string pending;
    std::vector<std::byte> part(64 << 10);
    for (;;) {
        to.wait_for(from);
        std::size_t n = from.read_some(part);
        if (stopped_by) throw given_up();
        if (n == 0) break;
        std::string_view rest(reinterpret_cast<const char *>(part.data()), n);
        for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
            pending += rest.substr(0, end + 1);
            to.send(pending);
            pending.clear();
        }
        pending += rest;
    }
    if (!pending.empty()) to.send(pending);
}

// What has become of the messages, when the wait for the rest was given up.
void tell_unfinished(ipc::sender &to, const send_options &o, std::uint64_t messages) {
    std::error_code error;
    std::size_t left = to.flush(ipc::timeout::zero(), error);
    if (was_cut(error)) left = to.flush(ipc::timeout::zero(), error);  // the signal's own interrupt
    bool connected = std::ranges::any_of(
        to.links(error), [](const ipc_link &l) { return l.state == IPC_LINK_UP || l.state == IPC_LINK_CONNECTING; });
    std::string why = stopped_by ? "interrupted" : fmt::format("nothing was taken for {} s", o.timeout);
    if (messages == 0) return say("ipc send: {}; nothing was sent on {}\n", why, o.url);
    std::string fate = left == 0                     ? "all are received"
                       : !connected                  ? fmt::format("{} are lost: no receiver was there", left)
                       : o.url.starts_with("shm://") ? fmt::format("{} are still to be received by who is there", left)
                                                     : fmt::format("{} were not received yet and may be lost", left);
    say("ipc send: {}; of {} messages sent on {}, {}\n", why, messages, o.url, fate);
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
    progress shown(o.quiet, std::ranges::none_of(files, &input::is_terminal), total);
    patient_sender to(o, shown);
    bool all = false;
    try {
        for (const input &from : files) {
            if (o.lines)
                send_lines(to, from);
            else
                send_chunks(to, from, o);
        }
        to.end();
        all = true;
        to.flush();
    } catch (const given_up &) {
        shown.clear();
        tell_unfinished(to.handle(), o, shown.messages());
        // Not closed, which would be an end: the receivers are to be told that it was cut short.
        if (!all) new ipc::sender(std::move(to.handle()));
        return stopped_by ? stopped_status() : timed_out;
    }
    std::uint64_t lost = to.handle().stats().lost;
    if (lost == 0) return success;
    shown.clear();
    say("ipc send: {} messages on {} were lost\n", lost, o.url);
    return failed;
}

}  // namespace cli
