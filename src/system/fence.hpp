// The instructions that C++ has no exact word for. No dependency on the rest of src/.
#pragma once

#include <atomic>

namespace libipc {

// Orders an earlier store before a later load, which release and acquire do not. A locked instruction on the own stack
// does what mfence does at half the price.
inline void full_fence() {
#if defined(__x86_64__)
    asm volatile("lock; orq $0, (%%rsp)" ::: "memory", "cc");
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Keeps the compiler from exchanging a store and a later load; the processor may still do so.
inline void compiler_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// Asks for a cache line that will be written. The compiler's own word for it asks for one to be read, unless it may
// take a processor of after 2014 for granted: the line is then fetched a second time by the first store. Older ones
// pass over the instruction.
inline void prefetch_for_writing(const void *p) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char *>(p)));
#else
    __builtin_prefetch(p, 1);
#endif
}

// Tells the processor that this is a spinning loop.
inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace libipc
