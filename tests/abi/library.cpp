#include "library.hpp"

#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

library::library() : handle_(dlopen(LIBIPC_PATH, RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) throw std::runtime_error(dlerror());
#define LIBRARY_LOOKUP(n)                                     \
    n = reinterpret_cast<decltype(&::n)>(dlsym(handle_, #n)); \
    if (!n) throw std::runtime_error(dlerror());
    LIBRARY_FUNCTIONS(LIBRARY_LOOKUP)
#undef LIBRARY_LOOKUP
}

library::~library() { dlclose(handle_); }

std::string header_text() {
    std::ifstream file(IPC_H);
    return {std::istreambuf_iterator<char>(file), {}};
}

#define MUST(condition)                                                                                 \
    do {                                                                                                \
        if (!(condition)) throw std::runtime_error(std::to_string(__LINE__) + ": not so: " #condition); \
    } while (0)

// One for the whole process: setenv keeps each value that it was ever given.
static const std::string &runtime_folder() {
    static const struct folder {
        std::string path = "/tmp/ipc-abi-XXXXXX";
        folder() { MUST(mkdtemp(path.data()) && setenv("IPC_DIR", path.c_str(), 1) == 0); }
        ~folder() { rmdir(path.c_str()); }
    } made;
    return made.path;
}

void use_everything(const library &ipc, const std::function<void()> &between) {
    constexpr std::int64_t second = 1'000'000'000;
    const std::string &folder = runtime_folder();
    char words[512];

    MUST(ipc.ipc_abi_version() == IPC_ABI_VERSION);
    MUST(std::strncmp(ipc.ipc_version(), "libipc ", 7) == 0);
    MUST(*ipc.ipc_strerror(-EPIPE) != 0);
    between();

    ipc_sender *s = nullptr;
    ipc_receiver *r = nullptr;
    MUST(ipc.ipc_sender_open(&s, "shm://../etc", nullptr, words, sizeof words) == -EINVAL);
    MUST(ipc.ipc_receiver_open(&r, "nats://host:1", nullptr, words, sizeof words) == -EOPNOTSUPP);
    MUST(ipc.ipc_sender_open(nullptr, nullptr, nullptr, nullptr, 0) == -EINVAL);
    between();
    // A stream brings libuv into the process, and takes it out again.
    MUST(ipc.ipc_receiver_open(&r, "tcp://127.0.0.1:0", nullptr, words, sizeof words) == 0);
    between();
    MUST(ipc.ipc_receiver_close(r) == 0);
    between();
    MUST(ipc.ipc_sender_open(&s, "shm://abi?capacity=64KiB", nullptr, words, sizeof words) == 0);
    MUST(ipc.ipc_receiver_open(&r, "shm://abi?from=oldest", nullptr, words, sizeof words) == 0);
    between();

    ipc_message m{}, held{};
    m.struct_size = held.struct_size = sizeof m;
    void *room = nullptr;
    MUST(ipc.ipc_receiver_receive(r, &m, 1000) == -ETIMEDOUT);
    MUST(ipc.ipc_sender_send(s, "held", 4, 1, second) == 0);
    MUST(ipc.ipc_receiver_receive(r, &held, second) == IPC_MESSAGE);
    for (int i = 0; i < 3000; ++i) {  // several times around the ring, and past what is counted before fences end
        MUST(ipc.ipc_sender_reserve(s, 60, &room, second) == 0);
        std::memset(room, i, 60);
        MUST(ipc.ipc_sender_commit(s, 60, 2) == 0);
        MUST(ipc.ipc_receiver_receive(r, &m, second) == IPC_MESSAGE);
        MUST(ipc.ipc_receiver_release(r, &m) == 0);
        if (i == 100) MUST(ipc.ipc_receiver_release(r, &held) == 0);
    }
    MUST(ipc.ipc_receiver_release(r, &m) == -ESTALE);
    MUST(ipc.ipc_sender_reserve(s, 1 << 20, &room, 0) == -EMSGSIZE);
    MUST(ipc.ipc_sender_reserve(s, 10, &room, 0) == 0);
    MUST(ipc.ipc_sender_abort(s) == 0);
    MUST(ipc.ipc_sender_commit(s, 10, 0) == -EINVAL);
    MUST(ipc.ipc_sender_flush(s, second) == 0);
    between();

    ipc_sender_counters sent{};
    sent.struct_size = sizeof sent;
    MUST(ipc.ipc_sender_stats(s, &sent) == 0 && sent.messages == 3001);
    ipc_receiver_counters got{};
    got.struct_size = sizeof got;
    MUST(ipc.ipc_receiver_stats(r, &got) == 0 && got.messages == 3001);
    ipc_link link{};
    link.struct_size = sizeof link;
    MUST(ipc.ipc_sender_links(s, &link, 1) == 1);
    MUST(ipc.ipc_receiver_links(r, &link, 1) == 1);
    std::vector<ipc_channel> channels(64);
    channels[0].struct_size = sizeof channels[0];
    MUST(ipc.ipc_channel_list(channels.data(), channels.size()) >= 2);
    ipc_channel_view view{};
    view.struct_size = sizeof view;
    MUST(ipc.ipc_channel_look(&view) == 0);
    MUST(std::strcmp(ipc.ipc_sender_url(s), ipc.ipc_receiver_url(r)) == 0);
    between();

    MUST(ipc.ipc_sender_interrupt(s) == 0);
    MUST(ipc.ipc_sender_flush(s, second) == -ECANCELED);
    MUST(ipc.ipc_receiver_interrupt(r) == 0);
    MUST(ipc.ipc_receiver_receive(r, &m, second) == -ECANCELED);
    while (ipc.ipc_receiver_arm(r) == 0) MUST(ipc.ipc_receiver_receive(r, &m, 0) == -EAGAIN);
    MUST(ipc.ipc_sender_arm(s) >= 0);
    pollfd p[] = {{ipc.ipc_receiver_fd(r), POLLIN, 0}, {ipc.ipc_sender_fd(s), POLLIN, 0}};
    MUST(ipc.ipc_sender_send(s, "held", 4, 3, second) == 0);
    MUST(poll(p, 2, 10'000) > 0);
    MUST(ipc.ipc_receiver_receive(r, &held, second) == IPC_MESSAGE);
    between();

    std::vector<char> state(1 << 16);
    int size = ipc.ipc_sender_freeze(s, state.data(), state.size());
    MUST(size > 0 && ipc.ipc_sender_end(s) == -EBUSY);
    MUST(ipc.ipc_sender_forget(s) == 0);
    MUST(ipc.ipc_sender_adopt(&s, state.data(), 1, words, sizeof words) == -EINVAL);
    MUST(ipc.ipc_sender_adopt(&s, state.data(), static_cast<std::size_t>(size), words, sizeof words) == 0);
    MUST(ipc.ipc_sender_forget(s) == 0);
    MUST(ipc.ipc_sender_adopt(&s, state.data(), static_cast<std::size_t>(size), words, sizeof words) == 0);
    size = ipc.ipc_receiver_freeze(r, state.data(), state.size());
    MUST(size > 0 && ipc.ipc_receiver_forget(r) == 0);
    MUST(ipc.ipc_receiver_adopt(&r, state.data(), static_cast<std::size_t>(size), words, sizeof words) == 0);
    between();

    MUST(ipc.ipc_sender_end(s) == 0);
    MUST(ipc.ipc_sender_send(s, "late", 4, 3, 0) == -EPIPE);
    MUST(ipc.ipc_receiver_receive(r, &m, second) == IPC_END);
    MUST(ipc.ipc_sender_close(s, 1000) == 1);
    MUST(ipc.ipc_receiver_close(r) == 1);
    MUST(ipc.ipc_receiver_release(r, &held) == 0);
    between();
    rmdir((folder + "/abi").c_str());
    MUST(rmdir(folder.c_str()) == 0);  // nothing else is in it
    MUST(mkdir(folder.c_str(), 0700) == 0);
}
