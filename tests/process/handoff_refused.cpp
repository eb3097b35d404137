// States that can't be adopted: refused in words, and nothing is taken.
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "host.hpp"
#include "support.hpp"

namespace {

using bytes = std::vector<std::byte>;

// A receiver with a message to come, frozen, and another build to adopt it.
struct frozen_receiver : scratch {
    host h;
    copy next{next_build};
    tx s;
    bytes state;
    frozen_receiver() {
        h.open_receiver("shm://t");
        s.send_all(1, 1);
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        REQUIRE(h.library->ipc_receiver_stats(h.receivers[0], &c) == 0);
        state = freeze(*h.library, h.receivers[0]);
    }
    // What adopt in the other build returns; it must say why, and make no handle.
    int adopt(const bytes &what) {
        auto *r = reinterpret_cast<ipc_receiver *>(this);
        std::strcpy(h.words, "?");
        int result = next.ipc_receiver_adopt(&r, what.data(), what.size(), h.words, sizeof h.words);
        CHECK(r == nullptr);
        CHECK(std::strstr(h.words, "cannot adopt a receiver: ") == h.words);
        return result;
    }
    bool said(const char *words) const { return std::strstr(h.words, words) != nullptr; }
    // The frozen handle works on, in the build that froze it.
    void works_on() {
        ipc_receiver *r = nullptr;
        REQUIRE(h.library->ipc_receiver_adopt(&r, state.data(), state.size(), h.words, sizeof h.words) == 0);
        CHECK(r == h.receivers[0]);
        ipc_message m = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(r, &m, limit_ns) == IPC_MESSAGE);
        CHECK(proven(m));
        CHECK(h.library->ipc_receiver_release(r, &m) == 0);
    }
};

bytes with(bytes state, std::size_t at, std::uint32_t value) {
    std::memcpy(state.data() + at, &value, sizeof value);
    return state;
}

}  // namespace

TEST_CASE_FIXTURE(frozen_receiver, "a state that is cut, damaged or foreign is refused, and nothing is taken") {
    for (std::size_t size = 1; size < state.size(); size += 7)
        REQUIRE(adopt(bytes(state.begin(), state.begin() + static_cast<long>(size))) == -EINVAL);
    CHECK(said("cut"));
    bytes longer = state;
    longer.resize(state.size() + 1);
    CHECK(adopt(longer) == -EINVAL);
    for (std::size_t at = 0; at < state.size(); at += 3) {
        bytes damaged = state;
        damaged[at] ^= std::byte{0x40};
        int result = adopt(damaged);
        REQUIRE((result == -EINVAL || result == IPC_EVERSION));
    }
    bytes foreign(state.size(), std::byte{0x7f});
    CHECK(adopt(foreign) == -EINVAL);
    CHECK(said("not the bytes of a frozen handle"));
    works_on();
}

TEST_CASE_FIXTURE(frozen_receiver, "a state of an older or newer handoff, or of another memory layout, is refused") {
    // Magic (8 bytes), handoff version, memory layout: these never change.
    for (std::uint32_t other : {0u, 77u}) {
        CHECK(adopt(with(state, 8, other)) == IPC_EVERSION);
        CHECK(said(("handoff version " + std::to_string(other) + ", this one has ").c_str()));
        CHECK(adopt(with(state, 12, other)) == IPC_EVERSION);
        CHECK(said(("memory layout " + std::to_string(other) + ", this one has ").c_str()));
    }
    works_on();
}

TEST_CASE_FIXTURE(frozen_receiver, "a receiver's state makes no sender") {
    auto *none = reinterpret_cast<ipc_sender *>(this);
    CHECK(next.ipc_sender_adopt(&none, state.data(), state.size(), h.words, sizeof h.words) == -EINVAL);
    CHECK(none == nullptr);
    CHECK(said("that of a receiver"));
    works_on();
}

TEST_CASE_FIXTURE(frozen_receiver, "null pointers are refused") {
    ipc_receiver *r = nullptr;
    CHECK(next.ipc_receiver_adopt(nullptr, state.data(), state.size(), h.words, sizeof h.words) == -EINVAL);
    CHECK(next.ipc_receiver_adopt(&r, nullptr, 0, h.words, sizeof h.words) == -EINVAL);
    CHECK(next.ipc_receiver_forget(nullptr) == -EINVAL);
    CHECK(next.ipc_receiver_freeze(nullptr, nullptr, 0) == -EINVAL);
    CHECK(next.ipc_receiver_adopt(&r, state.data(), state.size(), nullptr, 0) == 0);
    CHECK(next.ipc_receiver_forget(r) == 0);
    works_on();
}

TEST_CASE_FIXTURE(frozen_receiver, "the state of another process is refused") {
    pid_t child = fork();
    if (child == 0) {
        ipc_receiver *r = nullptr;
        bool refused = next.ipc_receiver_adopt(&r, state.data(), state.size(), h.words, sizeof h.words) == IPC_EFORKED;
        ipc_message m = empty_message();
        refused = refused && h.library->ipc_receiver_receive(h.receivers[0], &m, 0) == IPC_EFORKED;
        _exit(refused && said("process") ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    works_on();
}

TEST_CASE_FIXTURE(frozen_receiver, "a state is out of date once its handle has gone on") {
    works_on();
    CHECK(adopt(state) == -ESTALE);  // thawed
    CHECK(said("has gone on"));
    bytes before = std::exchange(state, freeze(*h.library, h.receivers[0]));
    CHECK(adopt(before) == -ESTALE);  // frozen again since

    ipc_receiver *twin = nullptr, *second = nullptr;
    REQUIRE(next.ipc_receiver_adopt(&twin, state.data(), state.size(), h.words, sizeof h.words) == 0);
    REQUIRE(next.ipc_receiver_adopt(&second, state.data(), state.size(), h.words, sizeof h.words) == 0);
    ipc_message m = empty_message();
    CHECK(next.ipc_receiver_receive(twin, &m, 0) == -EAGAIN);
    CHECK(adopt(state) == -ESTALE);  // used elsewhere
    CHECK(next.ipc_receiver_receive(second, &m, 0) == -EBUSY);
    ipc_receiver *r = nullptr;
    CHECK(h.library->ipc_receiver_adopt(&r, state.data(), state.size(), h.words, sizeof h.words) == -ESTALE);
    CHECK(next.ipc_receiver_close(twin) == 0);
    CHECK(adopt(state) == -ESTALE);  // closed
    CHECK(next.ipc_receiver_receive(second, &m, 0) == -EBUSY);
    CHECK(next.ipc_receiver_forget(second) == 0);
    CHECK(h.library->ipc_receiver_forget(h.receivers[0]) == 0);
    CHECK(adopt(state) == -ESTALE);
    h.receivers.clear();
}

TEST_CASE_FIXTURE(frozen_receiver, "a handle may be forgotten before it is adopted") {
    CHECK(h.library->ipc_receiver_forget(h.receivers[0]) == 0);
    h.receivers.clear();
    h.library.reset();  // unloaded
    ipc_receiver *r = nullptr;
    REQUIRE(next.ipc_receiver_adopt(&r, state.data(), state.size(), h.words, sizeof h.words) == 0);
    CHECK(next.ipc_receiver_forget(r) == 0);  // not used yet: it may be adopted again
    REQUIRE(next.ipc_receiver_adopt(&r, state.data(), state.size(), h.words, sizeof h.words) == 0);
    ipc_message m = empty_message();
    CHECK(next.ipc_receiver_receive(r, &m, limit_ns) == IPC_MESSAGE);
    CHECK(next.ipc_receiver_forget(r) == -EINVAL);  // used
    CHECK(next.ipc_receiver_release(r, &m) == 0);
    CHECK(next.ipc_receiver_close(r) == 0);
}

// Each of them with something to lose: a message to come, one that is held, a reservation.
TEST_CASE_FIXTURE(scratch, "when the k-th of several handles can't be adopted, all are as before, for every k") {
    host h;
    rx r;
    tx s;
    constexpr std::size_t each = 3;
    for (std::size_t i = 0; i < each; ++i) h.open_sender("shm://t");
    for (std::size_t i = 0; i < each; ++i) h.open_receiver("shm://t");
    void *room[each];
    ipc_message held[each];
    for (std::size_t i = 0; i < each; ++i) {
        REQUIRE(h.library->ipc_sender_reserve(h.senders[i], 64, &room[i], 0) == 0);
        fill(room[i], 64, i);
    }
    s.await_links(1 + each);
    s.send_all(1, 2);
    for (std::size_t i = 0; i < each; ++i) {
        held[i] = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[i], &held[i], limit_ns) == IPC_MESSAGE);
    }
    auto senders = h.senders;
    auto receivers = h.receivers;
    for (std::size_t k = 0; k < 2 * each; ++k) {
        CHECK(h.reload(next_build, k) == -EINVAL);
        CHECK(std::strstr(h.words, "checksum") != nullptr);
        CHECK(h.senders == senders);
        CHECK(h.receivers == receivers);
    }
    for (std::size_t i = 0; i < each; ++i) {
        CHECK(proven(held[i]));
        CHECK(h.library->ipc_receiver_release(h.receivers[i], &held[i]) == 0);
        held[i] = empty_message();
        REQUIRE(h.library->ipc_receiver_receive(h.receivers[i], &held[i], limit_ns) == IPC_MESSAGE);
    }
    // After as many attempts in vain, one that succeeds.
    REQUIRE(h.reload(next_build) == 0);
    for (std::size_t i = 0; i < each; ++i) {
        CHECK(held[i].tag == 2);
        CHECK(h.library->ipc_receiver_release(h.receivers[i], &held[i]) == 0);
    }
    for (std::size_t i = 0; i < each; ++i) CHECK(h.library->ipc_sender_commit(h.senders[i], 64, i) == 0);
    std::vector<bool> came(each);
    for (int i = 0; i < 5; ++i) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(proven(m));
        if (m.sender != s.stats().id) came[m.tag] = true;
        CHECK(r.release(m) == 0);
    }
    CHECK(came == std::vector<bool>(each, true));
}
