// What all processes of the soak share: a ledger for each sender, in which the sender writes what it has committed and
// the receiver under test what has become of each message. It lies in memory that outlives them: they are killed.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

#include "../process/course.hpp"
#include "../process/host.hpp"

namespace soak {

inline constexpr std::uint32_t ledgers = 4096;         // senders in one run
inline constexpr std::uint64_t remembered = 1u << 16;  // messages of one sender: more than its rings ever hold
inline constexpr std::uint32_t reasons = 64;

// What has become of a message, as the receiver knows it. A kill can fall between a step and its entry: a release is
// entered before and after.
enum class fate : std::uint8_t { unseen, delivered, releasing, released };

struct ledger {
    std::atomic<std::uint64_t> id;            // of the sender, once it has opened
    std::atomic<std::uint64_t> committing;    // sequence whose commit has begun
    std::atomic<std::uint64_t> committed;     // ... has returned
    std::atomic<std::uint32_t> ended;         // 1: it has begun to close
    std::atomic<std::uint32_t> killed;        // 1: it is about to be killed
    std::atomic<std::uint32_t> seen_by;       // the last receiver that got a message of it
    std::atomic<std::uint64_t> watched_from;  // first message that the watcher that stays has got
    std::atomic<std::uint32_t> reported;      // ends and deaths that were received
    std::array<std::atomic<fate>, remembered> fates;

    std::atomic<fate> &of(std::uint64_t sequence) { return fates[sequence % remembered]; }
};

struct board {
    std::atomic<std::uint32_t> over;      // 1: senders end
    std::atomic<std::uint32_t> next;      // ledger to be given out
    std::atomic<std::uint64_t> received;  // by the receiver, again included
    std::atomic<std::uint64_t> again;     // of them marked as redelivered
    std::atomic<std::uint64_t> wrong;
    std::atomic<std::uint32_t> reload;  // each increase: whoever has a handle exchanges the library
    std::atomic<std::uint64_t> reloads;
    std::atomic<std::uint32_t> opened;   // the receiver that has opened last
    std::atomic<std::uint32_t> to_fork;  // the receiver of this number forks
    std::atomic<pid_t> forked;           // ... has forked
    std::array<char[160], reasons> why;  // the first of them
    std::array<ledger, ledgers> senders;

    [[gnu::format(printf, 2, 3)]] void is_wrong(const char *words, ...);
    ledger *find(std::uint64_t sender);
};

// What a call may answer besides success; anything else is wrong.
inline bool only_waited(std::int32_t code) { return code == -ETIMEDOUT || code == -EINTR || code == -ECANCELED; }
inline bool is_lack(std::int32_t code) {
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOSPC;
}

// Exchanges the library if that was asked for since the last time.
class reloader {
  public:
    explicit reloader(board &b) : board_(b), done_(b.reload.load()) {}
    void operator()(host &h, const char *who);

  private:
    board &board_;
    std::uint32_t done_;
};

board &make_board();  // before any process is forked

// Bytes that follow from sender, sequence and size, so that a message proves itself.
void fill(void *data, std::size_t size, std::uint64_t sender, std::uint64_t sequence);
bool proven(const void *data, std::size_t size, std::uint64_t sender, std::uint64_t sequence);

// The processes. None returns before it is told to, or killed. Receivers and watchers are numbered from 1.
void run_sender(board &b, const char *url, std::uint32_t number, std::uint64_t seed);
// The one receiver of the channel: nothing is ever lost or repeated without a mark, whoever was killed before.
void run_receiver(board &b, const char *url, std::uint32_t number, std::uint64_t seed);
// One of several: it gets all from where it began, whatever happens to the others.
void run_watcher(board &b, const char *url, std::uint32_t number);

}  // namespace soak
