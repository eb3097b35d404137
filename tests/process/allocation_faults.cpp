// Each allocation of a call fails: the n-th alone, or all from the n-th on, for n = 1, 2, ... until there is none left.
// The call says so, keeps nothing, and works when there is memory again.
//
// Sanitizers bring an allocator of their own, which can't be made to fail like this.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "forge.hpp"
#include "transports.hpp"

// The library's allocations come here, as those of the whole program do.
extern "C" void *__libc_malloc(std::size_t);
static thread_local long allocations_left = -1;  // before one fails; -1: none does
static thread_local bool rest_fails = false;
static thread_local bool has_failed = false;

static bool fails() {
    if (allocations_left == 0) {
        has_failed = true;
        if (!rest_fails) allocations_left = -1;
        errno = ENOMEM;
        return true;
    }
    if (allocations_left > 0) --allocations_left;
    return false;
}

extern "C" void *malloc(std::size_t size) { return fails() ? nullptr : __libc_malloc(size); }

// Where it lays what it has received.
extern "C" void *mmap(void *address, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
    if ((flags & MAP_NORESERVE) && fails()) return MAP_FAILED;
    return reinterpret_cast<void *>(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}

namespace {

// Runs `round` once for each allocation of what it does within its argument, faulty(call), and that one fails there.
// Ends with a round in which none failed.
template <class Round>
void each_fault(bool and_all_after, Round round) {
    for (long n = 0;; ++n) {
        CAPTURE(n);
        has_failed = false;
        round([&](auto call) {
            rest_fails = and_all_after;
            allocations_left = n;
            auto result = call();
            allocations_left = -1;
            return result;
        });
        if (!has_failed) break;
        REQUIRE(n < 1000);
    }
}

std::string all_of(const std::vector<std::string> &leaks) {
    std::string text;
    for (auto &leak : leaks) text += leak + "; ";
    return text;
}

struct opened {
    ipc_sender *s = nullptr;
    ipc_receiver *r = nullptr;
    int code = 0;
    char words[512] = "unchanged";
    void check() const {
        CAPTURE(std::string(words));
        CHECK(code == (has_failed ? -ENOMEM : 0));
        CHECK((s || r) == !has_failed);
        CHECK((std::strstr(words, "memory") != nullptr) == has_failed);
    }
};

}  // namespace

TEST_CASE_FIXTURE(scratch, "a sender that finds no memory at open says so in words, and keeps nothing") {
    for (bool and_all_after : {false, true}) {
        leak_check check(folder());
        each_fault(and_all_after, [&](auto faulty) {
            opened o = faulty([] {
                opened o;
                o.code = ipc_sender_open(&o.s, "shm://t", nullptr, o.words, sizeof o.words);
                return o;
            });
            o.check();
            ipc_sender_close(o.s, 0);
            CHECK(all_of(check.leaks()) == "");
        });
    }
}

TEST_CASE_FIXTURE(scratch, "a receiver that finds no memory at open says so in words, and keeps nothing") {
    for (bool and_all_after : {false, true}) {
        leak_check check(folder());
        each_fault(and_all_after, [&](auto faulty) {
            opened o = faulty([] {
                opened o;
                o.code = ipc_receiver_open(&o.r, "shm://t", nullptr, o.words, sizeof o.words);
                return o;
            });
            o.check();
            ipc_receiver_close(o.r);
            CHECK(all_of(check.leaks()) == "");
        });
    }
}

TEST_CASE_FIXTURE(scratch, "a list that finds no memory is an error, and takes nothing along") {
    rx r;
    for (bool and_all_after : {false, true}) {
        leak_check check("/nowhere");
        each_fault(and_all_after, [&](auto faulty) {
            int count = faulty([] { return ipc_channel_list(nullptr, 0); });
            // A folder that finds no memory is passed over, as one that may not be read is.
            CHECK((has_failed ? count == -ENOMEM || count >= 0 : count >= 1));
            CHECK(all_of(check.leaks()) == "");
        });
    }
}

// The receiver sleeps, and has so many senders that their bells alone tell it who speaks: each rings once, and what it
// says must not be lost because a newcomer was in the way.
TEST_CASE_FIXTURE(scratch,
                  "a receiver that finds no memory for a newcomer goes on with the others, and takes it later") {
    for (bool and_all_after : {false, true}) {
        rx r;
        std::vector<tx> crowd;
        for (int i = 0; i < 9; ++i) crowd.emplace_back("shm://t?capacity=64KiB");
        std::size_t silent = 0;  // of the crowd, the first that has not spoken yet
        std::uint64_t tag = 0;
        each_fault(and_all_after, [&](auto faulty) {
            REQUIRE(eventually([&] { return ipc_receiver_arm(r) == 1; }));
            tx newcomer("shm://t?capacity=64KiB");
            newcomer.await_links(1);
            REQUIRE(newcomer.send(++tag) == 0);
            REQUIRE(crowd[silent++].send(++tag) == 0);
            ipc_receiver_counters c{};
            c.struct_size = sizeof c;
            int code = faulty([&] { return ipc_receiver_stats(r, &c); });
            CHECK((code == 0 || code == -ENOMEM));
            std::set<std::uint64_t> heard;
            bool in_time = eventually([&] {
                newcomer.stats();  // hung up on, it comes again by itself
                ipc_message m;
                if (r.receive(m, briefly) == IPC_MESSAGE) {
                    heard.insert(m.tag);
                    REQUIRE(r.release(m) == 0);
                }
                return heard.count(tag) && heard.count(tag - 1);
            });
            REQUIRE(in_time);
            crowd.push_back(std::move(newcomer));
        });
    }
}

TEST_CASE_FIXTURE(scratch, "a stream receiver that finds no memory for a newcomer says so, and takes the next one") {
    for (std::string url : {"unix://" + folder() + "/socket", "pipe://" + folder() + "/fifo"})
        each_fault(true, [&](auto faulty) {
            CAPTURE(url);
            rx r(url);
            tx one(url), other(url);
            REQUIRE(one.send(1, 64, 0) == 0);
            REQUIRE(other.send(2, 64, 0) == 0);
            ipc_receiver_counters c{};
            c.struct_size = sizeof c;
            int code = faulty([&] { return ipc_receiver_stats(r, &c); });
            CHECK((code == 0 || code == -ENOMEM));
            tx next(url);
            REQUIRE(next.send(3, 64, 0) == 0);
            CHECK(eventually([&] {
                ipc_message m;
                return r.receive(m, briefly) == IPC_MESSAGE && proven(m) && r.release(m) == 0 && m.tag == 3;
            }));
        });
}

TEST_CASE_FIXTURE(scratch, "a release that finds no memory for what came meanwhile can be tried again") {
    std::string url = "unix://" + folder() + "/socket";
    each_fault(true, [&](auto faulty) {
        rx r(url);
        tx one(url);
        REQUIRE(one.send(1) == 0);
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        tx newcomer(url);
        doze();
        int code = faulty([&] { return r.release(m); });
        if (code != 0) {
            CHECK(code == -ENOMEM);
            code = r.release(m);
        }
        CHECK(code == 0);
        CHECK(r.stats().held == 0);
    });
}

namespace {

// Runs a whole conversation, in one thread, in which the n-th allocation of one side fails, once.
template <class T>
class conversation {
  public:
    conversation(bool sender_fails, bool sender_first, long n) : sender_fails_(sender_fails), left_(n) {
        auto [to, from] = ends_of<T>(test_.folder());
        char words[512];
        if (sender_first) open_sender(from, words);
        until_memory(false, [&] { return ipc_receiver_open(&r_, to.c_str(), nullptr, words, sizeof words); });
        if (!sender_first) open_sender(from, words);
        if (!sender_first) send();
        mine(true, [&] { return ipc_sender_end(s_); });
        CHECK(eventually([&] {
            int left = mine(true, [&] { return ipc_sender_flush(s_, 0); });
            CHECK((left >= 0 || left == -ENOMEM));
            while (receive()) {
            }
            return left == 0 && ends_ == 1;
        }));
        CHECK(deaths_ == 0);
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        REQUIRE(ipc_receiver_stats(r_, &c) == 0);
        // Where nothing can be asked for again, it is counted; and told, but on udp, which loses by its nature.
        if (T::tells_release) CHECK(c.lost == 0);
        if (T::lossless) CHECK((c.lost == 0 || told_ != 0));
        CHECK(next_ - 1 - skipped_ + c.lost == count);
        CHECK(mine(true, [&] { return ipc_sender_close(s_, 0); }) == 0);
        CHECK(mine(false, [&] { return ipc_receiver_close(r_); }) == 0);
    }

  private:
    static constexpr std::uint64_t count = 5;

    template <class F>
    int mine(bool sender, F call) {
        if (sender != sender_fails_) return call();
        rest_fails = false;
        allocations_left = left_;
        int result = call();
        left_ = std::exchange(allocations_left, -1);
        return result;
    }
    template <class F>
    void until_memory(bool sender, F call) {
        int result = mine(sender, call);
        if (result == -ENOMEM) result = mine(sender, call);
        REQUIRE(result == 0);
    }
    void open_sender(const std::string &url, char *words) {
        until_memory(true, [&] { return ipc_sender_open(&s_, url.c_str(), nullptr, words, 512); });
        if (!r_) send();
    }
    void send() {
        for (std::uint64_t tag = 1; tag <= count; ++tag) {
            void *data;
            until_memory(true, [&] { return ipc_sender_reserve(s_, 1000, &data, limit_ns); });
            fill(data, 1000, tag);
            until_memory(true, [&] { return ipc_sender_commit(s_, 1000, tag); });
        }
    }
    bool receive() {
        ipc_message m = empty_message();
        int got = mine(false, [&] { return ipc_receiver_receive(r_, &m, 0); });
        if (got == -ENOMEM) return ++told_, true;
        CHECK((got > 0 || got == -EAGAIN));
        ends_ += got == IPC_END;
        deaths_ += got == IPC_DIED;
        if (got != IPC_MESSAGE) return got > 0;
        CHECK(m.tag >= next_);
        skipped_ += m.tag - next_;
        next_ = m.tag + 1;
        CHECK(proven(m));
        until_memory(false, [&] { return ipc_receiver_release(r_, &m); });
        return true;
    }

    scratch test_;
    bool sender_fails_;
    long left_;
    ipc_sender *s_ = nullptr;
    ipc_receiver *r_ = nullptr;
    std::uint64_t next_ = 1, skipped_ = 0;
    int ends_ = 0, deaths_ = 0, told_ = 0;
};

template <class T>
void each_allocation_of_a_conversation(bool sender_fails) {
    for (bool sender_first : {false, true}) {
        if (sender_first && !T::waits_for_receiver) continue;
        for (long n = 0;; ++n) {
            CAPTURE(sender_first);
            CAPTURE(n);
            has_failed = false;
            conversation<T>(sender_fails, sender_first, n);
            if (!has_failed) break;
            REQUIRE(n < 1000);
        }
    }
}

}  // namespace

TEST_CASE_TEMPLATE("whichever allocation of a sender fails, once: every message comes, and its end", T,
                   ALL_TRANSPORTS) {
    each_allocation_of_a_conversation<T>(true);
}

TEST_CASE_TEMPLATE("whichever allocation of a receiver fails, once: every message comes, or is counted, and the end", T,
                   ALL_TRANSPORTS) {
    each_allocation_of_a_conversation<T>(false);
}

TEST_CASE_FIXTURE(scratch, "a sender that finds no memory for a newcomer goes on, and connects to it later") {
    for (bool and_all_after : {false, true})
        each_fault(and_all_after, [&](auto faulty) {
            tx s("shm://t?capacity=64KiB");
            rx r;
            s.await_links(1);
            ipc_sender_counters c{};
            c.struct_size = sizeof c;
            rx newcomer;
            int code = faulty([&] { return ipc_sender_stats(s, &c); });
            CHECK((code == 0 || code == -ENOMEM));
            s.await_links(2);
            REQUIRE(s.send(1) == 0);
            CHECK(r.read(1) == "1");
            CHECK(newcomer.read(2, briefly) == "1 nothing");
            // Its going takes memory as well.
            newcomer.close();
            code = faulty([&] { return ipc_sender_stats(s, &c); });
            CHECK((code == 0 || code == -ENOMEM));
            s.await_links(1);
            REQUIRE(s.send(2) == 0);
            CHECK(r.read(1) == "2");
            CHECK(s.stats().refused == 0);
        });
}

TEST_CASE_FIXTURE(scratch, "receivers that refuse are dropped, also when there is no memory at that moment") {
    for (bool and_all_after : {false, true})
        each_fault(and_all_after, [&](auto faulty) {
            tx s("shm://t?capacity=64KiB");
            forge::forged_receiver one(folder() + "/t"), other(folder() + "/t");
            s.await_links(2);
            for (auto *receiver : {&one, &other}) {
                REQUIRE(receiver->take_hello());
                receiver->yes.refused = 1;
                REQUIRE(receiver->answer() == 0);
            }
            ipc_sender_counters c{};
            c.struct_size = sizeof c;
            int code = faulty([&] { return ipc_sender_stats(s, &c); });
            CHECK((code == 0 || code == -ENOMEM));
            s.await_links(0);
            CHECK(s.stats().refused == 2);
        });
}
#endif
