// A ring is its sender's: what a receiver gets of it can be read, and nothing else.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "forge.hpp"

using namespace forge;

TEST_CASE_FIXTURE(visited, "a receiver can't make a message's memory writable, nor have the kernel write there") {
    s.send(1);
    ipc_message m;
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    auto page = reinterpret_cast<std::uintptr_t>(m.data) & ~std::uintptr_t{4095};
    CHECK(mprotect(reinterpret_cast<void *>(page), 4096, PROT_READ | PROT_WRITE) == -1);
    CHECK(errno == EACCES);
    descriptor zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
    CHECK(read(zero.get(), const_cast<void *>(m.data), m.size) == -1);
    CHECK(errno == EFAULT);
    descriptor self(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    CHECK(pwrite(self.get(), "x", 1, static_cast<off_t>(reinterpret_cast<std::uintptr_t>(m.data))) == -1);
    CHECK(proven(m));
    CHECK(r.release(m) == 0);
}

TEST_CASE_FIXTURE(visited, "a receiver can neither write into the memory of a ring, nor cut it, nor punch a hole") {
    forged_receiver thief(channel);
    s.await_links(2);
    REQUIRE(thief.take_hello());
    CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, thief.ring.get(), 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    descriptor again(open(("/proc/self/fd/" + std::to_string(thief.ring.get())).c_str(), O_RDWR | O_CLOEXEC));
    for (int ring : {thief.ring.get(), again.get()}) {
        CHECK(pwrite(ring, "x", 1, 0) == -1);
        CHECK(errno == EPERM);
        CHECK(ftruncate(ring, 0) == -1);
        CHECK(errno == EPERM);
        CHECK(fallocate(ring, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1);
        CHECK(errno == EPERM);
    }
    struct stat now;
    REQUIRE(fstat(thief.ring.get(), &now) == 0);
    CHECK(static_cast<std::uint64_t>(now.st_size) == thief.hello.ring[0].capacity);
    CHECK(thief.answer() == 0);
    passes(3);
}
