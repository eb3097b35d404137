// Every transport, as a type that a test case can run over: where its endpoints are, and what it promises.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "support.hpp"

// All of 127.0.0.0/8 is this machine's: where each process has an address of its own, no port is taken by what others
// listen to, or connect from.
inline std::string own_address() {
    static int ports = 0;
    int pid = getpid();
    return "127." + std::to_string(1 + (pid >> 16)) + '.' + std::to_string(pid >> 8 & 255) + '.' +
           std::to_string(pid & 255) + ':' + std::to_string(10'000 + ports++ % 20'000);
}

// Ends a child that sends until it is told to stop, once a few receivers have come and gone.
inline void outlive_receivers(child &sender, const std::string &url) {
    sender.expect("open");
    ipc_message m;
    for (int run = 0; run < 3; ++run) {
        rx r(url);
        for (int i = 0; i < 10; ++i) {
            REQUIRE(r.receive(m) == IPC_MESSAGE);
            r.release(m);
        }
    }
    rx r(url);
    REQUIRE(r.receive(m) == IPC_MESSAGE);
    r.release(m);
    sender.say("stop");
    int got;
    while ((got = r.receive(m)) == IPC_MESSAGE) r.release(m);
    CHECK(got == IPC_END);
    sender.hear();
    sender.hear();
    sender.done();
}

struct over_shm {
    static std::string url(const std::string &) { return "shm://t"; }
    static constexpr bool waits_for_receiver = true;  // what is sent before there is a receiver waits
    static constexpr bool tells_release = true;       // flush and close wait until messages are released
    static constexpr bool tells_death = true;
    static constexpr bool lossless = true;
};
struct over_unix {
    static std::string url(const std::string &folder) { return "unix://" + folder + "/socket"; }
    static constexpr bool waits_for_receiver = true, tells_release = true, tells_death = true, lossless = true;
};
struct over_tcp {
    static std::string url(const std::string &) { return "tcp://" + own_address(); }
    static constexpr bool waits_for_receiver = true, tells_release = true, tells_death = true, lossless = true;
};

struct over_pipe {
    static std::string url(const std::string &folder) { return "pipe://" + folder + "/fifo"; }
    static constexpr bool waits_for_receiver = true, tells_release = false, tells_death = true, lossless = true;
};

struct over_udp {
    static std::string url(const std::string &) { return "udp://" + own_address(); }
    static constexpr bool waits_for_receiver = false, tells_release = false, tells_death = false, lossless = false;
};

// Where the two sides open: by one name, but for what is inherited.
struct ends {
    std::string receiver, sender;
};

inline ends inherited(bool sockets) {
    int fds[2];
    REQUIRE((sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) : pipe2(fds, O_CLOEXEC)) == 0);
    return {"fd://" + std::to_string(fds[0]), "fd://" + std::to_string(fds[1])};
}

struct over_inherited_pipe {
    static ends make() { return inherited(false); }
    static constexpr bool waits_for_receiver = true, tells_release = false, tells_death = true, lossless = true;
};

struct over_inherited_socket {
    static ends make() { return inherited(true); }
    static constexpr bool waits_for_receiver = true, tells_release = true, tells_death = true, lossless = true;
};

// A test opens both, in whichever process: who opens an inherited one takes it.
template <class T>
ends ends_of(const std::string &folder) {
    if constexpr (requires { T::make(); }) {
        return T::make();
    } else {
        std::string url = T::url(folder);
        return {url, url};
    }
}

// Another place of the same transport, for what lies between a sender and its receiver.
template <class T>
std::string second_url(const std::string &first, const std::string &folder) {
    return first.starts_with("unix:") ? first + "-between" : T::url(folder);
}

// An inherited end is one process's, and has no name by which another sender could come, or the next receiver: cases of
// those run over what is named.
#define NAMED over_shm, over_unix, over_tcp, over_pipe, over_udp
#define INHERITED over_inherited_pipe, over_inherited_socket
#define ALL_TRANSPORTS NAMED, INHERITED
#define STREAMS over_unix, over_tcp, over_pipe, over_udp
#define CONNECTIONS over_unix, over_tcp
