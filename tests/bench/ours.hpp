// libipc through its C ABI, payload written and read in place.
#pragma once

#include <ipc/ipc.h>

#include <cstring>
#include <string>
#include <vector>

#include "contender.hpp"

namespace bench {

// Its functions, from the file at `path`, or from the library that this program is linked with if that is empty. Made
// in the process that uses it, so that one run can compare several builds.
struct library {
    decltype(&ipc_version) version;
    decltype(&ipc_strerror) strerror;
    decltype(&ipc_sender_open) sender_open;
    decltype(&ipc_sender_reserve) reserve;
    decltype(&ipc_sender_commit) commit;
    decltype(&ipc_sender_flush) flush;
    decltype(&ipc_sender_end) end;
    decltype(&ipc_sender_arm) sender_arm;
    decltype(&ipc_sender_fd) sender_fd;
    decltype(&ipc_sender_stats) sender_stats;
    decltype(&ipc_sender_close) sender_close;
    decltype(&ipc_sender_freeze) sender_freeze;
    decltype(&ipc_sender_adopt) sender_adopt;
    decltype(&ipc_sender_forget) sender_forget;
    decltype(&ipc_receiver_open) receiver_open;
    decltype(&ipc_receiver_url) receiver_url;
    decltype(&ipc_receiver_receive) receive;
    decltype(&ipc_receiver_release) release;
    decltype(&ipc_receiver_arm) receiver_arm;
    decltype(&ipc_receiver_fd) receiver_fd;
    decltype(&ipc_receiver_close) receiver_close;
    decltype(&ipc_receiver_freeze) receiver_freeze;
    decltype(&ipc_receiver_adopt) receiver_adopt;
    decltype(&ipc_receiver_forget) receiver_forget;

    explicit library(const std::string &path);
    void must(std::int32_t code, const char *what) const {
        if (code < 0) throw std::runtime_error(std::string(what) + ": " + strerror(code));
    }
};

// The two ends, for one measurement. `patience` is what they wait with: -1 blocks, 0 looks again and again.
struct ipc_writer {
    const library &lib;
    std::int64_t patience;
    std::int64_t linger = -1;  // stays until all is read
    ipc_sender *handle = nullptr;
    ipc_writer(const library &, const std::string &url, std::size_t capacity, std::int64_t patience = -1);
    ~ipc_writer() { lib.sender_close(handle, linger); }
    ipc_writer(const ipc_writer &) = delete;
    ipc_writer &operator=(const ipc_writer &) = delete;
    std::byte *room(std::size_t size) {
        void *p;
        std::int32_t r;
        while ((r = lib.reserve(handle, size, &p, patience)) != 0)
            if (r != -EAGAIN && r != -EINTR) lib.must(r, "reserve");
        return static_cast<std::byte *>(p);
    }
    void publish(std::size_t size) { lib.commit(handle, size, 0); }
    void finish() { lib.end(handle); }
};

struct ipc_reader {
    const library &lib;
    std::int64_t patience;
    ipc_receiver *handle = nullptr;
    ipc_message message{};
    ipc_reader(const library &, const std::string &url, std::int64_t patience = -1);
    ~ipc_reader() { lib.receiver_close(handle); }
    ipc_reader(const ipc_reader &) = delete;
    ipc_reader &operator=(const ipc_reader &) = delete;
    const std::byte *next(std::size_t) {
        std::int32_t r;
        while ((r = lib.receive(handle, &message, patience)) != IPC_MESSAGE) {
            if (r == IPC_END) return nullptr;
            if (r == -EAGAIN || r == -EINTR) continue;
            lib.must(r, "receive");
            throw std::runtime_error("the sender died");
        }
        return static_cast<const std::byte *>(message.data);
    }
    std::uint64_t sequence() const { return message.sequence; }
    void done() { lib.release(handle, &message); }
};

std::string version_of(const std::string &path);

// shm:// of the library at `path`, blocking (as `name`) and spinning, and its other transports.
contender shared_memory_of(const std::string &name, const std::string &path);
contender spinning_of(const std::string &name, const std::string &path);
std::vector<contender> other_transports();

// What many others on a channel, and a long life, cost; of the library that this program is linked with.

// 64 B in bursts that fit into the ring, to receivers that look all the time: the rate within the bursts.
const board &commits(const setting &, unsigned receivers);
// 64 B into one receiver, from senders that one process serves in turn.
const board &from_senders(const setting &, unsigned senders);
// 64 B from one sender, as fast as it goes, while others are connected that have nothing to say.
const board &among_idle(const setting &, unsigned others);
unsigned most_idle_senders();  // for which this process may have enough descriptors
// 64 B from one sender, as fast as it goes, after so many receivers came and left, after so many reloads on both sides,
// and after so many seconds at full speed.
struct past {
    unsigned connections = 0, reloads = 0;
    double seconds = 0;
};
const board &after_past(const setting &, const past &);
// A sender that waits for room and a receiver that waits for a message, for so long: their context switches of any
// kind.
std::uint64_t switches_while_idle(const setting &, double seconds);

}  // namespace bench
