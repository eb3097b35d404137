// A program like any other that uses the library: something goes through each kind of channel. For tools that watch
// one.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <ipc/ipc.hpp>
#include <vector>

int main() try {
    char folder[] = "/tmp/ipc-plain-XXXXXX";
    if (!mkdtemp(folder) || setenv("IPC_DIR", folder, 1) != 0) return 2;
    std::string path = folder;
    bool all = true;
    for (const std::string &url : std::vector<std::string>{"shm://plain", "unix://" + path + "/socket",
                                                           "pipe://" + path + "/fifo", "udp://127.0.0.1:0"}) {
        ipc::receiver receiver(url);
        ipc::sender sender{std::string(receiver.url())};
        sender.send("hello", 7);
        sender.flush(std::chrono::milliseconds(1));
        auto event = receiver.receive(std::chrono::seconds(30));
        bool came = event && event->what == ipc::event::message_came && event->message.text() == "hello";
        if (!came) std::fprintf(stderr, "nothing came through %s\n", url.c_str());
        all &= came;
    }
    std::filesystem::remove_all(path);
    return all ? 0 : 1;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
