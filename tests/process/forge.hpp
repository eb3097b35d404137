// Peers that are no libipc: they speak its wire format by hand, rightly until a test makes them wrong. The format is
// src/memory/layout.hpp's, the one header of src/ that tests of several processes include, and only through this one.
//
// Nothing here waits for a peer: a handle of the library that lives in the same thread acts when it is called.
#pragma once

#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../../src/memory/layout.hpp"
#include "support.hpp"

namespace forge {

namespace layout = libipc::layout;

// An fd that is closed with its owner.
class descriptor {
  public:
    descriptor() = default;
    explicit descriptor(int number);  // throws if it is none
    descriptor(descriptor &&other) noexcept;
    descriptor &operator=(descriptor &&other) noexcept;
    ~descriptor();
    int get() const { return number_; }
    void reset() { *this = {}; }

  private:
    int number_ = -1;
};

inline constexpr int ring_seals = 0x1 | 0x2 | 0x4 | 0x10;  // SEAL, SHRINK, GROW, FUTURE_WRITE
inline constexpr int link_seals = 0x1 | 0x2 | 0x4;

// A memfd, mapped for writing and then sealed.
class memory {
  public:
    memory(std::uint64_t bytes, int seals);
    memory(memory &&other) noexcept;
    memory &operator=(memory &&) = delete;
    ~memory();
    int file() const { return file_.get(); }
    std::byte *at(std::uint64_t offset = 0) const { return at_ + offset; }

  private:
    std::uint64_t bytes_;
    descriptor file_;
    std::byte *at_;
};

struct heard {
    int size = -1;  // 0: hung up; negative: nothing is there
    std::vector<std::byte> bytes;
    std::vector<descriptor> fds;
};
heard hear(const descriptor &socket);
// 0 or -errno. Waits while this user has too many descriptors in flight.
int say(const descriptor &socket, std::span<const std::byte> bytes, std::span<const int> fds = {});
template <class Struct>
int say(const descriptor &socket, const Struct &what) {
    return say(socket, std::as_bytes(std::span(&what, 1)));
}

sockaddr_un address_of(const std::string &path);

// For the checks in a fixture's destructor, which must not throw.
template <class Checks>
void last_checks(Checks checks) {
    try {
        checks();
    } catch (const std::exception &error) {
        FAIL_CHECK(error.what());
    } catch (...) {  // a REQUIRE, which is told already
    }
}

// The names in a channel's folder that start so.
std::vector<std::string> names(const std::string &folder, const std::string &start);

// A sender with an empty ring.
class forged_sender {
  public:
    explicit forged_sender(std::uint64_t capacity = layout::least_capacity);

    // What is handed over; to be spoilt before.
    layout::hello hello{};
    std::vector<int> fds;

    bool connect(const std::string &folder);  // to the only receiver there; false if its queue is full
    int greet() { return say(socket, std::as_bytes(std::span(&hello, 1)), fds); }
    std::optional<layout::answer> answer();  // the next one; none if nothing is there
    bool hung_up();                          // and nothing more to hear

    layout::link_words &words() const { return *reinterpret_cast<layout::link_words *>(link.at()); }
    // Puts a frame's header at the head, which then is behind `length` bytes.
    void put(std::uint64_t word, std::uint64_t length, std::uint64_t tag = 0);
    // A message as `fill` makes them.
    void put_message(std::uint64_t tag, std::size_t size);
    void ring_data_bell();

    memory ring, link;
    std::byte *bits() const { return link.at(layout::link_words_bytes); }
    descriptor space_bell, pid;
    descriptor data_bell;  // comes with the answer
    descriptor socket;
    std::uint64_t head = 0;

  private:
    std::uint64_t capacity_;
};

// A receiver that listens under a name of its own, and has knocked.
class forged_receiver {
  public:
    explicit forged_receiver(const std::string &folder, std::uint32_t version = layout::version);
    ~forged_receiver();

    bool take_hello();  // false if no sender has come
    int answer() {
        int bell = data_bell.get();
        return say(socket, std::as_bytes(std::span(&yes, 1)), std::span(&bell, 1));
    }
    bool hung_up();

    layout::link_words &words() const { return *reinterpret_cast<layout::link_words *>(link_); }
    std::byte *bits() const { return bits_; }  // of the oldest ring

    layout::answer yes{};  // to be spoilt before it is given
    layout::hello hello{};
    std::string name;
    descriptor listener, socket;
    descriptor ring, space_bell;
    descriptor data_bell;  // given with the answer

  private:
    std::string path_;
    void let_go();
    std::byte *link_ = nullptr, *bits_ = nullptr;
    std::uint64_t bits_bytes_ = 0;
};

// An honest sender and receiver, linked, on a channel that is visited by others.
struct visited : scratch {
    visited() {
        s.await_links(1);
        passes(1);
        s.stats();  // takes the answer, and the bell that comes with it
    }
    // Messages go from one to the other, whatever else comes to the receiver.
    void passes(int messages);

    std::string channel = folder() + "/t";
    tx s{"shm://t?capacity=64KiB"};
    rx r;

  private:
    std::uint64_t sent_ = 0;
};

}  // namespace forge
