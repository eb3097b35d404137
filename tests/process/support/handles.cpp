#include "handles.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

void fill(void *data, std::size_t size, std::uint64_t tag) {
    auto *bytes = static_cast<unsigned char *>(data);
    for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<unsigned char>((tag + i * 7 + size) * 31 >> 2);
}

bool proven(const ipc_message &m) {
    auto *bytes = static_cast<const unsigned char *>(m.data);
    for (std::size_t i = 0; i < m.size; i++)
        if (bytes[i] != static_cast<unsigned char>((m.tag + i * 7 + m.size) * 31 >> 2)) return false;
    auto alignment = reinterpret_cast<std::uintptr_t>(m.data) % (m.size >= 256 ? 64 : 16);
    return alignment == 0 && m.data;
}

static void opened(int result, const char *words) {
    if (result < 0) throw std::runtime_error(std::string(ipc_strerror(result)) + ": " + words);
}

tx::tx(const std::string &url, const ipc_sender_options *options) {
    char words[1024];
    opened(ipc_sender_open(&h, url.c_str(), options, words, sizeof words), words);
}

int tx::send(std::uint64_t tag, std::size_t size, std::int64_t timeout) {
    void *room = nullptr;
    int result = ipc_sender_reserve(h, size, &room, timeout);
    if (result < 0) return result;
    fill(room, size, tag);
    return ipc_sender_commit(h, size, tag);
}

void tx::send_all(std::uint64_t first, std::uint64_t last, std::size_t size) {
    for (std::uint64_t tag = first; tag <= last; ++tag)
        if (int r = send(tag, size); r != 0)
            throw std::runtime_error("send of " + std::to_string(tag) + ": " + ipc_strerror(r));
}

std::uint64_t tx::fill_up(std::uint64_t first, std::size_t size) {
    std::uint64_t count = 0;
    int r;
    while ((r = send(first + count, size, 0)) == 0) ++count;
    if (r != -EAGAIN) throw std::runtime_error(std::string("send: ") + ipc_strerror(r));
    return count;
}

int tx::close(std::int64_t linger) { return ipc_sender_close(std::exchange(h, nullptr), linger); }

ipc_sender_counters tx::stats() const {
    ipc_sender_counters c{};
    c.struct_size = sizeof c;
    if (ipc_sender_stats(h, &c) != 0) throw std::runtime_error("stats");
    return c;
}

void tx::await_links(std::uint64_t receivers) const {
    if (!eventually([&] { return stats().links == receivers; })) throw std::runtime_error("await_links");
}

template <class Handle>
static std::vector<ipc_link> links_of(Handle *h, std::int32_t (*read)(Handle *, ipc_link *, std::size_t)) {
    std::vector<ipc_link> links(1024);
    links[0].struct_size = sizeof(ipc_link);
    int count = read(h, links.data(), links.size());
    if (count < 0 || count > 1024) throw std::runtime_error("links");
    links.resize(static_cast<std::size_t>(count));
    return links;
}
std::vector<ipc_link> tx::links() const { return links_of(h, ipc_sender_links); }
std::vector<ipc_link> rx::links() const { return links_of(h, ipc_receiver_links); }

rx::rx(const std::string &url, const ipc_receiver_options *options) {
    char words[1024];
    opened(ipc_receiver_open(&h, url.c_str(), options, words, sizeof words), words);
}

rx::~rx() {
    if (!h) return;
    for (auto &m : held) release(m);  // else it would live on, as nobody would release them any more
    close();
}

int rx::receive(ipc_message &m, std::int64_t timeout) {
    m = empty_message();
    return ipc_receiver_receive(h, &m, timeout);
}

std::uint64_t rx::take(std::int64_t timeout) {
    ipc_message m;
    int result = receive(m, timeout);
    if (result != IPC_MESSAGE)
        throw std::runtime_error("receive gave " + std::to_string(result) + (result < 0 ? ipc_strerror(result) : ""));
    if (!proven(m)) throw std::runtime_error("the payload of message " + std::to_string(m.sequence) + " is wrong");
    if (release(m) != 0) throw std::runtime_error("release");
    return m.tag;
}

void event_words::message(std::uint64_t tag, bool redelivered) {
    if (!run_ || tag != last_ + 1 || redelivered != marked_) {
        word({});
        run_ = true;
        first_ = tag;
        marked_ = redelivered;
    }
    last_ = tag;
}

void event_words::word(const std::string &word) {
    text_ = text();
    run_ = false;
    if (!text_.empty() && !word.empty()) text_ += ' ';
    text_ += word;
}

std::string event_words::text() const {
    if (!run_) return text_;
    return text_ + (text_.empty() ? "" : " ") + std::to_string(first_) +
           (last_ == first_ ? "" : "-" + std::to_string(last_)) + (marked_ ? "*" : "");
}

std::string rx::words(int count, std::int64_t timeout, bool hold) {
    event_words said;
    for (int i = 0; i < count; ++i) {
        ipc_message m;
        int result = receive(m, timeout);
        if (result == IPC_MESSAGE) {
            said.message(m.tag, m.flags & IPC_REDELIVERED);
            if (!proven(m)) said.word("WRONG");
            if (hold)
                held.push_back(m);
            else if (release(m) != 0)
                said.word("UNRELEASED");
        } else {
            said.word(result == IPC_END                           ? "end"
                      : result == IPC_DIED                        ? "died"
                      : result == -ETIMEDOUT || result == -EAGAIN ? "nothing"
                                                                  : ipc_strerror(result));
            if (result < 0) break;
        }
    }
    return said.text();
}

int rx::release_held(std::uint64_t tag) {
    auto found = std::find_if(held.begin(), held.end(), [&](const ipc_message &m) { return m.tag == tag; });
    if (found == held.end()) throw std::runtime_error("message " + std::to_string(tag) + " is not held");
    ipc_message m = *found;
    held.erase(found);
    return release(m);
}

int rx::close() {
    closed = std::exchange(h, nullptr);
    return ipc_receiver_close(closed);
}

ipc_receiver_counters rx::stats() const {
    ipc_receiver_counters c{};
    c.struct_size = sizeof c;
    if (ipc_receiver_stats(h, &c) != 0) throw std::runtime_error("stats");
    return c;
}
