// Programs nobody here wrote, on the other end: Python's socket and struct modules speak the framing from its
// description alone, and curl comes as a rude client.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "transports.hpp"

namespace {

bool is_installed(const std::string &program) {
    if (std::system(("command -v " + program + " >/dev/null").c_str()) == 0) return true;
    MESSAGE("skipped: no ", program);
    return false;
}

class program {
  public:
    explicit program(const std::string &line) : pid_(fork()) {
        if (pid_ != 0) return;
        execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
        _exit(127);
    }
    ~program() {
        if (pid_ > 0) waitpid(pid_, nullptr, 0);
    }
    int status() {
        int status = -1;
        if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) return -1;
        pid_ = -1;
        return WEXITSTATUS(status);
    }

  private:
    pid_t pid_;
};

constexpr char python_sender[] = R"(
import os, socket, struct, sys
def frame(kind, size=0, tag=0, sequence=0):
    return struct.pack('<4sBBHQQQ', b'ipcf', 2, kind, 0, size, tag, sequence)
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(frame(3, 56, 0, 1) + struct.pack('<QQQQQQiI', 4242, 1 << 20, 0, 0, 0, 0, os.getpid(), 0))
head = s.recv(32, socket.MSG_WAITALL)
magic, version, kind, zero, size, most, released = struct.unpack('<4sBBHQQQ', head)
assert magic == b'ipcf' and kind == 4 and released == 0
receiver, refused, pid = struct.unpack('<QIi', s.recv(size, socket.MSG_WAITALL)[:16])
assert refused == 0
for n in range(1, 101):
    payload = bytes([n]) * (n * 10)
    s.sendall(frame(1, len(payload), 1000 + n, n) + payload)
s.sendall(frame(6, 0, 0, 100))
while True:
    magic, version, kind, zero, size, delivered, released = struct.unpack('<4sBBHQQQ', s.recv(32, socket.MSG_WAITALL))
    assert kind == 5 and size == 8
    s.recv(size, socket.MSG_WAITALL)
    if released == 100: break
s.sendall(frame(2, 0, 0, 100))
)";

}  // namespace

TEST_CASE_FIXTURE(scratch, "Python sends frames by their description, and learns that all are released") {
    if (!is_installed("python3")) return;
    rx r("tcp://127.0.0.1:0");
    std::string url = ipc_receiver_url(r), script = folder() + "/sender.py";
    std::ofstream(script) << python_sender;
    program python("exec python3 " + script + " " + url.substr(url.rfind(':') + 1));
    for (std::uint64_t n = 1; n <= 100; ++n) {
        ipc_message m;
        REQUIRE(r.receive(m) == IPC_MESSAGE);
        CHECK(m.sender == 4242);
        CHECK(m.tag == 1000 + n);
        CHECK(m.sequence == n);
        CHECK(m.size == n * 10);
        CHECK(static_cast<const unsigned char *>(m.data)[m.size - 1] == n);
        r.release(m);
    }
    ipc_message m;
    CHECK(r.receive(m) == IPC_END);
    CHECK(python.status() == 0);
    unlink(script.c_str());
}

TEST_CASE_FIXTURE(scratch, "curl is refused, and a sender beside it does not notice") {
    if (!is_installed("curl")) return;
    rx r("tcp://127.0.0.1:0");
    std::string url = ipc_receiver_url(r);
    tx s(url);
    program curl("exec curl -s -m 20 http://127.0.0.1:" + url.substr(url.rfind(':') + 1) + "/ >/dev/null 2>&1");
    CHECK(eventually([&] { return r.stats().refused == 1; }));
    CHECK(curl.status() != 0);
    REQUIRE(s.send(1) == 0);
    CHECK(r.take() == 1);
}
