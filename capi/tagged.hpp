// Which kind of handle a pointer means: a stream's has its lowest bit set, one on shared memory is plain. So a call on
// shared memory, which takes a few nanoseconds, tests a register for it and loads nothing. Users never look behind it.
#pragma once

#include <cstdint>

#include "entry.hpp"

namespace libipc {

template <class Opaque>
bool is_stream(const Opaque *h) {
    return reinterpret_cast<std::uintptr_t>(h) & 1;
}

template <class Opaque, class Stream>
Opaque *tag(Stream *h) {
    return reinterpret_cast<Opaque *>(reinterpret_cast<std::uintptr_t>(h) | 1);
}

template <class Stream, class Opaque>
Stream *untag(const Opaque *h) {
    return reinterpret_cast<Stream *>(reinterpret_cast<std::uintptr_t>(h) & ~std::uintptr_t{1});
}

// Calls f(handle) with the handle as what it is; not null.
template <class Stream, class Opaque, class F>
auto resolve(Opaque *h, F f) {
    if (!is_stream(h)) [[likely]]
        return f(*h);
    return f(*untag<Stream>(h));
}

// As the next, apart from it, so that shared memory's way stays as short as it is without this. To that end f holds the
// caller's arguments by value: what it holds by reference would have to lie on the stack in either case.
template <class Stream, class Opaque, class F>
[[gnu::noinline]] std::int32_t enter_stream(Opaque *h, F f) {
    no_cancel here;
    return libipc::enter(untag<Stream>(h), f);
}

// enter() for either kind.
template <class Stream, class Opaque, class F>
std::int32_t enter_either(Opaque *h, F f) {
    if (is_stream(h)) [[unlikely]]
        return enter_stream<Stream>(h, f);
    return libipc::enter(h, f);
}

}  // namespace libipc
