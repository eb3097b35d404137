// freeze, adopt and forget: the same for a sender and a receiver, on shared memory and on streams.
#pragma once

#include "entry.hpp"
#include "handle/handoff.hpp"
#include "handle/ownership.hpp"
#include "tagged.hpp"

namespace libipc {

template <class Handle>
std::int32_t freeze(Handle *h, void *state, std::size_t size) {
    return enter(h, [&](auto &core) {
        if (core.owner().busy()) return -EBUSY;
        return static_cast<std::int32_t>(handoff::freeze(core, h, {static_cast<std::byte *>(state), size}));
    });
}

// The frozen handle itself if it is this copy's, or a new one.
template <class Handle>
Handle *adopted(std::span<const std::byte> state, const handoff::header &head) {
    if (void *here = ownership::frozen_here(head.page)) {
        auto *frozen = static_cast<Handle *>(here);
        frozen->core.owner().thaw();
        return frozen;
    }
    handoff::reader reader(state, head, handoff::shape_of<decltype(Handle::core)>());
    return new Handle(reader);
}

template <class Stream, class Handle>
std::int32_t adopt(Handle **out, const void *state, std::size_t size, char *errbuf, std::size_t errlen) {
    constexpr std::int32_t role = decltype(Handle::core)::role;
    auto attempt = [] { return fmt::format("adopt a {}", handoff::name_of(role)); };
    return make_handle(out, state, errbuf, errlen, attempt, [&]() -> Handle * {
        std::span bytes(static_cast<const std::byte *>(state), size);
        handoff::header head = handoff::check(bytes, role);
        return head.streams ? tag<Handle>(adopted<Stream>(bytes, head)) : adopted<Handle>(bytes, head);
    });
}

template <class Handle>
std::int32_t forget(Handle *h) {
    if (!h->core.owner().forget(h)) return h->core.owner().forked() ? IPC_EFORKED : -EINVAL;
    no_cancel here;
    handoff::leaver leave;
    h->core.hand_over(leave);
    delete h;
    return 0;
}

}  // namespace libipc
