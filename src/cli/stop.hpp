// Ctrl-C and SIGTERM end what waits in the handle, and not the process: what is in hand is finished, and told. The
// second one ends the process, unless it is the first once more: timeout(1) sends each to its child, and to the group
// of both. What was ignored from the start, as Ctrl-C is by what a script runs in the background, is ignored still.
#pragma once

#include <csignal>
#include <ctime>
#include <ipc/ipc.hpp>

namespace cli {

inline volatile std::sig_atomic_t stopped_by = 0;  // the signal that came, if one has

inline constexpr long same_signal_ms = 300;

inline int stopped_status() { return 128 + stopped_by; }

namespace detail {

template <auto interrupt, class Handle>
void stop_on_signals(Handle *handle) {
    static Handle *waiting;
    waiting = handle;
    struct sigaction action {};
    action.sa_handler = [](int number) {
        static timespec first;
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (stopped_by == 0) {
            first = now;
            stopped_by = number;
        } else if ((now.tv_sec - first.tv_sec) * 1000 + (now.tv_nsec - first.tv_nsec) / 1'000'000 > same_signal_ms) {
            signal(number, SIG_DFL);
            raise(number);
            return;
        }
        interrupt(waiting);
    };
    for (int each : {SIGINT, SIGTERM}) {
        struct sigaction before {};
        sigaction(each, nullptr, &before);
        if (before.sa_handler != SIG_IGN) sigaction(each, &action, nullptr);
    }
}

}  // namespace detail

inline void stop_on_signals(ipc::sender &s) { detail::stop_on_signals<ipc_sender_interrupt>(s.get()); }
inline void stop_on_signals(ipc::receiver &r) { detail::stop_on_signals<ipc_receiver_interrupt>(r.get()); }

}  // namespace cli
