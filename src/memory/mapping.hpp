// Shared memory: sealed memfds, mapped. What a peer could do to them is refused by the kernel, or checked here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "system/os.hpp"

namespace libipc {

// A mapping that goes with its owner. A forked child gets none of shared memory that can be written: it would write
// what is its parent's.
class mapping {
  public:
    mapping() = default;
    mapping(void *address, std::size_t bytes) : address_(address), bytes_(bytes) {}
    mapping(mapping &&other) noexcept
        : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    mapping &operator=(mapping &&other) noexcept {
        std::swap(address_, other.address_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~mapping();
    std::byte *get() const { return static_cast<std::byte *>(address_); }
    std::size_t size() const { return bytes_; }
    explicit operator bool() const { return address_ != nullptr; }
    // Of shared memory that can be written, in a forked child: there the address range is not mapped, or is something
    // else by now.
    void forget() { address_ = nullptr; }
    template <class Archive>
    void hand_over(Archive &a) {
        a.resource(address_, static_cast<void *>(nullptr));
        a(bytes_);
    }

  private:
    void *address_ = nullptr;
    std::size_t bytes_ = 0;
};

struct shared_memory {
    fd file;
    mapping map;
    template <class Archive>
    void hand_over(Archive &a) {
        a(file, map);
    }
};

// The sender's ring: `capacity` bytes, reserved, mapped writable twice in a row, then sealed so that no other process
// can write, shrink or grow it. Throws failure, also where limits.hpp says that there is no room.
shared_memory make_ring(std::uint64_t capacity);

// Memory that both sides of a link write, of fixed size. Throws failure.
fd make_link_memory(std::uint64_t bytes);
// A part of it, which begins at a page. Throws failure.
mapping map_link_part(int file, std::uint64_t offset, std::uint64_t bytes);
// Gives the memory of a part back, that nobody needs any more.
void empty_link_part(const mapping &part);

// A page that others read through /proc. Throws failure.
shared_memory make_status_memory(const std::string &name, std::size_t bytes);

// What came from a peer. They throw failure with words for the peer if it is not what it should be.
mapping map_peer_ring(int file, std::uint64_t capacity);
void check_peer_link(int file, std::uint64_t bytes);  // then map_link_part

// Private zeroed memory that takes space as it is touched. Throws failure.
mapping make_private(std::size_t bytes);

}  // namespace libipc
