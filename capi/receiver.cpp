// The ipc_receiver_ functions: handle, check, core.
#include "shm/receiver.hpp"

#include <algorithm>
#include <climits>

#include "entry.hpp"
#include "freeze.hpp"
#include "handle/sandbox.hpp"
#include "stream/receiver.hpp"
#include "tagged.hpp"

using namespace libipc;

struct ipc_receiver : handle<receiver> {
    using handle::handle;
};

namespace {

struct stream_receiver : handle<stream::receiver> {
    using handle::handle;
};

template <class F>
auto with(ipc_receiver *r, F f) {
    return resolve<stream_receiver>(r, f);
}

template <class F>
std::int32_t enter(ipc_receiver *r, F f) {
    return enter_either<stream_receiver>(r, f);
}

// As enter(), for the calls that are over once the receiver is closed.
template <class F>
std::int32_t enter_open(ipc_receiver *r, F f) {
    return enter(r, [=](auto &c) { return c.is_shut() ? -EINVAL : f(c); });
}

}  // namespace

extern "C" {

int32_t ipc_receiver_open(ipc_receiver **out, const char *url, const ipc_receiver_options *options, char *errbuf,
                          size_t errlen) {
    auto attempt = [&] { return fmt::format("open a receiver on {}", quoted(url)); };
    return make_handle(out, url, errbuf, errlen, attempt, [&]() -> ipc_receiver * {
        any_endpoint where = parse_url(url, false);
        check_calls(where.scheme, IPC_RECEIVER);
        std::int32_t from = IPC_FROM_DEFAULT;
        if (options) {
            if (!known(options))
                fail(-EINVAL, "options.struct_size is {}, not {}", options->struct_size, sizeof *options);
            if (options->overflow != IPC_OVERFLOW_BLOCK)
                fail(-EOPNOTSUPP, "options.overflow is {}; this version of libipc has IPC_OVERFLOW_BLOCK (0) only",
                     options->overflow);
            if (options->from < IPC_FROM_DEFAULT || options->from > IPC_FROM_LATEST)
                fail(-EINVAL, "options.from is {}; it is one of IPC_FROM_..., 0 to 2", options->from);
            from = options->from;
        }
        if (where.from) from = *where.from;
        if (where.scheme != transport::shm) {
            if (from != IPC_FROM_DEFAULT)
                fail(-EOPNOTSUPP,
                     "where to start (`from`) can be chosen on shm:// only, where senders keep what they sent");
            return tag<ipc_receiver>(new stream_receiver(std::move(where)));
        }
        return new ipc_receiver(std::move(where), from);
    });
}

int32_t ipc_receiver_receive(ipc_receiver *r, ipc_message *msg, int64_t timeout_ns) {
    if (!known(msg) || timeout_ns < -1) return -EINVAL;
    return enter_open(r, [=](auto &c) { return c.receive(*msg, timeout_ns); });
}

int32_t ipc_receiver_release(ipc_receiver *r, const ipc_message *msg) {
    if (!known(msg)) return -EINVAL;
    constexpr std::int32_t last = 1;
    std::int32_t result = enter(r, [=](auto &c) {
        std::int32_t code = c.release(*msg);
        return code == 0 && c.is_shut() && c.shut() == 0 ? last : code;
    });
    if (result != last) return result;
    no_cancel here;
    with(r, [](auto &h) { delete &h; });
    return 0;
}

int32_t ipc_receiver_interrupt(ipc_receiver *r) {
    if (!r) return -EINVAL;
    return with(r, [](auto &h) {
        if (h.core.owner().forked()) return +IPC_EFORKED;
        h.core.interrupt();
        return 0;
    });
}

int32_t ipc_receiver_arm(ipc_receiver *r) {
    return enter_open(r, [](auto &c) { return c.arm(); });
}

int32_t ipc_receiver_fd(const ipc_receiver *r) {
    if (!r) return -EINVAL;
    return with(const_cast<ipc_receiver *>(r),
                [](auto &h) { return h.core.owner().forked() ? IPC_EFORKED : h.core.fd(); });
}

const char *ipc_receiver_url(const ipc_receiver *r) {
    if (!r) return nullptr;
    return with(const_cast<ipc_receiver *>(r), [](auto &h) { return h.core.url(); });
}

int32_t ipc_receiver_stats(ipc_receiver *r, ipc_receiver_counters *out) {
    if (!known(out)) return -EINVAL;
    return enter_open(r, [=](auto &c) { return c.stats(*out); });
}

int32_t ipc_receiver_links(ipc_receiver *r, ipc_link *out, size_t count) {
    if (count && !known(out)) return -EINVAL;
    return enter_open(r, [=](auto &c) { return c.links(out, count); });
}

int32_t ipc_receiver_close(ipc_receiver *r) {
    if (!r) return 0;
    no_cancel here;
    std::int32_t held =
        enter(r, [](auto &c) { return static_cast<std::int32_t>(std::min<std::uint64_t>(c.shut(), INT32_MAX)); });
    if (held == 0 || held == IPC_EFORKED) with(r, [](auto &h) { delete &h; });
    return held;
}

int32_t ipc_receiver_freeze(ipc_receiver *r, void *state, size_t size) {
    if (!r || (!state && size)) return -EINVAL;
    return with(r, [=](auto &h) { return freeze(&h, state, size); });
}

int32_t ipc_receiver_adopt(ipc_receiver **out, const void *state, size_t size, char *errbuf, size_t errlen) {
    return adopt<stream_receiver>(out, state, size, errbuf, errlen);
}

int32_t ipc_receiver_forget(ipc_receiver *r) {
    if (!r) return -EINVAL;
    return with(r, [](auto &h) { return forget(&h); });
}

}  // extern "C"
