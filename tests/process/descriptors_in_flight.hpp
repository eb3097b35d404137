// Uses up what a user may have of descriptors on their way between processes: as many as a process may have open.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <vector>

#include "lowered_limit.hpp"

class all_in_flight {
  public:
    all_in_flight() {
        while (send_some()) {
        }
        fewer_.emplace(RLIMIT_NOFILE, 200);  // also when some of the others have arrived
    }
    ~all_in_flight() {
        for (int s : sockets_) close(s);
    }
    all_in_flight(const all_in_flight &) = delete;
    all_in_flight &operator=(const all_in_flight &) = delete;

  private:
    bool send_some() {
        if (sockets_.empty() || !send()) {
            if (errno == ETOOMANYREFS && !sockets_.empty()) return false;
            int pair[2];
            if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0)
                throw std::system_error(errno, std::generic_category(), "socketpair");
            sockets_.insert(sockets_.end(), pair, pair + 2);
        }
        return true;
    }
    bool send() {
        std::array<int, 32> fds;
        fds.fill(STDERR_FILENO);
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
        char byte = 0;
        iovec part{&byte, 1};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fds);
        std::memcpy(CMSG_DATA(c), fds.data(), sizeof fds);
        return sendmsg(sockets_[sockets_.size() - 2], &m, MSG_DONTWAIT) == 1;
    }
    lowered_limit user_{RLIMIT_NOFILE, 256};  // for less work; of whoever asks it is its own limit that counts
    std::optional<lowered_limit> fewer_;
    std::vector<int> sockets_;
};
