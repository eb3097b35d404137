#include "scenario.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <ipc/ipc.hpp>
#include <stdexcept>
#include <thread>

#include "../patience.hpp"
#include "tracee.hpp"

namespace kill_points {

namespace {

using namespace std::chrono_literals;
const auto limit = 10s * busyness();
constexpr char url[] = "shm://kill-points", small[] = "shm://kill-points?capacity=64KiB&max_capacity=1MiB";
constexpr std::size_t large = 100'000;  // more than fits into the small ring
// More than a cache line, so that it could be torn.
const std::string first(300, 'a'), second(300, 'b'), newcomers(300, 'c');

constexpr std::uint64_t tag = 42;

void must(bool holds, const std::string &words) {
    if (!holds) throw std::runtime_error(words);
}

// ---- The process that is killed -------------------------------------------------------------------------------------

// Sends one message first, so that the link is there and all code has run once.
struct warm_sender {
    ipc::sender s{url};
    warm_sender() {
        s.send("warm");
        must(s.flush(limit) == 0, "the warm-up was not received");
    }
};

int commit() {
    warm_sender w;
    mark();
    ipc::reservation room = w.s.reserve(first.size());
    std::memcpy(room.bytes().data(), first.data(), first.size());
    room.commit(first.size(), tag);
    mark();
    return 0;
}

int grow() {
    ipc::sender s(small);
    s.send("warm");
    must(s.flush(limit) == 0, "the warm-up was not received");
    mark();
    ipc::reservation room = s.reserve(large);
    std::memcpy(room.bytes().data(), first.data(), first.size());
    room.commit(first.size(), tag);
    mark();
    return 0;
}

// Its ring has grown, and was not needed for so long that the next look goes back to a small one.
int shrink() {
    ipc::sender s(small);
    ipc::reservation room = s.reserve(large);
    std::memcpy(room.bytes().data(), "warm", 4);
    room.commit(4);
    must(s.flush(limit) == 0, "the warm-up was not received");
    std::this_thread::sleep_for(1100ms);
    mark();
    must(s.stats().capacity == 64 << 10, "the ring did not shrink");
    s.send(first, tag);
    mark();
    return 0;
}

int send_and_ring() {
    warm_sender w;
    mark();
    w.s.send(first, tag);
    mark();
    return 0;
}

int end() {
    warm_sender w;
    mark();
    w.s.end();
    mark();
    return 0;
}

int open_sender() {
    mark();
    ipc::sender s(url);
    s.send(first, tag);
    mark();
    return 0;
}

int close_sender() {
    warm_sender w;
    w.s.send(first, tag);
    mark();
    w.s.close();
    mark();
    return 0;
}

int receive_and_release() {
    ipc::receiver r(url);
    auto warm = r.receive(limit);
    must(warm && warm->message.text() == "warm", "no warm-up");
    warm->message.release();
    mark();
    auto event = r.receive(limit);
    event->message.release();
    mark();
    return 0;
}

int open_receiver() {
    mark();
    ipc::receiver r(url);
    mark();
    return 0;
}

int close_receiver() {
    ipc::receiver r(url);
    auto warm = r.receive(limit);
    must(warm && warm->message.text() == "warm", "no warm-up");
    warm->message.release();
    mark();
    r.close();
    mark();
    return 0;
}

// ---- The survivor ---------------------------------------------------------------------------------------------------

// Lets the role run up to the point, and kills it there.
void kill_at(tracee &t, const scenario &s, unsigned long point, bool &reached_end) {
    for (unsigned long at = 0; at < point && !reached_end; ++at)
        reached_end = !(s.every_instruction ? t.step() : t.step_visible());
    t.kill();
}

// Nothing is left that is in a newcomer's way.
void check_newcomers(ipc::receiver &r) {
    ipc::sender s(url);
    s.send(newcomers);
    auto event = r.receive(limit);
    must(event && event->what == ipc::event::message_came && event->message.text() == newcomers &&
             event->message.sequence() == 1,
         "a new sender's message does not come through");
    event->message.release();
    must(s.close(limit) == 0, "a new sender's message is not released");
    event = r.receive(limit);
    must(event && event->what == ipc::event::sender_ended, "a new sender's end does not come through");
}

// The receiver whose sender is killed. Of `first` it gets all or nothing, then the end or the death, once.
void receiver_survives(const scenario &s, unsigned long point, bool &reached_end) {
    ipc::receiver r(url);
    bool linked = false;
    tracee t(s.role, [&] {
        if (linked) return;  // what comes after the warm-up is for below
        std::error_code error;
        if (auto warm = r.receive(ipc::timeout::zero(), error)) {
            must(warm->message.text() == "warm", "the warm-up is not what was sent");
            linked = true;
        }
    });
    must(linked || s.role == std::string_view("open_sender"), "there was no warm-up");
    bool waits = s.role == std::string_view("close_sender");  // what it sent before the mark
    bool got = false;
    // Else it is asleep from now on, and the next message rings.
    must(r.arm() != waits, "what is there before the mark is not what was sent");
    kill_at(t, s, point, reached_end);

    for (bool finished = false; !finished;) {
        auto event = r.receive(linked || got ? limit : 20ms);
        if (!event && !linked) break;  // killed before anybody could see it
        must(event.has_value(), "nothing is told of the sender that was killed");
        linked = true;
        if (event->what == ipc::event::message_came) {
            must(!got && event->message.text() == first && event->message.tag() == tag,
                 "a message came that was not sent");
            got = true;
            event->message.release();
        } else {
            finished = true;
        }
    }
    must(got || !waits, "a message is lost");
    must(!r.receive(20ms), "more than one end of the sender was told");
    check_newcomers(r);
    must(r.stats().links == 0, "the link of the sender that was killed is there still");
}

// As receive(limit), while the sender looks at who has come and gone: it is in the same thread.
std::optional<ipc::event> receive_served(ipc::receiver &r, ipc::sender &s) {
    for (auto late = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < late;) {
        s.stats();
        if (auto event = r.receive(1ms)) return event;
    }
    return std::nullopt;
}

// The sender whose receiver is killed. The next one gets what was not released, marked only if it may have been seen.
void sender_survives(const scenario &s, unsigned long point, bool &reached_end) {
    bool grows = s.role == std::string_view("follow");
    ipc::sender mine(grows ? small : url);
    mine.send("warm");
    tracee t(s.role, [&] { mine.stats(); });
    bool reads = grows || s.role == std::string_view("receive_and_release");
    // A receiver that opens has no warm-up behind it: it is there for the next.
    std::size_t waiting = mine.flush(ipc::timeout::zero());
    if (s.role == std::string_view("open_receiver")) must(waiting == 1, "the warm-up has gone");
    ipc::reservation room = mine.reserve(grows ? large : first.size());
    std::memcpy(room.bytes().data(), first.data(), first.size());
    room.commit(first.size());
    mine.send(second);
    kill_at(t, s, point, reached_end);

    ipc::receiver next(url);
    bool after_first = false;
    for (;;) {
        auto event = receive_served(next, mine);
        must(event && event->what == ipc::event::message_came, "the next receiver does not get what is left");
        std::string text(event->message.text());
        bool again = event->message.redelivered();
        event->message.release();
        if (text == second) {
            must(!again, "a message is marked that nobody has seen");
            break;
        }
        must(!after_first && (text == first || text == "warm"), "the next receiver gets what was not sent");
        must(text == first || waiting == 1, "the warm-up comes again though it was released");
        must(!again || (text == first && reads), "a message is marked that nobody has seen");
        after_first |= text == first;
    }
    if (!reads) must(after_first, "a message is lost");
    must(mine.flush(limit) == 0, "messages are not released though all were received");
    must(mine.links().size() == 1, "the link of the receiver that was killed is there still");
    next.close();
    ipc::receiver last(url);
    check_newcomers(last);
}

}  // namespace

const std::vector<scenario> &scenarios() {
    static const std::vector<scenario> all = {
        {"a sender between reserve and commit", "commit", true, receiver_survives},
        {"a sender that goes on in a larger ring, and sends", "grow", false, receiver_survives},
        {"a sender that goes back to a small ring, and sends", "shrink", false, receiver_survives, true},
        {"a sender that sends and rings the doorbell", "send_and_ring", true, receiver_survives},
        {"a sender that ends", "end", true, receiver_survives},
        {"a sender that opens, hands over its ring and sends", "open_sender", false, receiver_survives},
        {"a sender that closes", "close_sender", false, receiver_survives},
        {"a receiver between receive and release", "receive_and_release", true, sender_survives},
        {"a receiver that follows into a larger ring", "follow", false, sender_survives},
        {"a receiver that opens and knocks", "open_receiver", false, sender_survives},
        {"a receiver that closes", "close_receiver", false, sender_survives},
    };
    return all;
}

int play(const std::string &role) {
    const std::pair<const char *, int (*)()> roles[] = {
        {"commit", commit},
        {"grow", grow},
        {"shrink", shrink},
        {"send_and_ring", send_and_ring},
        {"end", end},
        {"open_sender", open_sender},
        {"close_sender", close_sender},
        {"receive_and_release", receive_and_release},
        {"follow", receive_and_release},
        {"open_receiver", open_receiver},
        {"close_receiver", close_receiver},
    };
    for (auto &[name, body] : roles)
        if (role == name) return body();
    return 79;
}

}  // namespace kill_points
