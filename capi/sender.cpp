// The ipc_sender_ functions: handle, check, core.
#include "shm/sender.hpp"

#include <algorithm>
#include <climits>

#include "entry.hpp"
#include "freeze.hpp"
#include "handle/core.hpp"
#include "handle/sandbox.hpp"
#include "memory/layout.hpp"
#include "stream/sender.hpp"
#include "tagged.hpp"

using namespace libipc;

struct ipc_sender : handle<sender> {
    using handle::handle;
};

namespace {

struct stream_sender : handle<stream::sender> {
    using handle::handle;
};

template <class F>
auto with(ipc_sender *s, F f) {
    return resolve<stream_sender>(s, f);
}

template <class F>
std::int32_t enter(ipc_sender *s, F f) {
    return enter_either<stream_sender>(s, f);
}

}  // namespace

extern "C" {

int32_t ipc_sender_open(ipc_sender **out, const char *url, const ipc_sender_options *options, char *errbuf,
                        size_t errlen) {
    auto attempt = [&] { return fmt::format("open a sender on {}", quoted(url)); };
    return make_handle(out, url, errbuf, errlen, attempt, [&]() -> ipc_sender * {
        any_endpoint where = parse_url(url, true);
        check_calls(where.scheme, IPC_SENDER);
        if (options && !known(options))
            fail(-EINVAL, "options.struct_size is {}, not {}", options->struct_size, sizeof *options);
        if (options && !where.capacity && !where.max_capacity) {
            if (options->capacity) where.capacity = whole_capacity(options->capacity);
            if (options->max_capacity) where.max_capacity = whole_capacity(options->max_capacity, "max_capacity");
        }
        if (where.scheme == transport::shm) {
            ring_sizes sizes = sizes_for(where.capacity, where.max_capacity);
            return new ipc_sender(std::move(where), sizes);
        }
        if (where.max_capacity)
            fail(-EINVAL, "options.max_capacity is for shm: what grows is a ring in shared memory; give a capacity");
        std::uint64_t capacity = where.capacity.value_or(layout::default_capacity);
        return tag<ipc_sender>(new stream_sender(std::move(where), capacity));
    });
}

int32_t ipc_sender_reserve(ipc_sender *s, size_t size, void **data, int64_t timeout_ns) {
    if (!data || timeout_ns < -1) return -EINVAL;
    return enter(s, [=](auto &c) { return c.reserve(size, *data, timeout_ns); });
}

int32_t ipc_sender_commit(ipc_sender *s, size_t size, uint64_t tag) {
    return enter(s, [=](auto &c) { return c.commit(size, tag); });
}

int32_t ipc_sender_abort(ipc_sender *s) {
    return enter(s, [](auto &c) { return c.abort(), 0; });
}

int32_t ipc_sender_send(ipc_sender *s, const void *data, size_t size, uint64_t tag, int64_t timeout_ns) {
    if ((!data && size) || timeout_ns < -1) return -EINVAL;
    return enter(s, [=](auto &c) { return send_copy(c, data, size, tag, timeout_ns); });
}

int32_t ipc_sender_end(ipc_sender *s) {
    return enter(s, [](auto &c) { return c.end(), 0; });
}

int32_t ipc_sender_flush(ipc_sender *s, int64_t timeout_ns) {
    if (timeout_ns < -1) return -EINVAL;
    return enter(s, [=](auto &c) { return c.flush(timeout_ns); });
}

int32_t ipc_sender_interrupt(ipc_sender *s) {
    if (!s) return -EINVAL;
    return with(s, [](auto &h) {
        if (h.core.owner().forked()) return +IPC_EFORKED;
        h.core.interrupt();
        return 0;
    });
}

int32_t ipc_sender_arm(ipc_sender *s) {
    return enter(s, [](auto &c) { return c.arm(); });
}

int32_t ipc_sender_fd(const ipc_sender *s) {
    if (!s) return -EINVAL;
    return with(const_cast<ipc_sender *>(s),
                [](auto &h) { return h.core.owner().forked() ? IPC_EFORKED : h.core.fd(); });
}

const char *ipc_sender_url(const ipc_sender *s) {
    if (!s) return nullptr;
    return with(const_cast<ipc_sender *>(s), [](auto &h) { return h.core.url(); });
}

int32_t ipc_sender_stats(ipc_sender *s, ipc_sender_counters *out) {
    if (!known(out)) return -EINVAL;
    return enter(s, [=](auto &c) { return c.stats(*out); });
}

int32_t ipc_sender_links(ipc_sender *s, ipc_link *out, size_t count) {
    if (count && !known(out)) return -EINVAL;
    return enter(s, [=](auto &c) { return c.links(out, count); });
}

int32_t ipc_sender_close(ipc_sender *s, int64_t linger_ns) {
    if (!s) return 0;
    if (linger_ns < -1) return -EINVAL;
    no_cancel here;
    std::int32_t r = enter(
        s, [=](auto &c) { return static_cast<std::int32_t>(std::min<std::uint64_t>(c.finish(linger_ns), INT32_MAX)); });
    if (r == -EBUSY) return r;
    with(s, [](auto &h) { delete &h; });
    return r;
}

int32_t ipc_sender_freeze(ipc_sender *s, void *state, size_t size) {
    if (!s || (!state && size)) return -EINVAL;
    return with(s, [=](auto &h) { return freeze(&h, state, size); });
}

int32_t ipc_sender_adopt(ipc_sender **out, const void *state, size_t size, char *errbuf, size_t errlen) {
    return adopt<stream_sender>(out, state, size, errbuf, errlen);
}

int32_t ipc_sender_forget(ipc_sender *s) {
    if (!s) return -EINVAL;
    return with(s, [](auto &h) { return forget(&h); });
}

}  // extern "C"
