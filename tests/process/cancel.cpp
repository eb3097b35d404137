// pthread_cancel on a thread inside the library: the call completes, its result is whole, and the thread goes at the
// next cancellation point of the program's own.
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "support.hpp"

static const std::string url = "shm://t", small = "shm://t?capacity=64KiB";

// Runs `work` in a thread that is cancelled when `when` says so, and then passes a cancellation point. Whether the work
// came to its end, and the thread was cancelled after it.
static bool completes_though_cancelled(const std::function<void()> &work, const std::function<void(pid_t)> &when) {
    struct shared {
        const std::function<void()> &work;
        std::atomic<pid_t> thread{0};
        bool completed = false;
    } s{work};
    pthread_t id;
    REQUIRE(pthread_create(
                &id, nullptr,
                [](void *argument) -> void * {
                    auto *s = static_cast<shared *>(argument);
                    s->thread = gettid();
                    s->work();
                    s->completed = true;
                    for (;;) pause();
                },
                &s) == 0);
    REQUIRE(eventually([&] { return s.thread != 0; }));
    when(s.thread);
    REQUIRE(pthread_cancel(id) == 0);
    void *result = nullptr;
    REQUIRE(pthread_join(id, &result) == 0);
    return s.completed && result == PTHREAD_CANCELED;
}

static void until_asleep(pid_t thread) {
    REQUIRE(eventually([&] { return sleeps(getpid(), thread); }));
}

TEST_CASE_FIXTURE(scratch, "a cancelled receive waits on, brings its message, and then the thread goes") {
    tx s;
    rx r;
    ipc_message m;
    int result = 0;
    std::thread sends;
    CHECK(completes_though_cancelled([&] { result = r.receive(m, limit_ns); },
                                     [&](pid_t thread) {
                                         until_asleep(thread);
                                         sends = std::thread([&] { s.send(1); });
                                     }));
    sends.join();
    CHECK(result == IPC_MESSAGE);
    CHECK(proven(m));
    CHECK(r.release(m) == 0);
}

// A cancel is pending all the time: whichever cancellation point is left open in the library is taken. Those in what
// the test does itself are not.
template <class F>
static auto uncancelled(F f) {
    struct guard {
        guard() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); }
        ~guard() { pthread_setcancelstate(before, nullptr); }
        int before;
    } here;
    return f();
}

static void every_call(scratch &here, std::vector<std::string> &wrong) {
    auto must = [&](bool holds, const char *what) {
        if (!holds) uncancelled([&] { wrong.push_back(what); });
    };
    std::optional<child> other;
    ipc_sender *s = nullptr, *none = nullptr;
    ipc_receiver *r = nullptr;
    char words[512];
    ipc_channel channel{};
    channel.struct_size = sizeof channel;
    must(ipc_sender_open(&s, small.c_str(), nullptr, words, sizeof words) == 0, "open");
    must(ipc_sender_open(&none, "shm://..", nullptr, words, sizeof words) == -EINVAL, "open of a bad name");
    must(ipc_channel_list(&channel, 1) >= 1, "list");
    // Alone and full: it watches the folder, and ceases to when a receiver comes, which reads and is killed.
    while (ipc_sender_send(s, words, 100, 0, 0) == 0) {
    }
    must(ipc_sender_send(s, words, 100, 0, briefly) == -ETIMEDOUT, "send to nobody");
    uncancelled([&] { other.emplace(here.receiver()); });
    must(ipc_sender_send(s, words, 100, 0, briefly) == -ETIMEDOUT, "send to one that does not read");
    must(ipc_sender_arm(s) >= 0, "arm");
    uncancelled([&] {
        other->ask("hold 2");
        other->kill();
        other.reset();
    });
    must(ipc_sender_flush(s, briefly) > 0, "flush");
    ipc_sender_counters sc{};
    sc.struct_size = sizeof sc;
    must(ipc_sender_stats(s, &sc) == 0, "stats");
    must(ipc_sender_interrupt(s) == 0, "interrupt");
    must(ipc_sender_arm(s) == -ECANCELED, "arm");
    must(ipc_sender_end(s) == 0, "end");
    must(ipc_receiver_open(&r, "shm://t", nullptr, words, sizeof words) == 0, "open");
    must(ipc_sender_close(s, briefly) > 0, "close");
    ipc_message m = empty_message(), held = empty_message(), last = empty_message();
    must(ipc_receiver_receive(r, &held, limit_ns) == IPC_MESSAGE, "receive");
    while (ipc_receiver_receive(r, &m, limit_ns) == IPC_MESSAGE) ipc_receiver_release(r, &m);
    uncancelled([&] {
        other.emplace(here.sender());
        other->ask("send 1 1");
    });
    must(ipc_receiver_receive(r, &last, limit_ns) == IPC_MESSAGE, "receive from a second");
    uncancelled([&] {
        other->kill();
        other.reset();
    });
    must(ipc_receiver_receive(r, &m, limit_ns) == IPC_DIED, "receive a death");
    must(ipc_receiver_receive(r, &m, briefly) == -ETIMEDOUT, "receive nothing");
    must(ipc_receiver_arm(r) >= 0, "arm");
    ipc_link link{};
    link.struct_size = sizeof link;
    must(ipc_receiver_links(r, &link, 1) >= 1, "links");
    must(ipc_receiver_close(r) == 2, "close");
    must(ipc_receiver_release(r, &held) == 0, "release after close");
    must(ipc_receiver_release(r, &last) == 0, "the last release, which ends the receiver");
}

TEST_CASE_FIXTURE(scratch, "a thread with a cancellation pending gets through every call, whatever happens meanwhile") {
    somebody_was_killed(url);
    std::vector<std::string> wrong;
    CHECK(completes_though_cancelled(
        [&] {
            pthread_cancel(pthread_self());
            every_call(*this, wrong);
        },
        [](pid_t) {}));
    for (auto &what : wrong) FAIL_CHECK("not as it should be: " << what);
}
