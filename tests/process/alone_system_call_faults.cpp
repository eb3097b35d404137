// As system_call_faults.cpp, beside a receiver that does not look: what is said to it is in flight meanwhile, and of
// that a user has so much. Whoever runs beside it would lack it.
//
// Sanitizers make calls of their own in between, and can't bear it when these fail.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "each_fault.hpp"

TEST_CASE_FIXTURE(scratch, "whatever system call fails while a sender opens and connects, it says so or tries again") {
    rx r;
    each_fault("/nowhere", [] { return try_sender("shm://t"); });
    ipc_message m;
    int result;
    do result = r.receive(m, 0);
    while (result == IPC_END || result == IPC_DIED);
    CHECK(r.stats().deaths == 0);
    CHECK(r.stats().links == 0);
}
#endif
