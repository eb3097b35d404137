// Tells a forked child that a handle is not its own, for the price of a load: one page that the kernel gives to a child
// filled with zeros (MADV_WIPEONFORK).
#pragma once

namespace libipc {

class fork_guard {
  public:
    fork_guard();  // throws failure
    ~fork_guard();
    fork_guard(const fork_guard &) = delete;
    fork_guard &operator=(const fork_guard &) = delete;
    bool forked() const { return *page_ == 0; }

  private:
    volatile int *page_;
};

}  // namespace libipc
