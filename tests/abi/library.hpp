// The library as a host loads it by hand: by dlopen, name by name.
#pragma once

#include <ipc/ipc.h>

#include <functional>
#include <string>

#define LIBRARY_FUNCTIONS(f)                                                                                      \
    f(ipc_abi_version) f(ipc_version) f(ipc_strerror) f(ipc_channel_list) f(ipc_channel_look) f(ipc_sender_open)  \
        f(ipc_sender_reserve) f(ipc_sender_commit) f(ipc_sender_abort) f(ipc_sender_send) f(ipc_sender_end)       \
            f(ipc_sender_flush) f(ipc_sender_interrupt) f(ipc_sender_arm) f(ipc_sender_fd) f(ipc_sender_url)      \
                f(ipc_sender_stats) f(ipc_sender_links) f(ipc_sender_close) f(ipc_receiver_open)                  \
                    f(ipc_receiver_receive) f(ipc_receiver_release) f(ipc_receiver_interrupt) f(ipc_receiver_arm) \
                        f(ipc_receiver_fd) f(ipc_receiver_url) f(ipc_receiver_stats) f(ipc_receiver_links)        \
                            f(ipc_receiver_close) f(ipc_sender_freeze) f(ipc_sender_adopt) f(ipc_sender_forget)   \
                                f(ipc_receiver_freeze) f(ipc_receiver_adopt) f(ipc_receiver_forget)

class library {
  public:
    library();  // throws std::runtime_error
    ~library();
    library(const library &) = delete;
    library &operator=(const library &) = delete;

#define LIBRARY_MEMBER(name) decltype(&::name) name = nullptr;
    LIBRARY_FUNCTIONS(LIBRARY_MEMBER)
#undef LIBRARY_MEMBER

  private:
    void *handle_;
};

// Calls each function of the library, most of them also in vain, in a runtime folder that is made for it. After each
// stretch, `between` is called. Throws std::runtime_error if a function gives what it must not.
void use_everything(
    const library &ipc, const std::function<void()> &between = [] {});

// The text of ipc.h.
std::string header_text();
