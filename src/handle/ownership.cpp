#include "ownership.hpp"

#include <ipc/ipc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr std::size_t page_bytes = 4096;

// Names this copy of the library among all that were ever loaded, also into the same place.
std::uint64_t this_copy() {
    static const std::uint64_t id = random_id();
    return id;
}

// Whether there is a page, or it is gone by now. This system call reads its second argument and then refuses the first;
// it needs neither memory nor a descriptor.
bool is_mapped(const handle_words *page) {
    return syscall(SYS_rt_sigprocmask, ~0, page, nullptr, sizeof(std::uint64_t)) == -1 && errno != EFAULT;
}

}  // namespace

const handle_words ownership::nobody{};

ownership ownership::take_new() {
    ownership o;
    o.page_ = make_private(page_bytes);
    if (madvise(o.page_.get(), page_bytes, MADV_WIPEONFORK) != 0)
        fail(-errno, "the kernel has no MADV_WIPEONFORK ({}); Linux 5.14 or later is needed", errno_words(errno));
    auto *words = new (o.page_.get()) handle_words{};
    words->alive.store(1, std::memory_order_relaxed);
    words->turn = random_id();  // so that no other page ever has the same turn
    o.words_ = words;
    return o;
}

std::int32_t ownership::claim() {
    // Whoever took the handle in our place may have closed it, page and all.
    if (is_mapped(page()) && forked()) return IPC_EFORKED;
    if (awaited_ == 0 || turn_at(page()) != awaited_) return -EBUSY;
    thaw();
    return 0;
}

bool ownership::busy() const {
    pthread_t sleeper = page()->sleeper.load(std::memory_order_relaxed);
    return sleeper != 0 && sleeper != pthread_self();
}

std::uint64_t ownership::freeze(void *handle) {
    words_ = &nobody;
    page()->frozen = handle;
    page()->frozen_in = this_copy();
    return ++page()->turn;
}

void ownership::await(std::uint64_t turn) { awaited_ = turn; }

void ownership::thaw() {
    awaited_ = 0;
    page()->frozen = nullptr;
    ++page()->turn;
    words_ = page();
}

bool ownership::forget(void *handle) {
    if (words_ != &nobody || (is_mapped(page()) && forked())) return false;
    if (frozen_here(page()) == handle) page()->frozen = nullptr;
    return true;
}

std::uint64_t ownership::turn_at(const handle_words *page) { return is_mapped(page) ? page->turn : 0; }

void *ownership::frozen_here(const handle_words *page) {
    return is_mapped(page) && page->frozen_in == this_copy() ? page->frozen : nullptr;
}

}  // namespace libipc
