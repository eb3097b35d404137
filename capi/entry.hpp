// What every function of the C ABI does before and after its call into the core: check the handle, keep exceptions in.
#pragma once

#include <ipc/ipc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "system/failure.hpp"
#include "system/os.hpp"

// A handle: the core's object, and in debug builds who is inside.
template <class Core>
struct handle {
    template <class... Args>
    explicit handle(Args &&...args) : core(std::forward<Args>(args)...) {}
    Core core;
#ifdef IPC_DEBUG_THREADS
    std::atomic<bool> busy{false};
#endif
};

namespace libipc {

// Calls f() and turns what it throws into a code. No catch (...): a thread that is being cancelled unwinds through
// here.
template <class F>
std::int32_t barrier(F f) {
    try {
        return f();
    } catch (const failure &e) {
        return e.code;
    } catch (const std::bad_alloc &) {
        return -ENOMEM;
    } catch (const std::exception &) {
        return -EIO;
    }
}

// Calls f(core) of a handle that is not null, not a parent's and not frozen.
template <class Handle, class F>
std::int32_t enter(Handle *h, F f) {
    if (!h) return -EINVAL;
    if (std::int32_t code = h->core.owner().admit()) return code;
#ifdef IPC_DEBUG_THREADS
    struct guard {
        std::atomic<bool> &busy;
        bool second = busy.exchange(true, std::memory_order_acquire);
        ~guard() {
            if (!second) busy.store(false, std::memory_order_release);
        }
    } here{h->busy};
    if (here.second) return -EBUSY;
#endif
    return barrier([&] { return f(h->core); });
}

template <class Struct>
bool known(const Struct *s) {
    return s && s->struct_size == sizeof(Struct);
}

inline void say(char *errbuf, std::size_t errlen, std::string_view words) {
    if (errbuf && errlen) errbuf[words.copy(errbuf, errlen - 1)] = 0;
}

// Makes *out a handle by make(), which may throw; words go to errbuf. `from` is the URL or the state that it is made
// of.
template <class Handle, class Attempt, class Make>
std::int32_t make_handle(Handle **out, const void *from, char *errbuf, std::size_t errlen, Attempt attempt, Make make) {
    if (out) *out = nullptr;
    if (!out || !from) {
        say(errbuf, errlen, "a null pointer was given where something must be");
        return -EINVAL;
    }
    no_cancel here;
    return barrier([&] {
        // What stays there if the real words find no memory.
        say(errbuf, errlen, "cannot make a handle: this process gets no memory any more");
        try {
            *out = make();
            say(errbuf, errlen, {});
            return 0;
        } catch (const failure &e) {
            say(errbuf, errlen, fmt::format("cannot {}: {}", attempt(), e.words));
            return e.code;
        }
    });
}

}  // namespace libipc
