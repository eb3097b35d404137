#include "handoff.hpp"

#include <ipc/ipc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "memory/layout.hpp"
#include "ownership.hpp"
#include "system/failure.hpp"

namespace libipc::handoff {

namespace {

// FNV-1a, which is there to find damage, not malice: whoever can write the state can write this process's memory.
std::uint64_t checksum_of(header head, std::span<const std::byte> rest) {
    std::uint64_t sum = 0xcbf29ce484222325;
    auto add = [&](std::span<const std::byte> bytes) {
        for (std::byte b : bytes) sum = (sum ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3;
    };
    head.checksum = 0;
    add(std::as_bytes(std::span(&head, 1)));
    add(rest);
    return sum;
}

}  // namespace

const char *name_of(std::int32_t role) { return role == IPC_SENDER ? "sender" : "receiver"; }

reader::reader(std::span<const std::byte> state, const header &head, std::uint64_t shape)
    : rest_(state.subspan(sizeof head)), turn_(head.turn) {
    if (head.shape != shape)
        fail(IPC_EVERSION,
             "the copy of libipc that froze it has other members in its handles than this one, though both have "
             "handoff version {}; raise that version in src/handle/handoff.hpp, and open the handles anew in the new "
             "copy",
             version);
}

void reader::plain(void *bytes, std::size_t size) {
    if (size > rest_.size()) fail(-EINVAL, "the state ends too early");
    if (size != 0) std::memcpy(bytes, rest_.data(), size);
    rest_ = rest_.subspan(size);
}

void seal(std::span<std::byte> state, header head) {
    head.magic = magic;
    head.version = version;
    head.layout = layout::version;
    head.abi = IPC_ABI_VERSION;
    head.size = state.size();
    head.pid = getpid();
    head.checksum = checksum_of(head, state.subspan(sizeof head));
    std::memcpy(state.data(), &head, sizeof head);
}

header check(std::span<const std::byte> state, std::int32_t role) {
    header h{};
    std::memcpy(&h, state.data(), std::min(state.size(), sizeof h));
    if (state.size() < offsetof(header, abi) || h.magic != magic)
        fail(-EINVAL, "these are not the bytes of a frozen handle");
    auto same = [](const char *what, std::uint32_t theirs, std::uint32_t ours) {
        if (theirs != ours)
            fail(IPC_EVERSION,
                 "the copy of libipc that froze it has {} {}, this one has {}: they can't take each other's handles; "
                 "go on with the old copy, or close the handles and open them anew in the new one",
                 what, theirs, ours);
    };
    same("handoff version", h.version, version);
    same("memory layout", h.layout, layout::version);
    if (state.size() < sizeof h || h.size != state.size())
        fail(-EINVAL, "the state has {} bytes where {} belong: it was cut, or is another's", state.size(), h.size);
    if (h.checksum != checksum_of(h, state.subspan(sizeof h)))
        fail(-EINVAL, "the state was changed since it was frozen: its checksum is wrong");
    same("abi", h.abi, IPC_ABI_VERSION);
    if (h.role != role) fail(-EINVAL, "the state is that of a {}", name_of(h.role));
    if (h.pid != getpid())
        fail(IPC_EFORKED, "the handle is one of process {}, and this is process {}", h.pid, getpid());
    if (ownership::turn_at(h.page) != h.turn)
        fail(-ESTALE, "the handle has gone on since it was frozen: it was thawed, or adopted and used elsewhere");
    return h;
}

}  // namespace libipc::handoff
