// A sender of the soak: sizes from nothing to half the largest ring, in bursts and with pauses, in place. Its ring
// grows for large messages, and while its receivers are stopped.
#include <ipc/ipc.h>
#include <unistd.h>

#include <random>

#include "board.hpp"

namespace soak {

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::uint64_t capacity = 64 << 10, most = 2 << 20;

}  // namespace

void run_sender(board &b, const char *url, std::uint32_t number, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    ledger &mine = b.senders[number];
    reloader may_reload(b);
    host h(std::make_unique<copy>());
    try {
        h.open_sender(url + ("?capacity=" + std::to_string(capacity) + "&max_capacity=" + std::to_string(most)));
    } catch (const std::exception &e) {
        return b.is_wrong("sender %u: %s", number, e.what());
    }
    auto s = [&] { return h.senders[0]; };  // another one after a reload
    ipc_sender_counters c{};
    c.struct_size = sizeof c;
    h.library->ipc_sender_stats(s(), &c);
    mine.id.store(c.id, std::memory_order_release);

    for (std::uint64_t sequence = 1; b.over.load(std::memory_order_relaxed) == 0 && mine.ended.load() == 0;
         ++sequence) {
        std::uint64_t dice = random();
        std::size_t size = dice % 1024 == 0 ? dice / 1024 % (most / 2)
                           : dice % 64 == 0 ? dice / 64 % (capacity / 2)
                           : dice % 8 == 0  ? dice / 8 % 4096
                                            : dice / 8 % 200;
        void *room;
        std::int32_t r;
        while ((r = h.library->ipc_sender_reserve(s(), size, &room, 2 * second)) != 0) {
            if (is_lack(r))
                usleep(1000);  // of what a larger ring needs
            else if (!only_waited(r))
                return b.is_wrong("sender %u: reserve: %s", number, h.library->ipc_strerror(r));
            if (b.over.load() != 0 || mine.ended.load() != 0) goto end;
        }
        may_reload(h, "sender");
        fill(room, size, c.id, sequence);
        mine.committing.store(sequence);
        if ((r = h.library->ipc_sender_commit(s(), size, c.id)) != 0)
            return b.is_wrong("sender %u: commit: %s", number, h.library->ipc_strerror(r));
        mine.committed.store(sequence);
        if (random() % 512 == 0) usleep(static_cast<useconds_t>(random() % 3000));
    }
end:
    // Lingers: whatever happens to the receiver meanwhile, its successor gets the rest.
    mine.ended.store(1);
    std::int32_t left = h.library->ipc_sender_close(s(), -1);
    h.senders.clear();
    if (left != 0) b.is_wrong("sender %u: close gave %d with an endless linger", number, left);
}

}  // namespace soak
