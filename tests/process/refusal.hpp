// An open that is refused: its code and its words.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

#include "support.hpp"

struct refusal {
    int code = 0;
    std::string words;
    bool says(const std::string &part) const { return words.find(part) != words.npos; }
};

inline doctest::String toString(const refusal &r) { return (std::to_string(r.code) + " " + r.words).c_str(); }

// What open says of `url`; a handle that opens is closed. Throws if the out-parameter and the buffer are not as ipc.h
// promises.
template <class Handle, class Options, class Open, class Close>
refusal try_open(Open open, Close close, const std::string &url, const Options *options) {
    char words[1024];
    std::memset(words, 'x', sizeof words);
    auto *h = reinterpret_cast<Handle *>(&words);
    refusal r;
    r.code = open(&h, url.c_str(), options, words, sizeof words);
    if (!std::memchr(words, 0, sizeof words)) throw std::runtime_error("the words do not end");
    r.words = words;
    if ((h != nullptr) != (r.code == 0) || r.words.empty() != (r.code == 0))
        throw std::runtime_error("open has failed without words, or succeeded with some: " + r.words);
    if (h) close(h);
    return r;
}
inline refusal try_sender(const std::string &url, const ipc_sender_options *options = nullptr) {
    return try_open<ipc_sender>(
        ipc_sender_open, [](ipc_sender *s) { ipc_sender_close(s, 0); }, url, options);
}
inline refusal try_receiver(const std::string &url, const ipc_receiver_options *options = nullptr) {
    return try_open<ipc_receiver>(ipc_receiver_open, ipc_receiver_close, url, options);
}
