// The receivers of the soak. The one that is alone holds some messages and releases them out of turn, and checks each
// against the ledger of its sender; watchers take them as they come.
#include <ipc/ipc.h>
#include <unistd.h>

#include <random>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "board.hpp"

namespace soak {

namespace {

constexpr std::int64_t second = 1'000'000'000;

// A child that holds copies of all that this process has, and does nothing.
pid_t leave_child() {
    pid_t child = fork();
    if (child == 0) {
        alarm(60);  // if nobody is left to end it
        for (;;) pause();
    }
    return child;
}

// A receiver, which also serves what is asked of its process.
class receiving {
  public:
    receiving(board &b, const char *url, const char *who, std::uint32_t number)
        : board_(b), who_(who), number_(number), may_reload_(b), host_(std::make_unique<copy>()) {
        host_.open_receiver(url);
        b.opened.store(number);
    }
    // The next event, whatever it takes; 0 when all is over.
    std::int32_t next(ipc_message &m) {
        for (;;) {
            may_reload_(host_, who_);
            if (std::uint32_t n = number_; board_.to_fork.compare_exchange_strong(n, 0))
                board_.forked.store(leave_child());
            std::int32_t got = host_.library->ipc_receiver_receive(host_.receivers[0], &m, second);
            if (got > 0) return got;
            if (!only_waited(got) && !is_lack(got))
                board_.is_wrong("%s: receive: %s", who_, host_.library->ipc_strerror(got));
            if (board_.over.load() == 2) return 0;
        }
    }
    void release(const ipc_message &m) {
        if (std::int32_t r = host_.library->ipc_receiver_release(host_.receivers[0], &m); r != 0)
            board_.is_wrong("%s: sender %lx, message %lu: release: %s", who_, m.sender, m.sequence,
                            host_.library->ipc_strerror(r));
    }
    void close() {
        std::int32_t held = host_.library->ipc_receiver_close(host_.receivers[0]);
        host_.receivers.clear();
        if (held != 0) board_.is_wrong("%s: close says %d are held", who_, held);
    }

  private:
    board &board_;
    const char *who_;
    std::uint32_t number_;
    reloader may_reload_;
    host host_;
};

ipc_message empty_message() {
    ipc_message m{};
    m.struct_size = sizeof m;
    return m;
}

class lone {
  public:
    lone(board &b, receiving &r, std::uint32_t number, std::uint64_t seed)
        : board_(b), receiver_(r), number_(number), random_(seed) {}

    void message(const ipc_message &m) {
        ledger *from = board_.find(m.tag);
        if (!from) return board_.is_wrong("a message of sender %lx, which is none of ours", m.tag);
        board_.received.fetch_add(1, std::memory_order_relaxed);
        bool marked = m.flags & IPC_REDELIVERED;
        if (marked) board_.again.fetch_add(1, std::memory_order_relaxed);
        if (m.sender != m.tag || !proven(m.data, m.size, m.sender, m.sequence))
            board_.is_wrong("sender %lx, message %lu: its %zu bytes are not what was sent", m.sender, m.sequence,
                            m.size);
        if (m.sequence > from->committing.load())
            board_.is_wrong("sender %lx, message %lu was never committed", m.sender, m.sequence);

        std::atomic<fate> &f = from->of(m.sequence);
        switch (f.load()) {
            // Marked though we have not seen it: the one before us was killed between the mark and its entry.
            case fate::unseen:
                break;
            case fate::delivered:
                if (!marked)
                    board_.is_wrong("sender %lx, message %lu came again without the mark", m.sender, m.sequence);
                break;
            case fate::releasing:
                break;
            case fate::released:
                board_.is_wrong("sender %lx, message %lu came again after its release", m.sender, m.sequence);
                break;
        }
        // In order, and without a gap but for those that are released.
        std::uint64_t &last = last_[m.sender];
        if (m.sequence <= last) board_.is_wrong("sender %lx, message %lu after %lu", m.sender, m.sequence, last);
        for (std::uint64_t s = last != 0 ? last + 1 : oldest(m.sequence); s < m.sequence; ++s)
            if (fate between = from->of(s).load(); between != fate::released && between != fate::releasing)
                board_.is_wrong("sender %lx, message %lu is missing before %lu", m.sender, s, m.sequence);
        last = m.sequence;
        from->seen_by.store(number_);
        from->of(m.sequence + remembered / 2).store(fate::unseen);  // the place of one long gone, for one to come
        f.store(fate::delivered);
        held_.push_back(m);
        std::size_t most = random_() % 512 == 0 ? 200 : random_() % 4;
        while (held_.size() > most) release(random_() % held_.size());
    }

    void finished(std::int32_t how, const ipc_message &m) {
        ledger *from = board_.find(m.sender);
        if (!from) return;  // it went before it could say who it is
        from->reported.fetch_add(1);
        bool told = how == IPC_END ? from->ended.load() != 0 : from->killed.load() != 0;
        if (!told) board_.is_wrong("sender %lx: told of its %s", m.sender, how == IPC_END ? "end" : "death");
        if (!finished_.insert(m.sender).second) board_.is_wrong("sender %lx finished twice", m.sender);
        release_all();
        std::uint64_t committed = from->committed.load();
        for (std::uint64_t s = oldest(committed); s <= committed; ++s)
            if (fate f = from->of(s).load(); f != fate::released && f != fate::releasing)
                board_.is_wrong("sender %lx: message %lu of %lu was lost", m.sender, s, committed);
    }

    void release_all() {
        while (!held_.empty()) release(held_.size() - 1);
    }

  private:
    void release(std::size_t which) {
        ipc_message m = held_[which];
        held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
        std::atomic<fate> &f = board_.find(m.tag)->of(m.sequence);
        f.store(fate::releasing);
        receiver_.release(m);
        f.store(fate::released);
    }

    // How far back the fates are looked at, when `newest` has come. Less than what is remembered: the receiver before
    // us may have seen more than we have, by as much as lies in the rings.
    static std::uint64_t oldest(std::uint64_t newest) {
        return newest > remembered / 4 ? newest - remembered / 4 + 1 : 1;
    }

    board &board_;
    receiving &receiver_;
    std::uint32_t number_;
    std::mt19937_64 random_;
    std::vector<ipc_message> held_;
    std::unordered_map<std::uint64_t, std::uint64_t> last_;
    std::unordered_set<std::uint64_t> finished_;
};

}  // namespace

static void receive_alone(board &b, const char *url, std::uint32_t number, std::uint64_t seed) {
    receiving r(b, url, "receiver", number);
    lone all(b, r, number, seed);
    ipc_message m = empty_message();
    while (std::int32_t got = r.next(m)) {
        if (got == IPC_MESSAGE)
            all.message(m);
        else
            all.finished(got, m);
    }
    all.release_all();
    r.close();
}

static void watch(board &b, const char *url, std::uint32_t number) {
    receiving r(b, url, "watcher", number);
    ipc_message m = empty_message();
    std::unordered_map<std::uint64_t, course> courses;
    while (std::int32_t got = r.next(m)) {
        course &may = courses.try_emplace(m.sender, course::joining(1, course::unknown)).first->second;
        bool began = may.last != course::unknown;
        ledger *from = b.find(m.sender);
        if (got != IPC_MESSAGE) {
            // It has nothing to say of a sender that came after it and went before it sent.
            if (from && began && may.must_come(from->committed.load()))
                b.is_wrong("watcher %u: sender %lx, from %lu to %lu all were lost", number, m.sender, may.last,
                           from->committed.load());
            if (from) from->reported.fetch_add(1);
            continue;
        }
        if (m.sender != m.tag || !proven(m.data, m.size, m.sender, m.sequence))
            b.is_wrong("watcher %u: sender %lx, message %lu is not what was sent", number, m.sender, m.sequence);
        // A sender that came while the name of the watcher that stays was deleted may have met others first: then one
        // of these takes another's place.
        if (from && number == 1 && !began) from->watched_from.store(m.sequence);
        std::uint64_t watched = from ? from->watched_from.load() : 0;
        may.doubtful = watched != 0 ? watched : course::unknown;
        if (std::uint64_t next = may.last; !may.take(m.sequence, m.flags != 0))
            b.is_wrong("watcher %u: sender %lx, message %lu (flags %u) where %lu is next, unmarked", number, m.sender,
                       m.sequence, m.flags, next);
        b.received.fetch_add(1, std::memory_order_relaxed);
        r.release(m);
    }
    r.close();
}

void run_receiver(board &b, const char *url, std::uint32_t number, std::uint64_t seed) try {
    receive_alone(b, url, number, seed);
} catch (const std::exception &e) {
    b.is_wrong("receiver: %s", e.what());
}

void run_watcher(board &b, const char *url, std::uint32_t number) try {
    watch(b, url, number);
} catch (const std::exception &e) {
    b.is_wrong("watcher: %s", e.what());
}

}  // namespace soak
