// What the C ABI needs of a sender and of a receiver, whatever their transport. What each call means stands in ipc.h.
#pragma once

#include <ipc/ipc.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "handoff.hpp"
#include "ownership.hpp"

namespace libipc {

// Default-constructed it is empty, to be compared with in a handoff. Constructed from a state it throws, and has taken
// nothing then.
template <class T>
concept handle_core = std::default_initializable<T> && std::constructible_from<T, handoff::reader &> &&
    requires(T core, const T &same) {
    { T::role } -> std::convertible_to<std::int32_t>;
    { T::streams } -> std::convertible_to<bool>;
    { core.owner() } -> std::same_as<ownership &>;
    { same.fd() } -> std::same_as<int>;
    { same.url() } -> std::same_as<const char *>;
    { core.arm() } -> std::same_as<std::int32_t>;
    core.interrupt();  // from any thread, and from a signal handler
};

template <class T>
concept sender_core = requires(T core, std::size_t size, void *&room, std::uint64_t tag, std::int64_t time_ns,
                               ipc_sender_counters &counters, ipc_link *links) {
    requires handle_core<T>;
    requires(T::role == IPC_SENDER);
    { core.reserve(size, room, time_ns) } -> std::same_as<std::int32_t>;
    { core.commit(size, tag) } -> std::same_as<std::int32_t>;
    core.abort();
    core.end();
    { core.flush(time_ns) } -> std::same_as<std::int32_t>;
    { core.stats(counters) } -> std::same_as<std::int32_t>;
    { core.links(links, size) } -> std::same_as<std::int32_t>;
    { core.finish(time_ns) } -> std::same_as<std::uint64_t>;  // how many messages are not released
};

// The copying form of reserve and commit.
template <class Sender>
std::int32_t send_copy(Sender &core, const void *data, std::size_t size, std::uint64_t tag, std::int64_t timeout_ns) {
    void *room;
    if (std::int32_t r = core.reserve(size, room, timeout_ns); r < 0) return r;
    if (size != 0) std::memcpy(room, data, size);
    return core.commit(size, tag);
}

template <class T>
concept receiver_core = requires(T core, const T &same, ipc_message &out, const ipc_message &message,
                                 std::int64_t time_ns, ipc_receiver_counters &counters, ipc_link *links,
                                 std::size_t count) {
    requires handle_core<T>;
    requires(T::role == IPC_RECEIVER);
    { core.receive(out, time_ns) } -> std::same_as<std::int32_t>;
    { core.release(message) } -> std::same_as<std::int32_t>;
    { core.stats(counters) } -> std::same_as<std::int32_t>;
    { core.links(links, count) } -> std::same_as<std::int32_t>;
    { core.shut() } -> std::same_as<std::uint64_t>;  // how many messages are held: at 0 the object may go
    { same.is_shut() } -> std::same_as<bool>;
};

}  // namespace libipc
