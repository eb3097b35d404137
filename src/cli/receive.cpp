// ipc recv: messages to standard output or a file, straight from the ring, given back once they are written.
#include <fmt/format.h>

#include <algorithm>
#include <ipc/ipc.hpp>
#include <set>
#include <system_error>

#include "command.hpp"
#include "idle.hpp"
#include "message_text.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "say.hpp"
#include "stop.hpp"

namespace cli {

namespace {

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
    say("{} messages, {}, {:.3f} s, {}/s{}\n", shown.messages(), bytes_text(static_cast<double>(shown.bytes())),
        shown.seconds(), bytes_text(static_cast<double>(shown.bytes()) / shown.seconds()), marks);
}

void tell_death(std::uint64_t sender) {
    if (sender == 0)
        say("ipc recv: the other end was closed before a sender had said who it is\n");
    else
        say("ipc recv: the sender {:016x} died: what it sent may be cut short\n", sender);
}

// What this process lacks now and may have later: the receiver looks again.
bool passes(const std::error_code &error) {
    return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
           error == std::errc::not_enough_memory || error == std::errc::no_space_on_device;
}

// So many senders have ended, and each that is connected.
bool all_ended(ipc::receiver &from, const std::set<std::uint64_t> &ended, std::uint64_t senders) {
    return ended.size() >= senders &&
           std::ranges::all_of(from.links(), [&](const ipc_link &link) { return ended.count(link.peer) != 0; });
}

}  // namespace

int receive(const receive_options &o) {
    ipc::receiver from(o.url);
    stop_on_signals(from);
    output to(o.to);  // not before: what is in a file stays there if the URL is wrong
    progress shown(o.quiet, !to.is_terminal());
    idle waiting(o.timeout, shown.watched());
    std::set<std::uint64_t> ended;
    int code = success;
    while (!stopped_by) {
        std::error_code error;
        std::optional<ipc::event> event = from.receive(waiting.next_wait(), error);
        if (was_cut(error)) continue;
        if (has_passed(error) && waiting.too_long()) {
            shown.clear();
            say("ipc recv: nothing came on {} for {} s\n", o.url, o.timeout);
            code = timed_out;
            break;
        }
        if (has_passed(error)) {
            if (from.links().empty())
                shown.wait_alone(fmt::format("ipc recv: no sender on {} now; waiting for one", o.url));
            else
                shown.wait();
            continue;
        }
        if (passes(error)) {
            shown.clear();
            say("ipc recv: {}\n", error.message());  // told once, and waited for
            continue;
        }
        if (error) throw std::system_error(error, "cannot receive from " + o.url);
        waiting.restart();
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
            tell_death(event->sender);
            if (o.until_end) code = sender_died;
        }
        ended.insert(event->sender);
        if (o.until_end && all_ended(from, ended, o.senders)) break;
    }
    shown.clear();
    if (o.stats) print_stats(from.stats(), shown);
    return stopped_by ? stopped_status() : code;
}

}  // namespace cli
