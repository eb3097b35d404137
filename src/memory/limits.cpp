#include "limits.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "layout.hpp"
#include "system/failure.hpp"

namespace libipc {

namespace {

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

}  // namespace

void check_file_limit(const char *what, std::uint64_t bytes, const char *or_else) {
    rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes)
        fail(-ENOSPC,
             "{} of {} bytes is more than this process may write into a file (RLIMIT_FSIZE: {} bytes); raise "
             "`ulimit -f`{}",
             what, bytes, limit.rlim_cur, or_else);
}

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

std::uint64_t most_ring_capacity() {
    auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    auto memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * page;
    return std::min<std::uint64_t>(memory / 4 / page * page, layout::most_capacity);
}

}  // namespace libipc
