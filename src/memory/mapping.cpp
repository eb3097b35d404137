#include "mapping.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "limits.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr int ring_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int link_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

[[noreturn]] void fail_to_map(std::size_t bytes) {
    fail(-errno, "cannot map {} bytes of memory: {}; raise `ulimit -v`, or free memory", bytes, errno_words(errno));
}

mapping map_once(int file, std::size_t bytes, int protection, std::uint64_t offset = 0) {
    void *p = mmap(nullptr, bytes, protection, MAP_SHARED, file, static_cast<off_t>(offset));
    if (p == MAP_FAILED) fail_to_map(bytes);
    mapping m(p, bytes);
    madvise(p, bytes, MADV_DONTFORK);
    return m;
}

// A forked child gets those that can be read only: its copies of the messages that are held point there.
mapping map_twice(int file, std::size_t bytes, int protection) {
    void *p = mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        fail(-errno, "cannot reserve {} bytes of address space: {}; raise `ulimit -v`, or take a smaller capacity",
             2 * bytes, errno_words(errno));
    mapping m(p, 2 * bytes);
    for (int half = 0; half < 2; ++half)
        if (mmap(m.get() + half * bytes, bytes, protection, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
            fail_to_map(bytes);
    if (protection & PROT_WRITE) madvise(p, 2 * bytes, MADV_DONTFORK);
    madvise(m.get() + bytes, bytes, MADV_DONTDUMP);  // a core has it once
    return m;
}

fd make_memfd(const std::string &name, std::uint64_t bytes) {
    // Some systems (vm.memfd_noexec) and sandboxes give none that could be executed; those before Linux 6.3 don't know.
    constexpr unsigned never_executed = 0x8;  // MFD_NOEXEC_SEAL of linux/memfd.h
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int number = memfd_create(name.c_str(), flags | never_executed);
    if (number < 0 && errno == EINVAL) number = memfd_create(name.c_str(), flags);
    fd file = made(number < 0 ? -errno : number, "a memory file");
    // Reserved here and now: memory that is promised only (ftruncate) is a SIGBUS when it turns out to be missing.
    int r;
    do r = fallocate(file.get(), 0, 0, static_cast<off_t>(bytes));
    while (r != 0 && errno == EINTR);
    if (r != 0)
        fail(-errno, "cannot reserve {} bytes of shared memory: {}; open with a smaller capacity, or free memory",
             bytes, errno_words(errno));
    return file;
}

void seal(const fd &file, int seals) {
    if (fcntl(file.get(), F_ADD_SEALS, seals) != 0)
        fail(-errno, "cannot seal shared memory: {}; Linux 5.14 has all that is needed", errno_words(errno));
}

void check_peer_file(int file, const char *what, std::uint64_t bytes, int seals) {
    struct stat s;
    if (fstat(file, &s) != 0 || !S_ISREG(s.st_mode)) fail(-EINVAL, "the {} is not a memory file", what);
    if (static_cast<std::uint64_t>(s.st_size) != bytes)
        fail(-EINVAL, "the {} has {} bytes where its hello says {}", what, s.st_size, bytes);
    int have = fcntl(file, F_GET_SEALS);
    if (have < 0) fail(-EINVAL, "the {} is not a memory file", what);
    if ((have & seals) != seals) fail(-EINVAL, "the {} is not sealed: its memory could be taken away", what);
}

}  // namespace

mapping::~mapping() {
    if (address_) munmap(address_, bytes_);
}

shared_memory make_ring(std::uint64_t capacity) {
    check_ring_limits(capacity);
    fd file = make_memfd("ipc-ring", capacity);
    mapping map = map_twice(file.get(), capacity, PROT_READ | PROT_WRITE);
    seal(file, ring_seals);
    return {std::move(file), std::move(map)};
}

fd make_link_memory(std::uint64_t bytes) {
    check_file_limit("a link's memory", bytes);
    if (bytes >= 1 << 20) check_memory_left("a link's memory", bytes);  // that of small rings is not worth the look
    fd file = make_memfd("ipc-link", bytes);
    seal(file, link_seals);
    return file;
}

mapping map_link_part(int file, std::uint64_t offset, std::uint64_t bytes) {
    return map_once(file, bytes, PROT_READ | PROT_WRITE, offset);
}

void empty_link_part(const mapping &part) { madvise(part.get(), part.size(), MADV_REMOVE); }

shared_memory make_status_memory(const std::string &name, std::size_t bytes) {
    check_file_limit("a status page", bytes);
    fd file = make_memfd(name, bytes);
    mapping map = map_once(file.get(), bytes, PROT_READ | PROT_WRITE);
    seal(file, ring_seals);
    return {std::move(file), std::move(map)};
}

mapping map_peer_ring(int file, std::uint64_t capacity) {
    check_peer_file(file, "ring", capacity, ring_seals);
    return map_twice(file, capacity, PROT_READ);
}

void check_peer_link(int file, std::uint64_t bytes) { check_peer_file(file, "link memory", bytes, link_seals); }

mapping make_private(std::size_t bytes) {
    void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail_to_map(bytes);
    return mapping(p, bytes);
}

}  // namespace libipc
