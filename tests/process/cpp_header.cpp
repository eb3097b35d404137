// ipc.hpp, all of it, as a C++ program uses it: with the other side in another process wherever there is another side.
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ipc/ipc.hpp>
#include <thread>
#include <type_traits>
#include <vector>

#include "support.hpp"

namespace {

std::vector<std::byte> bytes(std::size_t size, unsigned seed) {
    std::vector<std::byte> all(size);
    for (std::size_t i = 0; i < size; ++i) all[i] = static_cast<std::byte>(i * 7 + seed);
    return all;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

ipc::message next_message(ipc::receiver &r) {
    auto e = r.receive(limit);
    REQUIRE(e);
    REQUIRE(e->what == ipc::event::message_came);
    CHECK(e->sender == e->message.sender());
    return std::move(e->message);
}

std::string next_text(ipc::receiver &r) {
    ipc::message m = next_message(r);
    return std::string(m.text());
}

template <class F>
std::string words_of(F &&call) {
    try {
        call();
    } catch (const std::system_error &e) {
        return e.what();
    }
    return "it did not throw";
}

// Sends one message in each way, as told.
ROLE(cpp_sender) {
    ipc::sender s("shm://t");
    me.say(std::to_string(s.stats().id));
    s.send(bytes(1000, 1), 11, limit);
    s.send("some text", 12);
    s.send(std::span<const std::byte>(), 13);
    ipc::reservation r = s.reserve(5000, limit);
    MUST(r.bytes().size() == 5000);
    std::memcpy(r.bytes().data(), bytes(300, 2).data(), 300);
    r.commit(300, 14);
    MUST(!r);
    me.hear();
    s.end();
    me.hear();
    s.close(limit);
}

// Says what it receives, until the end.
ROLE(cpp_receiver) {
    ipc::receiver r(me.has(0) ? me.arg(0) : "shm://t");
    me.say("open");
    while (auto e = r.receive(limit)) {
        if (e->what != ipc::event::message_came) break;
        me.say(std::to_string(e->message.tag()) + " " + std::string(e->message.text()));
    }
    me.say("end");
}

// Holds the first message that it receives.
ROLE(cpp_holder) {
    ipc::receiver r("shm://t");
    me.say("open");
    auto e = r.receive(limit);
    me.say("has it");
    me.hear();
}

}  // namespace

// ---- Messages -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "C++: messages come whole, with tag, sequence and sender, and then the end") {
    ipc::receiver r("shm://t");
    child sender = start("cpp_sender");
    std::uint64_t id = std::stoull(sender.hear());
    ipc::message m = next_message(r);
    CHECK(same(m.bytes(), bytes(1000, 1)));
    CHECK(m.tag() == 11);
    CHECK(m.sequence() == 1);
    CHECK(m.sender() == id);
    CHECK_FALSE(m.redelivered());
    m = next_message(r);
    CHECK(m.text() == "some text");
    CHECK(m.tag() == 12);
    m = next_message(r);
    CHECK(m.bytes().empty());
    CHECK(m.bytes().data() != nullptr);
    CHECK(m.tag() == 13);
    m = next_message(r);
    CHECK(same(m.bytes(), bytes(300, 2)));
    CHECK(m.tag() == 14);
    CHECK(m.sequence() == 4);
    m.release();
    CHECK_FALSE(m);
    CHECK(m.bytes().empty());
    m.release();  // twice is once

    sender.say("end");
    auto e = r.receive(limit);
    REQUIRE(e);
    CHECK(e->what == ipc::event::sender_ended);
    CHECK(e->sender == id);
    CHECK_FALSE(e->message);
    CHECK(r.stats().ends == 1);
    CHECK(r.stats().held == 0);
    sender.say("close");
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "C++: a sender that is killed brings the event of a death") {
    ipc::receiver r("shm://t");
    child sender = start("cpp_sender");
    std::uint64_t id = std::stoull(sender.hear());
    for (int i = 0; i < 4; ++i) next_message(r);
    sender.kill();
    somebody_was_killed("shm://t");
    auto e = r.receive(limit);
    REQUIRE(e);
    CHECK(e->what == ipc::event::sender_died);
    CHECK(e->sender == id);
}

TEST_CASE_FIXTURE(scratch, "C++: a message outlives its receiver, in a variable or a container") {
    std::vector<ipc::message> kept;
    ipc::receiver r("shm://t");
    child sender = start("cpp_sender");
    sender.hear();
    for (int i = 0; i < 2; ++i) kept.push_back(next_message(r));
    next_message(r);  // this one is gone with its line
    CHECK(r.stats().held == 2);
    CHECK(r.close() == 2);
    CHECK_FALSE(r);
    ipc::message first = std::move(kept[0]);
    CHECK_FALSE(kept[0]);
    CHECK(same(first.bytes(), bytes(1000, 1)));
    CHECK(kept[1].text() == "some text");
    kept.clear();
    CHECK(same(first.bytes(), bytes(1000, 1)));
    first = {};  // the last release frees the handle
    sender.say("end");
    sender.say("close");  // it lingers for the one that was not received
    ipc::receiver other("shm://t");
    CHECK(next_message(other).tag() == 14);
    CHECK(other.receive(limit)->what == ipc::event::sender_ended);
    sender.done();
}

TEST_CASE_FIXTURE(scratch, "C++: a message that a dead receiver held comes again, marked") {
    child holder = start("cpp_holder");
    holder.expect("open");
    ipc::sender s("shm://t");
    s.send("held", 1);
    holder.expect("has it");
    holder.kill();
    somebody_was_killed("shm://t");
    ipc::receiver r("shm://t");
    CHECK(s.stats().links == 1);  // it looks, and finds the new one instead of the old one
    s.send("new", 2);
    ipc::message m = next_message(r);
    CHECK(m.text() == "held");
    CHECK(m.redelivered());
    m = next_message(r);
    CHECK(m.text() == "new");
    CHECK_FALSE(m.redelivered());
}

TEST_CASE_FIXTURE(scratch, "C++: a reservation can be moved, and given back by leaving it") {
    child receiver = start("cpp_receiver");
    receiver.expect("open");
    ipc::sender s("shm://t");
    {
        ipc::reservation left = s.reserve(100);
        std::memcpy(left.bytes().data(), "never", 5);
    }
    ipc::reservation r;
    CHECK_FALSE(r);
    {
        ipc::reservation inner = s.reserve(100, limit);
        std::memcpy(inner.bytes().data(), "moved", 5);
        ipc::reservation by_constructor = std::move(inner);
        CHECK_FALSE(inner);
        CHECK(inner.bytes().empty());
        r = std::move(by_constructor);
    }
    CHECK(r.bytes().size() == 100);
    r.commit(5, 1);
    CHECK_FALSE(r);
    receiver.expect("1 moved");

    std::error_code error;
    r.commit(5, 1, error);  // nothing is reserved
    CHECK(error == std::errc::invalid_argument);
    r = s.reserve(10, limit, error);
    CHECK_FALSE(error);
    r.commit(11, 1, error);  // it stays open
    CHECK(error == std::errc::invalid_argument);
    CHECK(r);
    ipc::reservation second = s.reserve(10, ipc::timeout::zero(), error);
    CHECK(error == std::errc::invalid_argument);
    CHECK_FALSE(second);
    r.abort();
    CHECK_FALSE(r);
    CHECK_THROWS_AS(r.commit(1), std::system_error);
    s.send("last", 2);
    s.end();
    receiver.expect("2 last");
    receiver.expect("end");
    receiver.done();
}

// ---- Values ---------------------------------------------------------------------------------------------------------

namespace {

struct position {
    double x, y;
    std::int32_t number;
};
struct alignas(64) lane {
    char name[64];
};

template <class T>
concept sendable = requires(ipc::sender s, const T &value, std::error_code error) {
    s.send(value);
    s.send(value, 1, ipc::forever, error);
};
static_assert(sendable<int> && sendable<position> && sendable<std::chrono::seconds> && sendable<int[3]> &&
              sendable<std::vector<position>> && sendable<std::span<const int>> && sendable<std::string> &&
              sendable<char[5]> && sendable<const char *> && sendable<std::span<std::byte>>);
static_assert(!sendable<int *> && !sendable<const position *> && !sendable<void *> && !sendable<std::nullptr_t> &&
              !sendable<int position::*> && !sendable<std::vector<int *>> && !sendable<char *[2]> &&
              !sendable<std::vector<std::string_view>> && !sendable<std::vector<std::string>> &&
              !sendable<std::vector<bool>>);

template <class T>
concept gives_bytes = requires(T t) {
    std::forward<T>(t).bytes();
};
template <class T>
concept gives_text = requires(T t) {
    std::forward<T>(t).text();
};
template <class T>
concept gives_values = requires(T t) {
    std::forward<T>(t).template as_span<int>();
};
template <class T>
concept gives_by_code = requires(T t, std::error_code error) {
    std::forward<T>(t).template as<int>(error);
};
template <class T>
constexpr int views = gives_bytes<T> + gives_text<T> + gives_values<T> + gives_by_code<T>;
static_assert(views<ipc::message &> == 4 && views<const ipc::message &> == 4 && views<ipc::reservation &> == 1);
static_assert(views<ipc::message> == 0 && views<const ipc::message> == 0 && views<ipc::reservation> == 0);

}  // namespace

TEST_CASE_FIXTURE(scratch, "C++: a plain value goes as its bytes, and comes as a value or as values") {
    ipc::receiver r("shm://t");
    ipc::sender s("shm://t");
    s.send(position{1.5, 2.5, 3}, 11);
    s.send(std::vector<position>{{1, 2, 3}, {4, 5, 6}}, 12);
    s.send(0.25);
    ipc::message m = next_message(r);
    CHECK(m.tag() == 11);
    CHECK(m.bytes().size() == sizeof(position));
    CHECK(&m.as<position>() == static_cast<const void *>(m.bytes().data()));
    CHECK(m.as<position>().y == 2.5);
    CHECK(m.as_span<position>().size() == 1);
    m = next_message(r);
    auto all = m.as_span<position>();
    REQUIRE(all.size() == 2);
    CHECK(all[1].number == 6);
    CHECK(next_message(r).as<double>() == 0.25);  // a copy: the message is gone with its line
    const ipc::message none;
    CHECK(none.as_span<int>().empty());
}

TEST_CASE_FIXTURE(scratch, "C++: a message that is not such a value is refused in words, or by code") {
    ipc::receiver r("shm://t");
    ipc::sender s("shm://t");
    s.send("seven b");
    ipc::message m = next_message(r);
    std::string words = words_of([&] { (void)m.as<double>(); });
    CAPTURE(words);
    CHECK(words.find("its 7 bytes are not one value of 8 bytes") != words.npos);
    CHECK(words.find("read the type that was sent") != words.npos);
    words = words_of([&] { (void)m.as_span<std::int16_t>(); });
    CAPTURE(words);
    CHECK(words.find("its 7 bytes are not a number of values of 2 bytes") != words.npos);
    CHECK_THROWS_AS((void)ipc::message().as<char>(), std::system_error);
    std::error_code error;
    CHECK(m.as<double>(error) == nullptr);
    CHECK(error == std::errc::bad_message);
    CHECK(m.as_span<std::int16_t>(error).empty());
    CHECK(error == std::errc::bad_message);
    CHECK(m.as_span<char>(error).size() == 7);
    CHECK_FALSE(error);
    CHECK(*m.as<std::array<char, 7>>(error) == std::array{'s', 'e', 'v', 'e', 'n', ' ', 'b'});
    CHECK_FALSE(error);
    // A small message lies at any multiple of 16.
    std::vector<ipc::message> four;
    for (int i = 0; i < 4; ++i) s.send(std::array<lane, 1>{});
    for (int i = 0; i < 4; ++i) four.push_back(next_message(r));
    CHECK(std::ranges::any_of(four, [&](const ipc::message &l) { return l.as_span<lane>(error).empty(); }));
    for (const ipc::message &l : four)
        if (l.as_span<lane>(error).empty())
            CHECK(words_of([&] { (void)l.as_span<lane>(); }).find("aligned to 64") != std::string::npos);
    // A larger one does not.
    for (int i = 0; i < 4; ++i) s.send(std::array<lane, 4>{});
    for (int i = 0; i < 4; ++i) CHECK(next_message(r).as<std::array<lane, 4>>().size() == 4);
}

TEST_CASE_FIXTURE(scratch, "C++: the largest message goes, and of one byte more it is said how many may be") {
    ipc::receiver r("shm://t");
    ipc::sender s("shm://t?max_capacity=4MiB"), over_unix("unix://" + folder() + "/s");
    std::error_code error;
    CHECK(s.largest_message() == 2 << 20);
    CHECK(s.largest_message(error) == 2 << 20);
    CHECK_FALSE(error);
    s.send(std::vector<std::byte>(2 << 20), 0, limit);
    CHECK(next_text(r).size() == 2 << 20);
    for (ipc::sender *each : {&s, &over_unix}) {
        const std::size_t most = each->largest_message();
        std::string words = words_of([&] { each->send(std::vector<std::byte>(most + 1)); });
        std::string expected = std::string(each->url()) + ": " + std::to_string(most + 1) + " bytes, where at most " +
                               std::to_string(most) + " may be";
        CAPTURE(words);
        CHECK(words.find(expected) != words.npos);
    }
}

// ---- Receivers ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "C++: a sender waits until so many receivers are there, or the time has passed") {
    for (const std::string &url : {std::string("shm://t"), "unix://" + folder() + "/s"}) {
        CAPTURE(url);
        ipc::sender s(url);
        std::error_code error;
        CHECK(s.wait_for_receivers(0));
        CHECK_FALSE(s.wait_for_receivers(1, ipc::timeout::zero()));
        CHECK_FALSE(s.wait_for_receivers(1, 1ms, error));
        CHECK(error == std::errc::timed_out);
        child receiver = start("cpp_receiver", {url});
        CHECK(s.wait_for_receivers(1, limit));
        CHECK(s.links().size() == 1);
        CHECK_FALSE(s.wait_for_receivers(2, 1ms));
        s.interrupt();
        CHECK_FALSE(s.wait_for_receivers(2, limit, error));
        CHECK(error == std::errc::operation_canceled);
        receiver.expect("open");
        s.end();
        receiver.expect("end");
        receiver.done();
    }
}

TEST_CASE_FIXTURE(scratch, "C++: a sender that has receivers waits for more of them, also where a send was refused") {
    ipc::sender s("shm://t", 64 << 10);
    child first = receiver();
    REQUIRE(s.wait_for_receivers(1, limit));
    std::error_code error;
    std::vector<std::byte> half(30 << 10);
    do s.send(half, 0, ipc::timeout::zero(), error);
    while (!error);
    CHECK(error == std::errc::resource_unavailable_try_again);
    first.kill();  // there is room now
    somebody_was_killed("shm://t");
    CHECK_FALSE(s.wait_for_receivers(2, 1ms));
    child second = receiver(), third = receiver();
    CHECK(s.wait_for_receivers(2, limit));
}

// ---- Errors ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "C++: an open that fails throws what was tried, what is in the way, and what to do") {
    for (bool sending : {true, false}) {
        try {
            if (sending)
                ipc::sender s("shm://no/such");
            else
                ipc::receiver r("shm://no/such");
            FAIL("it did not throw");
        } catch (const std::system_error &e) {
            CHECK(e.code() == std::errc::invalid_argument);
            std::string words = e.what();
            CHECK(words.find(sending ? "cannot open a sender" : "cannot open a receiver") == 0);
            CHECK(words.find("shm://no/such") != words.npos);
            CHECK(words.find("allowed are A-Z") != words.npos);
        }
    }
    std::error_code error;
    ipc::sender s("nats://host:1", error);
    CHECK_FALSE(s);
    CHECK(error == std::errc::operation_not_supported);
    ipc::receiver r("http://host", error);
    CHECK_FALSE(r);
    CHECK(error == std::errc::protocol_not_supported);
    ipc::sender good("shm://t", error);
    CHECK(good);
    CHECK_FALSE(error);
    CHECK_THROWS_AS(ipc::sender("shm://t", 4096), ipc::open_error);
    CHECK_THROWS_AS(ipc::receiver("shm://t", 77), ipc::open_error);
    CHECK(ipc::sender("shm://t", 2 << 20).stats().capacity == 2 << 20);
}

TEST_CASE_FIXTURE(scratch, "C++: a NUL in a URL is refused, and not taken for its end") {
    std::string url("shm://t\0u", 9);
    std::error_code error;
    ipc::sender s(url, error);
    CHECK(error == std::errc::invalid_argument);
    ipc::receiver r(url, error);
    CHECK(error == std::errc::invalid_argument);
    try {
        ipc::receiver thrown(url);
        FAIL("it did not throw");
    } catch (const std::system_error &e) {
        CHECK(std::string(e.what()).find("NUL") != std::string::npos);
    }
}

TEST_CASE_FIXTURE(scratch, "C++: who uses a handle wrongly is told of which channel, and what to do") {
    ipc::sender s("shm://t"), none;
    auto told = [](const std::string &words, const std::string &start, const std::string &advice) {
        CAPTURE(words);
        CHECK(words.find(start) == 0);
        CHECK(words.find(advice) != words.npos);
    };
    told(words_of([&] { none.send("x"); }), "ipc send: this sender is empty", "open it first");
    told(words_of([&] { (void)ipc::receiver().receive(); }), "ipc receive: this receiver is empty", "open it first");
    told(words_of([&] { (void)none.wait_for_receivers(); }), "ipc wait_for_receivers: ", "open it first");
    told(words_of([] { ipc::reservation().commit(1); }), "ipc commit: nothing is reserved", "reserve first");
    {
        ipc::reservation r = s.reserve(5);
        told(words_of([&] { (void)s.reserve(5); }), "ipc reserve on shm://t: a reservation is open", "commit or abort");
        told(words_of([&] { s.send("x"); }), "ipc send on shm://t: a reservation is open", "commit or abort");
        told(words_of([&] { r.commit(6); }), "ipc commit on shm://t: 6 bytes, where 5 are reserved", "reserve as many");
    }
    s.end();
    told(words_of([&] { s.send("x"); }), "ipc send on shm://t: ", "open another sender");
}

TEST_CASE("C++: the codes of ipc.h are error codes, equal to std::errc where they are an errno") {
    std::error_code piped(-EPIPE, ipc::category());
    CHECK(piped == std::errc::broken_pipe);
    CHECK(piped != std::errc::invalid_argument);
    CHECK(piped.message() == ipc_strerror(-EPIPE));
    CHECK(std::string(piped.category().name()) == "ipc");
    CHECK(&ipc::category() == &ipc::category());
    std::error_code version(IPC_EVERSION, ipc::category());
    CHECK(version.message() == ipc_strerror(IPC_EVERSION));
    CHECK(version.default_error_condition().category() == ipc::category());
    CHECK(version != std::error_code(IPC_EFORKED, ipc::category()));
    CHECK_FALSE(std::error_code(0, ipc::category()));
}

TEST_CASE_FIXTURE(scratch, "C++: each call throws or gives its error code, as is asked for") {
    ipc::sender s("shm://t", 64 << 10);
    std::error_code error;
    std::vector<std::byte> large(40 << 10);
    CHECK_THROWS_AS(s.send(large), std::system_error);
    s.send(large, 0, ipc::forever, error);
    CHECK(error == std::errc::message_size);
    large.resize(30 << 10);
    s.send(large);
    s.send(large, 0, ipc::timeout::zero(), error);
    CHECK_FALSE(error);
    s.send(large, 0, ipc::timeout::zero(), error);
    CHECK(error == std::errc::resource_unavailable_try_again);
    s.send(large, 0, 1ms, error);
    CHECK(error == std::errc::timed_out);
    CHECK_THROWS_AS(s.reserve(30 << 10, 1ms), std::system_error);
    CHECK(s.flush(1ms) == 2);
    CHECK(s.flush(ipc::timeout::zero(), error) == 2);
    CHECK_FALSE(error);
    s.end();
    s.end(error);
    CHECK_FALSE(error);
    try {
        s.send("late");
        FAIL("it did not throw");
    } catch (const std::system_error &e) {
        CHECK(e.code() == std::errc::broken_pipe);
        CHECK(std::string(e.what()).find("ipc send") == 0);
    }
    CHECK(s.close(1ms) == 2);
}

TEST_CASE_FIXTURE(scratch,
                  "C++: receive gives nothing when the time is over, and its error code if that is asked for") {
    ipc::receiver r("shm://t");
    CHECK_FALSE(r.receive(ipc::timeout::zero()));
    CHECK_FALSE(r.receive(1ms));
    std::error_code error;
    CHECK_FALSE(r.receive(ipc::timeout::zero(), error));
    CHECK(error == std::errc::resource_unavailable_try_again);
    CHECK_FALSE(r.receive(1ms, error));
    CHECK(error == std::errc::timed_out);
    r.interrupt();
    CHECK_THROWS_AS(r.receive(limit), std::system_error);
}

TEST_CASE_FIXTURE(scratch, "C++: any thread can interrupt a call, which can be made again") {
    ipc::receiver r("shm://t");
    ipc::sender s("shm://t");
    std::error_code error;
    std::thread other([&] { r.interrupt(); });
    CHECK_FALSE(r.receive(ipc::forever, error));
    CHECK(error == std::errc::operation_canceled);
    other.join();
    s.send("x");
    std::thread another([&] { s.interrupt(); });
    s.flush(ipc::forever, error);
    CHECK(error == std::errc::operation_canceled);
    another.join();
    CHECK(next_text(r) == "x");
    CHECK(s.flush(limit) == 0);
}

// ---- Waiting elsewhere ----------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "C++: after arm the fd is waited on, until there is something") {
    ipc::receiver r("shm://t");
    child sender = start("cpp_sender");
    int messages = 0;
    while (messages < 4) {
        if (r.arm()) {
            pollfd p{r.fd(), POLLIN, 0};
            REQUIRE(poll(&p, 1, static_cast<int>(limit / 1ms)) == 1);
        }
        while (r.receive(ipc::timeout::zero())) ++messages;
    }
    CHECK(messages == 4);
    ipc::sender s("shm://t");
    std::error_code error;
    CHECK(s.arm(error) == true);  // nothing is waited for
    CHECK_FALSE(error);
    CHECK(s.fd() >= 0);
    s.interrupt();
    CHECK_THROWS_AS((void)s.arm(), std::system_error);
    r.interrupt();
    CHECK_FALSE(r.arm(error));
    CHECK(error == std::errc::operation_canceled);
    sender.hear();
    sender.say("end");
    sender.say("close");
    sender.done();
}

// ---- Handles --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "C++: links tell the other process, counters what was done") {
    child receiver = start("cpp_receiver");
    receiver.expect("open");
    ipc::sender s("shm://t");
    s.send("one", 1);
    receiver.expect("1 one");
    CHECK(s.flush(limit) == 0);
    auto links = s.links();
    REQUIRE(links.size() == 1);
    CHECK(links[0].pid == receiver.pid());
    CHECK(links[0].state == IPC_LINK_UP);
    CHECK(s.stats().messages == 1);
    CHECK(s.stats().bytes == 3);
    CHECK(s.stats().links == 1);
    CHECK(std::string(s.url()) == "shm://t");
    ipc::receiver own("shm://t");
    CHECK(s.links().size() == 2);
    CHECK(own.stats().links == 1);
    CHECK(own.links()[0].peer == s.stats().id);
    CHECK(std::string(own.url()) == "shm://t");
    CHECK(s.close() == 0);
    CHECK(own.receive(limit)->what == ipc::event::sender_ended);
    receiver.expect("end");
    receiver.done();
}

TEST_CASE_FIXTURE(scratch, "C++: handles move, close what they had, and are empty afterwards") {
    ipc::sender a("shm://a"), b("shm://b");
    ipc_sender *handle = a.get();
    ipc::sender c = std::move(a);
    CHECK_FALSE(a);
    CHECK(c.get() == handle);
    b = std::move(c);
    CHECK(b.get() == handle);
    CHECK_FALSE(c);
    ipc::receiver r("shm://a");
    b.send("still a", 1);
    CHECK(next_text(r) == "still a");
    ipc::receiver other("shm://b");
    CHECK(other.stats().links == 0);  // its sender was closed by the assignment
    other = std::move(r);
    CHECK_FALSE(r);
    b.send("yes", 2);
    CHECK(next_text(other) == "yes");
    ipc::receiver last = std::move(other);
    CHECK(last);
    CHECK_FALSE(other);
}

TEST_CASE("C++: an empty handle refuses everything, and harms nobody") {
    ipc::sender s;
    ipc::receiver r;
    ipc::message m;
    std::error_code error;
    CHECK_FALSE(s);
    CHECK_FALSE(r);
    CHECK_FALSE(m);
    s.send({}, 0, ipc::forever, error);
    CHECK(error == std::errc::invalid_argument);
    CHECK_FALSE(s.reserve(1, ipc::forever, error));
    CHECK(error == std::errc::invalid_argument);
    CHECK_FALSE(r.receive(ipc::forever, error));
    CHECK(error == std::errc::invalid_argument);
    CHECK_FALSE(s.arm(error));
    CHECK(error == std::errc::invalid_argument);
    CHECK_FALSE(r.arm(error));
    CHECK(error == std::errc::invalid_argument);
    CHECK_THROWS_AS(s.stats(), std::system_error);
    CHECK_THROWS_AS(r.links(), std::system_error);
    s.interrupt();
    r.interrupt();
    CHECK(s.url() == nullptr);
    CHECK(r.url() == nullptr);
    CHECK(s.close() == 0);
    CHECK(r.close() == 0);
    m.release();
}

static_assert(!std::is_copy_constructible_v<ipc::message> && !std::is_copy_constructible_v<ipc::reservation> &&
              !std::is_copy_constructible_v<ipc::sender> && !std::is_copy_constructible_v<ipc::receiver>);
static_assert(std::is_nothrow_move_constructible_v<ipc::event> && std::is_nothrow_move_assignable_v<ipc::event>);
