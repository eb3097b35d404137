#include "fork_guard.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "failure.hpp"

namespace libipc {

namespace {
constexpr std::size_t page_bytes = 4096;
}

fork_guard::fork_guard() {
    void *p = mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail(-errno, "cannot map a page of memory: {}", errno_words(errno));
    if (madvise(p, page_bytes, MADV_WIPEONFORK) != 0) {
        int error = errno;
        munmap(p, page_bytes);
        fail(-error, "the kernel has no MADV_WIPEONFORK ({}); Linux 5.14 or later is needed", errno_words(error));
    }
    page_ = static_cast<int *>(p);
    *page_ = 1;
}

fork_guard::~fork_guard() { munmap(const_cast<int *>(page_), page_bytes); }

}  // namespace libipc
