// freeze, adopt and forget: the same for a sender and a receiver, on shared memory. Streams are not handed over.
#pragma once

#include "entry.hpp"
#include "handoff.hpp"
#include "ownership.hpp"

namespace libipc {

template <class Handle>
std::int32_t freeze(Handle *h, void *state, std::size_t size) {
    if (!state && size) return -EINVAL;
    return enter(h, [&](auto &core) {
        if (core.owner().busy()) return -EBUSY;
        return static_cast<std::int32_t>(handoff::freeze(core, h, {static_cast<std::byte *>(state), size}));
    });
}

template <class Handle>
std::int32_t adopt(Handle **out, const void *state, std::size_t size, char *errbuf, std::size_t errlen) {
    using core = decltype(Handle::core);
    auto attempt = [] { return fmt::format("adopt a {}", handoff::name_of(core::role)); };
    return make_handle(out, state, errbuf, errlen, attempt, [&] {
        std::span bytes(static_cast<const std::byte *>(state), size);
        handoff::header head = handoff::check(bytes, core::role);
        if (void *here = ownership::frozen_here(head.page)) {
            auto *frozen = static_cast<Handle *>(here);
            frozen->core.owner().thaw();
            return frozen;
        }
        handoff::reader reader(bytes, head, handoff::shape_of<core>());
        return new Handle(reader);
    });
}

template <class Handle>
std::int32_t forget(Handle *h) {
    if (!h) return -EINVAL;
    if (!h->core.owner().forget(h)) return h->core.owner().forked() ? IPC_EFORKED : -EINVAL;
    handoff::leaver leave;
    h->core.hand_over(leave);
    delete h;
    return 0;
}

}  // namespace libipc
