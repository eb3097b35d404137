// An error on a slow path: a code for programs, words for people. capi/ turns it into both; it never leaves the
// library.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "os.hpp"

namespace libipc {

struct failure : std::exception {
    failure(std::int32_t c, std::string w) : code(c), words(std::move(w)) {}
    std::int32_t code;  // one of ipc.h's
    std::string words;  // what was tried, what is in the way, what to do
};

template <class... Args>
[[noreturn]] void fail(std::int32_t code, fmt::format_string<Args...> words, Args &&...args) {
    throw failure(code, fmt::format(words, std::forward<Args>(args)...));
}

// -errno in words, and what to do where that is always the same. Without the global buffer of strerror.
std::string errno_words(int error);

// A caller's text as it may stand in words for people: in backticks, cut where it gets long, without control
// characters.
std::string quoted(std::string_view text);

// What a function that makes a descriptor returned, or a failure.
inline fd made(int r, const char *what) {
    if (r < 0) fail(r, "cannot make {}: {}", what, errno_words(-r));
    return fd(r);
}

}  // namespace libipc
