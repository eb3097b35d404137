#include "mapping.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "layout.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

constexpr int ring_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int link_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::optional<std::uint64_t> read_number(const std::string &path) {
    std::string text = read_file(path);
    std::uint64_t n;
    if (std::from_chars(text.data(), text.data() + text.size(), n).ec != std::errc()) return {};
    return n;
}

// The number after `name` in a file of lines "name number"; 0 if it is not there.
std::uint64_t field(const std::string &text, const std::string &name) {
    std::size_t at = ("\n" + text).find("\n" + name + " ");
    if (at == text.npos) return 0;
    at = text.find_first_of("0123456789", at + name.size());
    std::uint64_t n = 0;
    if (at != text.npos) std::from_chars(text.data() + at, text.data() + text.size(), n);
    return n;
}

// Bytes that the control groups of this process still allow, if any of them limits memory; exactly where that is less
// than `bytes`. Both hierarchies are looked at: version 2 under /sys/fs/cgroup, version 1 under /sys/fs/cgroup/memory;
// in a container the root is the group.
std::optional<std::uint64_t> left_in_cgroup(std::uint64_t bytes) {
    std::optional<std::uint64_t> least;
    auto look = [&](const std::string &folder, const char *limit, const char *used, const std::string &prefix) {
        auto most = read_number(folder + limit), now = read_number(folder + used);
        if (!most || !now) return;
        std::uint64_t left = *most > *now ? *most - *now : 0;
        if (left < bytes) {  // what holds files is dropped when it is wanted for something else
            std::string stat = read_file(folder + "memory.stat");
            left += field(stat, prefix + "inactive_file") + field(stat, prefix + "active_file");
        }
        if (!least || left < *least) least = left;
    };
    std::string groups = read_file("/proc/self/cgroup");
    for (std::size_t at = 0; at < groups.size();) {
        std::size_t end = std::min(groups.find('\n', at), groups.size());
        std::string_view line(groups.data() + at, end - at);
        at = end + 1;
        std::size_t second = line.find(':', line.find(':') + 1);
        if (second == line.npos) continue;
        bool v2 = line.starts_with("0::"), v1 = line.find(":memory:") != line.npos;
        if (!v1 && !v2) continue;
        std::string path(line.substr(second + 1));
        for (;;) {  // each group up to the root
            if (v2) look("/sys/fs/cgroup" + path + "/", "memory.max", "memory.current", "");
            if (v1)
                look("/sys/fs/cgroup/memory" + path + "/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_");
            if (path.empty()) break;
            path.resize(path.rfind('/') == path.npos ? 0 : path.rfind('/'));
        }
    }
    return least;
}

// Bytes that this machine can still give, if it says so.
std::optional<std::uint64_t> left_on_machine() {
    std::string text = read_file("/proc/meminfo");
    if (std::uint64_t available = field(text, "MemAvailable:")) return (available + field(text, "SwapFree:")) << 10;
    return {};
}

std::uint64_t mapped_now() {
    return read_number("/proc/self/statm").value_or(0) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Beyond it lies a signal.
void check_file_limit(const char *what, std::uint64_t bytes, const char *or_else = "") {
    rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes)
        fail(-ENOSPC,
             "{} of {} bytes is more than this process may write into a file (RLIMIT_FSIZE: {} bytes); raise "
             "`ulimit -f`{}",
             what, bytes, limit.rlim_cur, or_else);
}

// Beyond them lies the kernel's choice of a process to kill.
void check_memory_left(const char *what, std::uint64_t bytes) {
    if (auto left = left_in_cgroup(bytes); left && *left < bytes)
        fail(-ENOMEM,
             "{} of {} bytes is more than the control group of this process has left ({} bytes); raise its memory "
             "limit, or open with a smaller capacity",
             what, bytes, *left);
    if (auto left = left_on_machine(); left && *left < bytes)
        fail(-ENOMEM,
             "{} of {} bytes is more memory than this machine has left ({} bytes); end some programs, or open with a "
             "smaller capacity",
             what, bytes, *left);
}

void check_ring_limits(std::uint64_t capacity) {
    check_file_limit("a ring", capacity, ", or open with a smaller capacity");
    rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < mapped_now() + 2 * capacity)
        fail(-ENOMEM,
             "a ring of {} bytes is mapped twice, and that is more than the address space left to this process "
             "(RLIMIT_AS: {} bytes, {} in use); raise `ulimit -v`, or open with a smaller capacity",
             capacity, limit.rlim_cur, mapped_now());
    check_memory_left("a ring", capacity);
}

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

std::uint64_t most_ring_capacity() {
    auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    auto memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * page;
    return std::min<std::uint64_t>(memory / 4 / page * page, layout::most_capacity);
}

}  // namespace libipc
