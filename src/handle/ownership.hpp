// Whose a handle is: which process's, and which loaded copy of the library's. It costs a call one load and a compare.
//
// The words lie in a page of their own that stays where it is when the handle goes from copy to copy: freeze and adopt
// pass on its address. The kernel gives it to a forked child filled with zeros (MADV_WIPEONFORK).
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "memory/mapping.hpp"

namespace libipc {

// `alive` and `sleeper` are relaxed: the first is written before anybody knows the handle, and the second only tells a
// host that has let a thread into a call while it freezes; whatever a host hands from thread to thread it orders
// itself.
struct handle_words {
    std::atomic<std::uint32_t> alive;  // 1; 0 in a forked child
    std::atomic<bool> interrupted;     // sticky, also while the handle is frozen: whoever has it next is told
    std::atomic<pthread_t> sleeper;    // the thread that sleeps in a call of this handle, or 0
    std::uint64_t turn;                // another number each time that the handle is frozen, thawed or taken
    void *frozen;                      // the frozen handle, until it is thawed or forgotten
    std::uint64_t frozen_in;           // the copy of the library that this is an address in
};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

class ownership {
  public:
    ownership() = default;
    // A new handle's. Throws failure.
    static ownership take_new();

    // 0 if a call may go on, else what it returns.
    std::int32_t admit() { return words_->alive.load(std::memory_order_relaxed) != 0 ? 0 : claim(); }
    bool forked() const { return page()->alive.load(std::memory_order_relaxed) == 0; }
    // Of a handle that was forgotten nothing is ours.
    bool forgotten() const { return !page_; }
    handle_words *page() const { return reinterpret_cast<handle_words *>(page_.get()); }

    // A thread sleeps in a call. (Not the caller, though Julia may have thrown it out of that call.)
    bool busy() const;
    // From now on no call is admitted. Returns the turn, by which the state is known to be the last.
    std::uint64_t freeze(void *handle);
    // For an object made of a state frozen at `turn`: the first call that it admits takes the handle.
    void await(std::uint64_t turn);
    void thaw();
    // False if calls are admitted here, or in a forked child. Else the frozen handle can't be thawed any more.
    bool forget(void *handle);

    // Of a page that may be gone by now. 0 if it is.
    static std::uint64_t turn_at(const handle_words *page);
    // The frozen handle whose page it is, if this copy of the library has it.
    static void *frozen_here(const handle_words *page);

    template <class Archive>
    void hand_over(Archive &a) {
        a(page_);
        a.rebuilt(words_, awaited_);
    }

  private:
    [[gnu::noinline]] std::int32_t claim();

    const handle_words *words_ = &nobody;  // the page's, or those of nobody, by which no call is admitted
    mapping page_;
    std::uint64_t awaited_ = 0;
    static const handle_words nobody;
};

}  // namespace libipc
