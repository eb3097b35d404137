// Handles of the library in tests' words, and payloads that prove themselves.
#pragma once

#include <ipc/ipc.h>

#include <cstdint>
#include <string>
#include <vector>

#include "waiting.hpp"

// A handle that opens or throws the library's words, and closes.
struct tx {
    explicit tx(const std::string &url = "shm://t", const ipc_sender_options *options = nullptr);
    tx(tx &&other) noexcept : h(other.h) { other.h = nullptr; }
    ~tx() { close(); }
    operator ipc_sender *() const { return h; }
    int send(std::uint64_t tag, std::size_t size = 64, std::int64_t timeout = limit_ns);  // a numbered payload
    void send_all(std::uint64_t first, std::uint64_t last, std::size_t size = 64);        // throws
    std::uint64_t fill_up(std::uint64_t first, std::size_t size = 64);  // until no more fits: how many it were
    int end() { return ipc_sender_end(h); }
    int close(std::int64_t linger = 0);
    ipc_sender_counters stats() const;
    std::vector<ipc_link> links() const;
    // Calls it until so many receivers are linked: while a user has too many descriptors in flight, none is.
    void await_links(std::uint64_t receivers) const;
    ipc_sender *h = nullptr;
};

// Events as words: a message is its tag, with a * if it is redelivered, and runs are drawn together: "1-3* 4-100 end".
class event_words {
  public:
    void message(std::uint64_t tag, bool redelivered);
    void word(const std::string &word);
    std::string text() const;

  private:
    std::string text_;
    std::uint64_t first_ = 0, last_ = 0;
    bool run_ = false, marked_ = false;  // of the run that may go on
};

struct rx {
    explicit rx(const std::string &url = "shm://t", const ipc_receiver_options *options = nullptr);
    rx(rx &&other) noexcept : h(other.h) { other.h = nullptr; }
    ~rx();
    operator ipc_receiver *() const { return h; }
    int receive(ipc_message &m, std::int64_t timeout = limit_ns);
    int release(const ipc_message &m) { return ipc_receiver_release(h ? h : closed, &m); }  // also after close
    // Receives a message, checks its payload, releases it, and returns its tag. Throws on anything else.
    std::uint64_t take(std::int64_t timeout = limit_ns);
    // The next events as words; also "died", and "nothing" if the time-out has passed, which is the last word then.
    // Messages are checked, and released, or kept in `held`.
    std::string read(int count, std::int64_t timeout = limit_ns) { return words(count, timeout, false); }
    std::string hold(int count, std::int64_t timeout = limit_ns) { return words(count, timeout, true); }
    int release_held(std::uint64_t tag);  // the first held one with this tag
    int close();
    ipc_receiver_counters stats() const;
    std::vector<ipc_link> links() const;
    std::vector<ipc_message> held;
    ipc_receiver *h = nullptr, *closed = nullptr;

  private:
    std::string words(int count, std::int64_t timeout, bool hold);
};

// A payload that proves itself: its bytes follow from tag and size.
void fill(void *data, std::size_t size, std::uint64_t tag);
bool proven(const ipc_message &m);

inline ipc_message empty_message() {
    ipc_message m{};
    m.struct_size = sizeof m;
    return m;
}
