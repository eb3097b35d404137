// What people are told on standard error. Whether anybody hears it changes nothing: it may be full, closed, or a pipe
// that nobody reads, and the command goes on.
#pragma once

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <concepts>
#include <csignal>
#include <ctime>
#include <string>
#include <string_view>

#include "../system/printable.hpp"

namespace cli {

inline void say_text(std::string_view text) noexcept {
    sigset_t pipe, before;  // SIGPIPE, which would end us
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    while (!text.empty()) {
        ssize_t n = write(STDERR_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        pollfd room{STDERR_FILENO, POLLOUT, 0};  // whoever shares it may have made it one that does not wait
        if (n < 0 && errno == EAGAIN && poll(&room, 1, 1000) == 1) continue;
        if (n < 0 && errno == EPIPE) {
            timespec at_once{};
            sigtimedwait(&pipe, nullptr, &at_once);
        }
        if (n < 0) break;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

namespace detail {

template <class T>
auto shown(const T &value) {
    if constexpr (std::convertible_to<const T &, std::string_view>)
        return libipc::printable(value);
    else
        return value;
}

}  // namespace detail

// Texts among the values are made printable.
template <class... Values>
void say(fmt::format_string<Values...> format, Values &&...values) {
    say_text([&](const auto &...shown) {
        return fmt::vformat(fmt::string_view(format), fmt::make_format_args(shown...));
    }(detail::shown(values)...));
}

}  // namespace cli
