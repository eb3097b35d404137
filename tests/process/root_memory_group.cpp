// A control group's memory limit: beyond it lies the kernel's out-of-memory killer and no error, so it is read first.
// Making a group needs root.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "refusal.hpp"

namespace fs = std::filesystem;

namespace {

// A group below this process's own, with a limit; none where that can't be made.
class memory_group {
  public:
    explicit memory_group(std::uint64_t limit_bytes) {
        std::ifstream own("/proc/self/cgroup");
        for (std::string line; path_.empty() && std::getline(own, line);) {
            std::string group = line.substr(line.rfind(':') + 1);
            if (line.find(":memory:") != line.npos)
                make("/sys/fs/cgroup/memory" + group, "/memory.limit_in_bytes", limit_bytes);
            else if (line.starts_with("0::"))
                make("/sys/fs/cgroup" + group, "/memory.max", limit_bytes);
        }
    }
    ~memory_group() {
        if (!path_.empty()) eventually([&] { return rmdir(path_.c_str()) == 0 || errno != EBUSY; });
    }
    explicit operator bool() const { return !path_.empty(); }
    const std::string &path() const { return path_; }

  private:
    void make(const std::string &parent, const std::string &limit, std::uint64_t bytes) {
        std::string path = parent + "/ipc-test-" + std::to_string(getpid());
        if (mkdir(path.c_str(), 0755) != 0) return;
        std::ofstream file(path + limit);
        file << bytes << std::flush;
        if (file)
            path_ = path;
        else
            rmdir(path.c_str());
    }
    std::string path_;
};

void enter_group(const std::string &path) {
    std::ofstream procs(path + "/cgroup.procs");
    procs << getpid() << std::flush;
    MUST(procs);
}

}  // namespace

ROLE(opens_in_a_group) {
    enter_group(me.arg(0));
    for (auto url : {"shm://t?capacity=256MiB", "shm://t?capacity=1MiB"}) {
        refusal s = try_sender(url);
        me.say(std::to_string(s.code) + " " + s.words);
    }
}

TEST_CASE_FIXTURE(scratch, "a ring beyond the control group's limit is refused in words, and a smaller one taken") {
    memory_group group(128 << 20);
    if (!group) {
        MESSAGE("skipped: no control group with a memory limit can be made");
        return;
    }
    child c = start("opens_in_a_group", {group.path()});
    std::string words = c.hear();
    CAPTURE(words);
    CHECK(words.starts_with(std::to_string(-ENOMEM) + " "));
    CHECK(words.find("ring of 268435456 bytes") != words.npos);
    CHECK(words.find("control group") != words.npos);
    CHECK(words.find("smaller capacity") != words.npos);
    c.expect("0 ");
    c.done();
}

// Reads a large file, so that the group is full of what the kernel can drop at any time.
ROLE(opens_in_a_group_full_of_files) {
    enter_group(me.arg(0));
    std::vector<char> part(1 << 20);
    std::uint64_t before = std::stoull(me.arg(2));
    for (int round = 0; round < 2; ++round) {
        int file = open(me.arg(1).c_str(), O_RDONLY | O_CLOEXEC);
        MUST(file >= 0);
        while (read(file, part.data(), part.size()) > 0) {
        }
        close(file);
    }
    refusal s = try_sender("shm://t?capacity=" + std::to_string(before));
    me.say(std::to_string(s.code) + " " + s.words);
}

TEST_CASE_FIXTURE(scratch, "what a control group has in use for files does not stand in a ring's way") {
    constexpr std::uint64_t limit_bytes = 160 << 20;
    memory_group group(limit_bytes);
    if (!group) {
        MESSAGE("skipped: no control group with a memory limit can be made");
        return;
    }
    // On a disk, and not in the page cache yet.
    std::string path = fs::temp_directory_path() / ("ipc-test-file-" + std::to_string(getpid()));
    {
        int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        REQUIRE(file >= 0);
        std::vector<char> part(1 << 20, 'x');
        for (int i = 0; i < 200; ++i) REQUIRE(write(file, part.data(), part.size()) == 1 << 20);
        REQUIRE(fsync(file) == 0);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        close(file);
    }
    child c = start("opens_in_a_group_full_of_files", {group.path(), path, std::to_string(64 << 20)});
    c.expect("0 ");
    c.done();
    unlink(path.c_str());
}
