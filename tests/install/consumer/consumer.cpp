// A program of somebody who has installed libipc. Exit status 0 if a message came through.
#include <cstdio>
#include <ipc/ipc.hpp>

int main() try {
    ipc::sender s("shm://consumer");
    ipc::receiver r("shm://consumer");
    s.send("hello", 7);
    auto e = r.receive(std::chrono::seconds(1));
    return e && e->what == ipc::event::message_came && e->message.text() == "hello" && e->message.tag() == 7 ? 0 : 3;
} catch (const std::system_error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
}
