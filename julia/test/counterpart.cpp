// What the tests of the Julia package have on the other side, in a process of its own.
//   counterpart send URL COUNT SIZE       sends COUNT messages that prove themselves, tagged from 1, and closes
//   counterpart die URL COUNT SIZE        as send, and kills itself before it closes
//   counterpart check URL COUNT           receives COUNT such messages and the end of their sender
//   counterpart echo URL-IN URL-OUT       sends back what it receives until the sender ends
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ipc/ipc.hpp>
#include <stdexcept>

#include "../../tests/patience.hpp"

using namespace std::chrono_literals;

namespace {

const auto patience = 20s * busyness();

// Byte i of the message with this tag.
std::byte proof(std::uint64_t tag, std::size_t i) { return static_cast<std::byte>(tag * 31 + i * 7); }

void send(const char *url, long count, std::size_t size, bool die) {
    ipc::sender s(url);
    for (long tag = 1; tag <= count; ++tag) {
        ipc::reservation room = s.reserve(size, patience);
        for (std::size_t i = 0; i < size; ++i) room.bytes()[i] = proof(tag, i);
        room.commit(size, tag);
    }
    if (die) {
        s.flush(patience);
        kill(getpid(), SIGKILL);
    }
    if (s.close(patience) != 0) throw std::runtime_error("not all was received");
}

void check(const char *url, long count) {
    ipc::receiver r(url);
    std::puts("ready");
    std::fflush(stdout);
    for (long tag = 1;; ++tag) {
        auto e = r.receive(patience);
        if (!e) throw std::runtime_error("nothing comes");
        if (e->what == ipc::event::sender_died) throw std::runtime_error("the sender died");
        if (e->what == ipc::event::sender_ended) {
            if (tag != count + 1) throw std::runtime_error("too few messages");
            return;
        }
        if (e->message.tag() != static_cast<std::uint64_t>(tag)) throw std::runtime_error("a wrong tag");
        auto bytes = e->message.bytes();
        for (std::size_t i = 0; i < bytes.size(); ++i)
            if (bytes[i] != proof(tag, i)) throw std::runtime_error("a wrong byte");
    }
}

void echo(const char *in, const char *out) {
    ipc::receiver r(in);
    ipc::sender s(out);
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        auto e = r.receive(patience);
        if (!e) throw std::runtime_error("nothing comes");
        if (e->what != ipc::event::message_came) break;
        s.send(e->message.bytes(), e->message.tag(), patience);
    }
    s.close(patience);
}

}  // namespace

int main(int count, char **arguments) try {
    std::string_view role = count > 1 ? arguments[1] : "";
    if ((role == "send" || role == "die") && count == 5)
        send(arguments[2], std::atol(arguments[3]), std::strtoull(arguments[4], nullptr, 10), role == "die");
    else if (role == "check" && count == 4)
        check(arguments[2], std::atol(arguments[3]));
    else if (role == "echo" && count == 4)
        echo(arguments[2], arguments[3]);
    else
        return std::fprintf(stderr, "counterpart: send, die, check or echo\n"), 2;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "counterpart: %s\n", e.what()), 1;
}
