// What a handle's state consists of, and that nothing is taken before all is.
#include "handle/handoff.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <ipc/ipc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "handle/core.hpp"
#include "handle/ownership.hpp"
#include "shm/receiver.hpp"
#include "shm/sender.hpp"
#include "stream/receiver.hpp"
#include "stream/sender.hpp"
#include "system/failure.hpp"

using namespace libipc;

// ---- Every member is listed -----------------------------------------------------------------------------------------

namespace {

template <class T>
void check_lists();

// Instead of an archive: notes which bytes of an object its list covers, and goes into the types of its members.
class coverage {
  public:
    coverage(void *object, std::size_t size) : object_(static_cast<std::byte *>(object)), covered_(size) {}
    // The compiler's pointer to the functions of an object that has virtual ones.
    void table() { std::fill_n(covered_.begin(), sizeof(void *), true); }
    template <class... Members>
    void operator()(Members &...members) {
        (note(&members, sizeof members), ...);
        (go_into(static_cast<Members *>(nullptr)), ...);
    }
    template <class... Members>
    void rebuilt(Members &...members) {
        (note(&members, sizeof members), ...);
    }
    template <class T>
    void resource(T &member, T) {
        note(&member, sizeof member);
    }
    const std::vector<bool> &covered() const { return covered_; }

  private:
    void note(const void *member, std::size_t size) {
        auto from = static_cast<std::size_t>(static_cast<const std::byte *>(member) - object_);
        if (from >= covered_.size()) return;  // made for the purpose
        for (std::size_t i = from; i < from + size; ++i) covered_[i] = true;
    }
    template <class T>
    void go_into(T *) {
        if constexpr (requires(T t, coverage c) { t.hand_over(c); }) check_lists<T>();
    }
    template <class T>
    void go_into(std::vector<T> *) {
        go_into(static_cast<T *>(nullptr));
    }
    template <class T>
    void go_into(std::unique_ptr<T> *) {
        go_into(static_cast<T *>(nullptr));
    }
    template <class T>
    void go_into(std::optional<T> *) {
        go_into(static_cast<T *>(nullptr));
    }

    std::byte *object_;
    std::vector<bool> covered_;
};

// A byte that no list covers must be padding. The compiler knows which are: it clears them.
template <class T>
void check_lists() {
    T object;
    coverage c(&object, sizeof object);
    if (std::is_polymorphic_v<T>) c.table();
    object.hand_over(c);
    unsigned char before[sizeof object];
    auto *bytes = reinterpret_cast<unsigned char *>(&object);
    std::memcpy(before, bytes, sizeof object);
    for (std::size_t i = 0; i < sizeof object; ++i)
        if (!c.covered()[i]) bytes[i] = 0xff;
    __builtin_clear_padding(&object);
    std::size_t forgotten = 0;
    for (std::size_t i = 0; i < sizeof object; ++i)
        if (!c.covered()[i]) {
            forgotten += bytes[i] != 0;
            bytes[i] = before[i];
        }
    CHECK_MESSAGE(forgotten == 0, forgotten << " bytes of members are not in hand_over: " << __PRETTY_FUNCTION__);
}

}  // namespace

TEST_CASE("every member of a sender and of all that it is made of is handed over") { check_lists<sender>(); }
TEST_CASE("every member of a receiver and of all that it is made of is handed over") { check_lists<receiver>(); }
TEST_CASE("every member of a sender on any stream is handed over") { check_lists<stream::sender>(); }
TEST_CASE("every member of a receiver on any stream is handed over") { check_lists<stream::receiver>(); }

// ---- Handles to hand over -------------------------------------------------------------------------------------------

namespace {

struct folder_for_a_test {
    std::string path = "/tmp/ipc-unit-XXXXXX";
    folder_for_a_test() {
        REQUIRE(mkdtemp(path.data()));
        setenv("IPC_DIR", path.c_str(), 1);
    }
    ~folder_for_a_test() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};

// A sender with two links, one of them to a receiver that holds messages, released out of turn.
struct pair {
    folder_for_a_test folder;
    sender tx{parse_url("shm://t", true), {layout::least_capacity, layout::least_capacity}};
    receiver rx{parse_url("shm://t", false), IPC_FROM_DEFAULT};
    receiver other{parse_url("shm://t", false), IPC_FROM_DEFAULT};
    std::vector<ipc_message> held;
    pair() {
        for (int i = 0; i < 4; ++i) REQUIRE(send_copy(tx, "hello", 5, 7, 0) == 0);
        for (int i = 0; i < 4; ++i) {
            ipc_message m{};
            m.struct_size = sizeof m;
            REQUIRE(rx.receive(m, 1'000'000'000) == IPC_MESSAGE);
            held.push_back(m);
        }
        REQUIRE(rx.release(held[2]) == 0);
        held.erase(held.begin() + 2);
    }
};

// The same over a stream, with one receiver.
struct stream_pair {
    folder_for_a_test folder;
    stream::receiver rx;
    stream::sender tx;
    std::vector<ipc_message> held;
    explicit stream_pair(const std::string &scheme)
        : rx(parse_url(scheme + "://" + folder.path + "/x", false)),
          tx(parse_url(scheme + "://" + folder.path + "/x", true), layout::least_capacity) {
        ipc_message m{};
        m.struct_size = sizeof m;
        rx.receive(m, 0);  // takes in who connects
        for (int i = 0; i < 4; ++i) REQUIRE(send_copy(tx, "hello", 5, 7, 0) == 0);
        for (int i = 0; i < 3; ++i) {
            REQUIRE(rx.receive(m, 1'000'000'000) == IPC_MESSAGE);
            held.push_back(m);
        }
        REQUIRE(rx.release(held[1]) == 0);
        held.erase(held.begin() + 1);
    }
};

template <class Core>
std::vector<std::byte> frozen(Core &core) {
    std::vector<std::byte> state(handoff::freeze(core, &core, {}));
    CHECK(core.owner().admit() == 0);
    REQUIRE(handoff::freeze(core, &core, state) == state.size());
    return state;
}

template <class Core>
handoff::header head_of(const std::vector<std::byte> &state, Core &) {
    return handoff::check(state, Core::role);
}

// The words of the failure that `f` ends in.
template <class F>
failure failure_of(F f) {
    try {
        f();
    } catch (const failure &e) {
        return e;
    }
    return {0, "no failure"};
}

// `state` with another header.
template <class Change>
std::vector<std::byte> changed(std::vector<std::byte> state, Change change) {
    handoff::header head;
    std::memcpy(&head, state.data(), sizeof head);
    change(head);
    head.checksum = 0;
    std::uint64_t sum = 0xcbf29ce484222325;
    std::memcpy(state.data(), &head, sizeof head);
    for (std::byte b : state) sum = (sum ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3;
    head.checksum = sum;
    std::memcpy(state.data(), &head, sizeof head);
    return state;
}

}  // namespace

TEST_CASE_FIXTURE(pair, "a state of another version, layout, abi, role, shape or process is refused in words") {
    std::vector<std::byte> state = frozen(tx);
    auto refused = [&](std::int32_t code, const char *word, auto change) {
        auto other = changed(state, change);
        failure f = failure_of([&] {
            handoff::header head = handoff::check(other, IPC_SENDER);
            handoff::reader(other, head, handoff::shape_of<sender>());
        });
        CHECK(f.code == code);
        CHECK_MESSAGE(f.words.find(word) != f.words.npos, f.words);
    };
    using header = handoff::header;
    refused(0, "no failure", [](header &) {});
    for (std::uint32_t by : {1u, -1u}) {
        refused(IPC_EVERSION, "handoff version", [=](header &h) { h.version += by; });
        refused(IPC_EVERSION, "memory layout", [=](header &h) { h.layout += by; });
        refused(IPC_EVERSION, "abi", [=](header &h) { h.abi += by; });
    }
    refused(IPC_EVERSION, "other members", [](header &h) { ++h.shape; });
    refused(-EINVAL, "not the bytes of a frozen handle", [](header &h) { ++h.magic; });
    refused(-EINVAL, "that of a receiver", [](header &h) { h.role = IPC_RECEIVER; });
    refused(IPC_EFORKED, "process", [](header &h) { ++h.pid; });
    refused(-ESTALE, "has gone on", [](header &h) { ++h.turn; });
    refused(-ESTALE, "has gone on", [](header &h) { h.page = nullptr; });
    tx.owner().thaw();
}

TEST_CASE_FIXTURE(pair, "a state that was cut or changed anywhere is refused") {
    std::vector<std::byte> state = frozen(rx);
    for (std::size_t size = 0; size < state.size(); ++size)
        REQUIRE(failure_of([&] { handoff::check({state.data(), size}, IPC_RECEIVER); }).code != 0);
    for (std::size_t at = 0; at < state.size(); ++at) {
        state[at] ^= std::byte{1};
        REQUIRE(failure_of([&] { handoff::check(state, IPC_RECEIVER); }).code != 0);
        state[at] ^= std::byte{1};
    }
    head_of(state, rx);
    rx.owner().thaw();
}

// ---- Failing half-way -----------------------------------------------------------------------------------------------

namespace {
long allocations_left = -1;
}

// Each of the binary's allocations; the n-th fails if a test says so.
[[gnu::noinline]] void *operator new(std::size_t size) {
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    if (void *p = std::malloc(size)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void *p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void *p, std::size_t) noexcept { std::free(p); }

namespace {

std::size_t open_descriptors() {
    std::size_t n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += fcntl(fd, F_GETFD) != -1;
    return n;
}

// How many allocations an adopt makes, each of which was made to fail.
template <class Core>
long adopt_with_each_allocation_failing(const std::vector<std::byte> &state) {
    for (long n = 0;; ++n) {
        handoff::header head = handoff::check(state, Core::role);
        handoff::reader reader(state, head, handoff::shape_of<Core>());
        allocations_left = n;
        try {
            Core twin(reader);
            allocations_left = -1;
            handoff::leaver leave;
            twin.hand_over(leave);
            return n;
        } catch (const std::bad_alloc &) {
            allocations_left = -1;
        }
    }
}

}  // namespace

TEST_CASE_FIXTURE(pair, "adopting takes nothing when memory runs out, wherever that is") {
    std::size_t descriptors = open_descriptors();
    auto tx_state = frozen(tx), rx_state = frozen(rx);
    CHECK(adopt_with_each_allocation_failing<sender>(tx_state) > 3);
    CHECK(adopt_with_each_allocation_failing<receiver>(rx_state) > 3);
    CHECK(open_descriptors() == descriptors);
    tx.owner().thaw();
    rx.owner().thaw();
    // Everything works on: what is held, what comes, both links.
    CHECK(std::memcmp(held[0].data, "hello", 5) == 0);
    for (const ipc_message &m : held) CHECK(rx.release(m) == 0);
    CHECK(send_copy(tx, "again", 5, 8, 0) == 0);
    ipc_message m{};
    m.struct_size = sizeof m;
    REQUIRE(rx.receive(m, 0) == IPC_MESSAGE);
    CHECK(std::memcmp(m.data, "again", 5) == 0);
    CHECK(rx.release(m) == 0);
    CHECK(tx.links(nullptr, 0) == 2);
}

TEST_CASE("adopting a stream takes nothing when memory runs out, wherever that is") {
    for (const char *scheme : {"unix", "pipe"}) {
        CAPTURE(scheme);
        stream_pair p(scheme);
        std::size_t descriptors = open_descriptors();
        auto tx_state = frozen(p.tx), rx_state = frozen(p.rx);
        CHECK(adopt_with_each_allocation_failing<stream::sender>(tx_state) > 3);
        CHECK(adopt_with_each_allocation_failing<stream::receiver>(rx_state) > 3);
        CHECK(open_descriptors() == descriptors);
        p.tx.owner().thaw();
        p.rx.owner().thaw();
        for (const ipc_message &m : p.held) {
            CHECK(std::memcmp(m.data, "hello", 5) == 0);
            CHECK(p.rx.release(m) == 0);
        }
        CHECK(send_copy(p.tx, "again", 5, 8, 0) == 0);
        for (std::uint64_t tag : {7, 8}) {
            ipc_message m{};
            m.struct_size = sizeof m;
            REQUIRE(p.rx.receive(m, 1'000'000'000) == IPC_MESSAGE);
            CHECK(m.tag == tag);
            CHECK(p.rx.release(m) == 0);
        }
    }
}
