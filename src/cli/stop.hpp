// Ctrl-C and SIGTERM end what waits in the handle, and not the process: what is in hand is finished, and told. The
// second one ends the process.
#pragma once

#include <csignal>
#include <ipc/ipc.hpp>

namespace cli {

inline volatile std::sig_atomic_t stopped_by = 0;  // the signal that came, if one has

inline int stopped_status() { return 128 + stopped_by; }

namespace detail {

template <auto interrupt, class Handle>
void stop_on_signals(Handle *handle) {
    static Handle *waiting;
    waiting = handle;
    struct sigaction action {};
    action.sa_handler = [](int number) {
        stopped_by = number;
        for (int each : {SIGINT, SIGTERM}) signal(each, SIG_DFL);
        interrupt(waiting);
    };
    for (int each : {SIGINT, SIGTERM}) sigaction(each, &action, nullptr);
}

}  // namespace detail

inline void stop_on_signals(ipc::sender &s) { detail::stop_on_signals<ipc_sender_interrupt>(s.get()); }
inline void stop_on_signals(ipc::receiver &r) { detail::stop_on_signals<ipc_receiver_interrupt>(r.get()); }

}  // namespace cli
