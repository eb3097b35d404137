// Whatever system call fails while a handle opens.
//
// Sanitizers make calls of their own in between, and can't bear it when these fail.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "each_fault.hpp"

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a sender opens, it says so, and keeps nothing") {
    each_fault(folder(), [] { return try_sender("shm://t"); });
}

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a receiver opens, it says so, and keeps nothing") {
    each_fault(folder(), [] { return try_receiver("shm://t"); });
}
#endif
