#include "board.hpp"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

namespace soak {

void board::is_wrong(const char *words, ...) {
    std::uint64_t n = wrong.fetch_add(1);
    if (n >= reasons) return;
    std::va_list arguments;
    va_start(arguments, words);
    std::vsnprintf(why[n], sizeof why[n], words, arguments);
    va_end(arguments);
}

ledger *board::find(std::uint64_t sender) {
    for (std::uint32_t i = next.load(); i-- > 0;)  // mostly one of the newest
        if (senders[i].id.load(std::memory_order_acquire) == sender) return &senders[i];
    return nullptr;
}

void reloader::operator()(host &h, const char *who) {
    std::uint32_t wanted = board_.reload.load(std::memory_order_relaxed);
    if (wanted == done_) return;
    std::unique_ptr<copy> next;
    try {
        next = std::make_unique<copy>(wanted % 2 ? next_build : this_build);
    } catch (const std::exception &) {
        return;  // no descriptor is free now: later
    }
    done_ = wanted;
    try {
        if (h.reload(std::move(next)) != 0) return board_.is_wrong("%s: reload: %s", who, h.words);
        board_.reloads.fetch_add(1);
    } catch (const std::exception &e) {
        board_.is_wrong("%s: reload: %s", who, e.what());
    }
}

board &make_board() {
    void *at = mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "the shared board");
    return *static_cast<board *>(at);  // all zero, which is what an empty one is
}

static std::uint64_t seed_of(std::size_t size, std::uint64_t sender, std::uint64_t sequence) {
    return (sender ^ sequence * 0x9e3779b97f4a7c15) + size;
}

void fill(void *data, std::size_t size, std::uint64_t sender, std::uint64_t sequence) {
    std::uint64_t word = seed_of(size, sender, sequence);
    auto *at = static_cast<char *>(data);
    for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
        std::memcpy(at, &word, sizeof word);
        word += 0x0101010101010101;
    }
    std::memcpy(at, &word, size);
}

bool proven(const void *data, std::size_t size, std::uint64_t sender, std::uint64_t sequence) {
    std::uint64_t word = seed_of(size, sender, sequence);
    auto *at = static_cast<const char *>(data);
    for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
        if (std::memcmp(at, &word, sizeof word) != 0) return false;
        word += 0x0101010101010101;
    }
    return std::memcmp(at, &word, size) == 0;
}

}  // namespace soak
