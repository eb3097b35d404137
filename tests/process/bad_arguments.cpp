// Arguments that no function takes, and calls that do not fit a handle's state. A refused call changes nothing: the
// counters of both sides are the same before and after.
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <utility>

#include "refusal.hpp"

namespace {

// A linked sender and receiver, and one message that was received and is held.
struct linked_pair : scratch {
    tx s{"shm://t?capacity=64KiB"};
    rx r;
    ipc_message held;
    linked_pair() {
        s.await_links(1);
        REQUIRE(s.send(1) == 0);
        REQUIRE(r.receive(held) == IPC_MESSAGE);
    }
    ~linked_pair() { CHECK(r.release(held) == 0); }
};

struct both_counters {
    ipc_sender_counters sent;
    ipc_receiver_counters received;
    explicit both_counters(linked_pair &p) : sent(p.s.stats()), received(p.r.stats()) {}
    bool operator==(const both_counters &other) const { return std::memcmp(this, &other, sizeof other) == 0; }
};

#define CHANGES_NOTHING(...)                   \
    do {                                       \
        both_counters before(*this);           \
        __VA_ARGS__;                           \
        CHECK(both_counters(*this) == before); \
    } while (0)

constexpr std::int64_t bad_timeouts[] = {-2, -1'000'000'000, INT64_MIN};

template <class Struct>
Struct sized() {
    Struct s{};
    s.struct_size = sizeof s;
    return s;
}

// Of a struct that the library knows by another.
template <class Struct>
std::vector<std::size_t> bad_sizes() {
    return {0, 1, sizeof(Struct) - 1, sizeof(Struct) + 1, sizeof(Struct) + 8, SIZE_MAX};
}

}  // namespace

// ---- Null -----------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(scratch, "a null handle is refused by every function") {
    ipc_message m = empty_message();
    auto sc = sized<ipc_sender_counters>();
    auto rc = sized<ipc_receiver_counters>();
    auto link = sized<ipc_link>();
    void *room;
    CHECK(ipc_sender_reserve(nullptr, 1, &room, 0) == -EINVAL);
    CHECK(ipc_sender_commit(nullptr, 0, 0) == -EINVAL);
    CHECK(ipc_sender_abort(nullptr) == -EINVAL);
    CHECK(ipc_sender_send(nullptr, "x", 1, 0, 0) == -EINVAL);
    CHECK(ipc_sender_end(nullptr) == -EINVAL);
    CHECK(ipc_sender_flush(nullptr, 0) == -EINVAL);
    CHECK(ipc_sender_interrupt(nullptr) == -EINVAL);
    CHECK(ipc_sender_arm(nullptr) == -EINVAL);
    CHECK(ipc_sender_fd(nullptr) == -EINVAL);
    CHECK(ipc_sender_url(nullptr) == nullptr);
    CHECK(ipc_sender_stats(nullptr, &sc) == -EINVAL);
    CHECK(ipc_sender_links(nullptr, &link, 1) == -EINVAL);
    CHECK(ipc_receiver_receive(nullptr, &m, 0) == -EINVAL);
    CHECK(ipc_receiver_release(nullptr, &m) == -EINVAL);
    CHECK(ipc_receiver_interrupt(nullptr) == -EINVAL);
    CHECK(ipc_receiver_arm(nullptr) == -EINVAL);
    CHECK(ipc_receiver_fd(nullptr) == -EINVAL);
    CHECK(ipc_receiver_url(nullptr) == nullptr);
    CHECK(ipc_receiver_stats(nullptr, &rc) == -EINVAL);
    CHECK(ipc_receiver_links(nullptr, &link, 1) == -EINVAL);
}

TEST_CASE_FIXTURE(scratch, "closing a null handle does nothing") {
    CHECK(ipc_sender_close(nullptr, 0) == 0);
    CHECK(ipc_receiver_close(nullptr) == 0);
}

TEST_CASE_FIXTURE(scratch, "open refuses a null place and a null URL in words") {
    char words[256];
    ipc_sender *s = nullptr;
    ipc_receiver *r = nullptr;
    CHECK(ipc_sender_open(nullptr, "shm://t", nullptr, words, sizeof words) == -EINVAL);
    CHECK(std::strstr(words, "null"));
    CHECK(ipc_receiver_open(nullptr, "shm://t", nullptr, words, sizeof words) == -EINVAL);
    CHECK(std::strstr(words, "null"));
    CHECK(ipc_sender_open(&s, nullptr, nullptr, words, sizeof words) == -EINVAL);
    CHECK(std::strstr(words, "null"));
    CHECK(ipc_receiver_open(&r, nullptr, nullptr, words, sizeof words) == -EINVAL);
    CHECK(std::strstr(words, "null"));
    CHECK(!s);
    CHECK(!r);
}

TEST_CASE_FIXTURE(linked_pair, "a null where a result or data must be is refused") {
    CHANGES_NOTHING(CHECK(ipc_sender_reserve(s, 1, nullptr, 0) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_sender_send(s, nullptr, 1, 0, 0) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_sender_stats(s, nullptr) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_sender_links(s, nullptr, 1) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_receiver_receive(r, nullptr, 0) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_receiver_release(r, nullptr) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_receiver_stats(r, nullptr) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_receiver_links(r, nullptr, 1) == -EINVAL));
    CHECK(ipc_channel_list(nullptr, 1) == -EINVAL);
    CHECK(ipc_channel_look(nullptr) == -EINVAL);
}

TEST_CASE_FIXTURE(linked_pair, "no place and a count of 0 asks how many there are") {
    CHECK(ipc_sender_links(s, nullptr, 0) == 1);
    CHECK(ipc_receiver_links(r, nullptr, 0) == 1);
    CHECK(ipc_channel_list(nullptr, 0) >= 2);
}

TEST_CASE_FIXTURE(linked_pair, "a message of 0 bytes is one, with and without a pointer") {
    CHECK(ipc_sender_send(s, nullptr, 0, 2, 0) == 0);
    CHECK(ipc_sender_send(s, "", 0, 3, 0) == 0);
    for (std::uint64_t tag : {2, 3}) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.size == 0);
        CHECK(m.data);
        CHECK(m.tag == tag);
        CHECK(r.release(m) == 0);
    }
}

// ---- Structs --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(linked_pair, "a struct of a size that the library does not know is refused, and stays as it is") {
    auto refuses = [&]<class Struct>(Struct, auto call) {
        for (std::size_t size : bad_sizes<Struct>()) {
            CAPTURE(size);
            Struct before, given;
            std::memset(static_cast<void *>(&before), 0x5a, sizeof before);
            before.struct_size = size;
            std::memcpy(static_cast<void *>(&given), &before, sizeof given);
            CHANGES_NOTHING(CHECK(call(&given) == -EINVAL));
            CHECK(std::memcmp(&given, &before, sizeof given) == 0);
        }
    };
    refuses(ipc_message{}, [&](auto *m) { return ipc_receiver_receive(r, m, 0); });
    refuses(ipc_message{}, [&](auto *m) { return ipc_receiver_release(r, m); });
    refuses(ipc_sender_counters{}, [&](auto *c) { return ipc_sender_stats(s, c); });
    refuses(ipc_receiver_counters{}, [&](auto *c) { return ipc_receiver_stats(r, c); });
    refuses(ipc_link{}, [&](auto *l) { return ipc_sender_links(s, l, 1); });
    refuses(ipc_link{}, [&](auto *l) { return ipc_receiver_links(r, l, 1); });
    refuses(ipc_channel{}, [&](auto *c) { return ipc_channel_list(c, 1); });
    refuses(ipc_channel_view{}, [&](auto *v) { return ipc_channel_look(v); });
}

TEST_CASE_FIXTURE(scratch, "options of a size that the library does not know are refused, and the words name both") {
    for (std::size_t size : bad_sizes<ipc_sender_options>()) {
        ipc_sender_options options{size, 0, 0};
        refusal s = try_sender("shm://t", &options);
        CAPTURE(s);
        CHECK(s.code == -EINVAL);
        CHECK(s.says("struct_size is " + std::to_string(size)));
        CHECK(s.says(std::to_string(sizeof options)));
    }
    for (std::size_t size : bad_sizes<ipc_receiver_options>()) {
        ipc_receiver_options options{size, 0, 0};
        refusal r = try_receiver("shm://t", &options);
        CAPTURE(r);
        CHECK(r.code == -EINVAL);
        CHECK(r.says("struct_size is " + std::to_string(size)));
        CHECK(r.says(std::to_string(sizeof options)));
    }
}

TEST_CASE_FIXTURE(scratch, "options with a value that they do not have are refused by their name") {
    for (std::int32_t from : {-1, 3, INT32_MAX, INT32_MIN}) {
        ipc_receiver_options options{sizeof options, from, IPC_OVERFLOW_BLOCK};
        refusal r = try_receiver("shm://t", &options);
        CAPTURE(r);
        CHECK(r.code == -EINVAL);
        CHECK(r.says("from is " + std::to_string(from)));
        CHECK(r.says("IPC_FROM_"));
    }
    for (std::int32_t overflow : {-1, 1, 2, INT32_MAX}) {
        ipc_receiver_options options{sizeof options, IPC_FROM_DEFAULT, overflow};
        refusal r = try_receiver("shm://t", &options);
        CAPTURE(r);
        CHECK(r.code == -EOPNOTSUPP);
        CHECK(r.says("overflow is " + std::to_string(overflow)));
        CHECK(r.says("IPC_OVERFLOW_BLOCK"));
    }
}

// ---- Timeouts -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(linked_pair, "a negative time-out other than -1 is refused") {
    for (std::int64_t timeout : bad_timeouts) {
        CAPTURE(timeout);
        void *room = nullptr;
        ipc_message m = empty_message();
        CHANGES_NOTHING(CHECK(ipc_receiver_receive(r, &m, timeout) == -EINVAL));
        CHANGES_NOTHING(CHECK(ipc_sender_reserve(s, 1, &room, timeout) == -EINVAL));
        CHANGES_NOTHING(CHECK(ipc_sender_send(s, "x", 1, 0, timeout) == -EINVAL));
        CHANGES_NOTHING(CHECK(ipc_sender_flush(s, timeout) == -EINVAL));
        CHANGES_NOTHING(CHECK(ipc_sender_close(s, timeout) == -EINVAL));
        CHECK(!room);
    }
    CHECK(s.send(2) == 0);
    CHECK(r.take() == 2);
}

// A sender whose ring is full, in each call that waits for room or for release.
ROLE(waits_for_ages) {
    ipc_sender *s = nullptr;
    MUST(ipc_sender_open(&s, "shm://t?capacity=64KiB", nullptr, nullptr, 0) == 0);
    std::vector<char> half(30'000);
    MUST(ipc_sender_send(s, half.data(), half.size(), 1, 0) == 0);
    MUST(ipc_sender_send(s, half.data(), half.size(), 2, 0) == 0);
    me.say("full");
    me.say(std::to_string(me.arg(0) == "send"    ? ipc_sender_send(s, half.data(), half.size(), 3, INT64_MAX)
                          : me.arg(0) == "flush" ? ipc_sender_flush(s, INT64_MAX)
                                                 : ipc_sender_close(std::exchange(s, nullptr), INT64_MAX)));
    ipc_sender_close(s, 0);
}

static bool sleeps(const child &c) {
    std::ifstream stat("/proc/" + std::to_string(c.pid()) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    return text.find(") S ") != text.npos;
}

TEST_CASE_FIXTURE(scratch, "the longest time-out of a sender waits, too") {
    for (std::string call : {"send", "flush", "close"}) {
        CAPTURE(call);
        child waiting = start("waits_for_ages", {call});
        waiting.expect("full");
        REQUIRE(eventually([&] { return sleeps(waiting); }));
        rx r;
        ipc_message m;
        for (int i = 0; i < 2; ++i) {
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            CHECK(r.release(m) == 0);
        }
        waiting.expect("0");
        waiting.done();
    }
}

// ---- Sending --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(linked_pair, "commit without a reservation is refused") {
    CHANGES_NOTHING(CHECK(ipc_sender_commit(s, 0, 7) == -EINVAL));
    void *room;
    REQUIRE(ipc_sender_reserve(s, 8, &room, 0) == 0);
    CHECK(ipc_sender_abort(s) == 0);
    CHANGES_NOTHING(CHECK(ipc_sender_commit(s, 8, 7) == -EINVAL));
    REQUIRE(ipc_sender_reserve(s, 8, &room, 0) == 0);
    CHECK(ipc_sender_commit(s, 8, 7) == 0);
    CHANGES_NOTHING(CHECK(ipc_sender_commit(s, 8, 7) == -EINVAL));
    ipc_message m;
    CHECK(r.receive(m) == IPC_MESSAGE);
    CHECK(r.release(m) == 0);
    CHECK(r.receive(m, 0) == -EAGAIN);
}

TEST_CASE_FIXTURE(linked_pair, "commit of more than was reserved is refused, and the reservation stays open") {
    void *room;
    REQUIRE(ipc_sender_reserve(s, 100, &room, 0) == 0);
    for (std::size_t size : {std::size_t{101}, std::size_t{1} << 20, std::size_t{1} << 48, SIZE_MAX})
        CHANGES_NOTHING(CHECK(ipc_sender_commit(s, size, 7) == -EINVAL));
    fill(room, 100, 7);
    CHECK(ipc_sender_commit(s, 100, 7) == 0);
    CHECK(r.take() == 7);
}

TEST_CASE_FIXTURE(linked_pair, "a second reservation is refused, and the first stays good") {
    void *room, *second = nullptr;
    REQUIRE(ipc_sender_reserve(s, 100, &room, 0) == 0);
    fill(room, 100, 7);
    CHANGES_NOTHING(CHECK(ipc_sender_reserve(s, 8, &second, 0) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EINVAL));
    CHECK(!second);
    CHECK(ipc_sender_commit(s, 100, 7) == 0);
    CHECK(r.take() == 7);
}

TEST_CASE_FIXTURE(linked_pair, "abort without a reservation does nothing") {
    CHANGES_NOTHING(CHECK(ipc_sender_abort(s) == 0));
}

TEST_CASE_FIXTURE(linked_pair, "nothing can be sent after the end") {
    void *room = nullptr;
    REQUIRE(ipc_sender_reserve(s, 8, &room, 0) == 0);
    CHECK(s.end() == 0);
    room = nullptr;
    CHANGES_NOTHING(CHECK(ipc_sender_commit(s, 8, 7) == -EINVAL));
    CHANGES_NOTHING(CHECK(ipc_sender_reserve(s, 8, &room, 0) == -EPIPE));
    CHANGES_NOTHING(CHECK(ipc_sender_send(s, "x", 1, 0, 0) == -EPIPE));
    CHANGES_NOTHING(CHECK(s.end() == 0));
    CHECK(!room);
    ipc_message m;
    CHECK(r.receive(m) == IPC_END);
    CHECK(r.receive(m, 0) == -EAGAIN);
}

TEST_CASE_FIXTURE(linked_pair, "a message larger than half the ring is refused, and the words name the capacity") {
    std::vector<char> data(64 << 10);
    void *room = nullptr;
    for (std::size_t size : {std::size_t{32 << 10} + 1, std::size_t{64 << 10}})
        CHANGES_NOTHING(CHECK(ipc_sender_send(s, data.data(), size, 0, 0) == -EMSGSIZE));
    for (std::size_t size : {std::size_t{32 << 10} + 1, std::size_t{1} << 48, SIZE_MAX - 15, SIZE_MAX})
        CHANGES_NOTHING(CHECK(ipc_sender_reserve(s, size, &room, 0) == -EMSGSIZE));
    CHECK(!room);
    CHECK(std::strstr(ipc_strerror(-EMSGSIZE), "capacity"));
    CHECK(s.send(2, 32 << 10) == 0);
    CHECK(r.take() == 2);
}

// ---- Releasing ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(linked_pair, "a released message stays stale when its place in the ring is written again") {
    REQUIRE(s.send(2) == 0);
    ipc_message stale;
    REQUIRE(r.receive(stale) == IPC_MESSAGE);
    CHECK(r.release(stale) == 0);
    CHECK(r.release(held) == 0);
    // One message short of a lap and one more: they start where the stale one did.
    std::vector<ipc_message> laps;
    do {
        REQUIRE(s.send(3) == 0);
        REQUIRE(r.receive(held) == IPC_MESSAGE);
        if (held.data != stale.data) CHECK(r.release(held) == 0);
    } while (held.data != stale.data);
    CHANGES_NOTHING(CHECK(r.release(stale) == -ESTALE));
    CHECK(r.stats().held == 1);
}

TEST_CASE_FIXTURE(linked_pair, "what never was a message is not released, and nothing else is either") {
    REQUIRE(s.send(2) == 0);
    ipc_message second;
    REQUIRE(r.receive(second) == IPC_MESSAGE);
    auto forged = [&](std::uint32_t link, std::uint64_t position) {
        ipc_message m = held;
        m.link = link;
        m.position = position;
        return r.release(m);
    };
    for (std::uint64_t position : {held.position + 1, held.position + 16, second.position + 16, second.position + 80,
                                   std::uint64_t{1} << 40, UINT64_MAX, UINT64_MAX - 15, std::uint64_t{1} << 63}) {
        CAPTURE(position);
        int code = 0;
        CHANGES_NOTHING(code = forged(held.link, position));
        CHECK((code == -EINVAL || code == -ESTALE));
    }
    for (std::uint32_t link : {held.link + 1, held.link ^ 0x8000'0000u, held.link ^ 0x0010'0000u, 0xffff'ffffu}) {
        CAPTURE(link);
        int code = 0;
        CHANGES_NOTHING(code = forged(link, held.position));
        CHECK((code == -EINVAL || code == -ESTALE));
    }
    CHECK(r.stats().held == 2);
    CHECK(r.release(second) == 0);
}

TEST_CASE_FIXTURE(linked_pair, "a message of another receiver is not released in its place") {
    rx other("shm://t?from=oldest");
    s.await_links(2);
    ipc_message theirs;
    REQUIRE(other.receive(theirs) == IPC_MESSAGE);
    REQUIRE(theirs.position == held.position);
    // Both may draw the same one of 4,096 starts by chance.
    if (theirs.link != held.link) {
        CHANGES_NOTHING(CHECK(r.release(theirs) < 0));
        CHECK(other.release(held) < 0);
    }
    CHECK(r.stats().held == 1);
    CHECK(other.release(theirs) == 0);
}

TEST_CASE_FIXTURE(linked_pair, "a message of a link that is gone is stale") {
    ipc_message of_gone;
    {
        tx gone("shm://t?capacity=64KiB");
        gone.await_links(1);
        REQUIRE(gone.send(9) == 0);
        REQUIRE(r.receive(of_gone) == IPC_MESSAGE);
        CHECK(r.release(of_gone) == 0);
    }
    ipc_message end;
    REQUIRE(r.receive(end) == IPC_END);
    CHANGES_NOTHING(CHECK(r.release(of_gone) == -ESTALE));
    tx next("shm://t?capacity=64KiB");  // takes its place
    next.await_links(1);
    REQUIRE(next.send(10) == 0);
    ipc_message of_next;
    REQUIRE(r.receive(of_next) == IPC_MESSAGE);
    CHECK(r.release(of_gone) == -ESTALE);
    CHECK(r.release(of_next) == 0);
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(linked_pair, "a receive that brings nothing leaves the message as it is") {
    ipc_message m, before;
    std::memset(static_cast<void *>(&before), 0x5a, sizeof before);
    before.struct_size = sizeof before;
    auto unchanged = [&](int code, std::int64_t timeout) {
        m = before;
        CHECK(ipc_receiver_receive(r, &m, timeout) == code);
        CHECK(std::memcmp(&m, &before, sizeof m) == 0);
    };
    unchanged(-EAGAIN, 0);
    unchanged(-ETIMEDOUT, 1'000);
    REQUIRE(ipc_receiver_interrupt(r) == 0);
    unchanged(-ECANCELED, limit_ns);
}

TEST_CASE_FIXTURE(scratch, "a closed receiver that holds messages takes their release, and refuses all else") {
    tx s;
    rx r;
    REQUIRE(s.send(1) == 0);
    ipc_message held, m = empty_message();
    REQUIRE(r.receive(held) == IPC_MESSAGE);
    ipc_receiver *h = r.h;
    CHECK(r.close() == 1);
    auto c = sized<ipc_receiver_counters>();
    auto link = sized<ipc_link>();
    CHECK(ipc_receiver_receive(h, &m, 0) == -EINVAL);
    CHECK(ipc_receiver_arm(h) == -EINVAL);
    CHECK(ipc_receiver_stats(h, &c) == -EINVAL);
    CHECK(ipc_receiver_links(h, &link, 1) == -EINVAL);
    CHECK(ipc_receiver_release(h, &m) < 0);
    CHECK(ipc_receiver_close(h) == 1);
    CHECK(proven(held));
    CHECK(ipc_receiver_release(h, &held) == 0);
}

// ---- Codes ----------------------------------------------------------------------------------------------------------

TEST_CASE("every code has words, also those that are none") {
    for (int code : std::initializer_list<int>{
             0,          IPC_MESSAGE,   IPC_END,    IPC_DIED,  -EINVAL,     -EPROTONOSUPPORT, -EOPNOTSUPP, -EAGAIN,
             -ETIMEDOUT, -EINTR,        -ECANCELED, -EMSGSIZE, -EPIPE,      -ESTALE,          -EBUSY,      -EMFILE,
             -ENFILE,    -ENOMEM,       -ENOSPC,    -EACCES,   -EPERM,      -ENOENT,          -ENOTDIR,    -ELOOP,
             -EROFS,     -ENAMETOOLONG, -EIO,       -ENOSYS,   IPC_EFORKED, IPC_EVERSION}) {
        CAPTURE(code);
        CHECK(std::strlen(ipc_strerror(code)) > 5);
        CHECK(std::string(ipc_strerror(code)) != ipc_strerror(12345));
    }
    for (int code : {4, 12345, -3999, -4095, -4096, -4003, INT_MAX, INT_MIN})
        CHECK(std::string(ipc_strerror(code)) == ipc_strerror(12345));
}
