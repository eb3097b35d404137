// What lies between senders and a receiver of unix or tcp: it passes on what they say to each other, in pieces as they
// fall, and cuts a connection at any byte. It does so when it is told to, and never waits.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "bare.hpp"

class cut_connections {
  public:
    // One that has come to its end. A sender that was not answered can't know what of its first messages has come.
    struct ended {
        std::uint64_t sender;  // 0: it has not said who it is
        bool answered;
    };

    cut_connections(const std::string &where, std::string to) : to_(std::move(to)), listener_(listen_bare(where)) {
        if (where.starts_with("unix://")) path_ = where.substr(7);
    }
    cut_connections(const cut_connections &) = delete;
    cut_connections &operator=(const cut_connections &) = delete;
    ~cut_connections() {
        for (auto &c : all_) c.hang_up();
        close(listener_);
        if (!path_.empty()) unlink(path_.c_str());
    }

    // At most so many bytes each way of each. True if anything went by.
    bool pass(std::size_t most) {
        bool any = false;
        for (int s; (s = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0; any = true) {
            int to = try_connect_bare(to_);
            if (to < 0)
                close(s);
            else
                all_.push_back({{to, s}});
        }
        for (auto &c : all_) any |= c.pass(to_receiver, most) | c.pass(to_sender, most);
        bury();
        return any;
    }
    // One of them, after so many bytes more one way.
    void cut(std::size_t which, bool towards_sender, std::size_t after) {
        if (all_.empty()) return;
        auto c = std::next(all_.begin(), static_cast<std::ptrdiff_t>(which % all_.size()));
        c->pass(towards_sender ? to_sender : to_receiver, after);
        c->hang_up();
        bury();
    }
    // Those that came to their end since this was asked.
    std::vector<ended> take_ended() { return std::exchange(ended_, {}); }

  private:
    enum direction { to_receiver, to_sender };
    static constexpr std::size_t hello_bytes = 64, answer_bytes = 288, id_at = 32;

    struct connection {
        std::array<int, 2> to;  // the end that what goes this way is written to
        std::array<std::string, 2> waiting{};
        std::array<std::size_t, 2> passed{};
        std::array<bool, 2> over{};
        std::string said{};  // by the sender, at first

        bool pass(direction way, std::size_t most) {
            if (to[0] < 0 || over[way] || most == 0) return false;
            std::string &bytes = waiting[way];
            if (bytes.empty()) {
                char some[4096];
                ssize_t n = recv(to[1 - way], some, std::min(most, sizeof some), MSG_DONTWAIT);
                if (n < 0 && errno == EAGAIN) return false;
                if (n <= 0) return end(way);
                bytes.assign(some, static_cast<std::size_t>(n));
            }
            ssize_t n = send(to[way], bytes.data(), std::min(most, bytes.size()), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0) return errno != EAGAIN && end(way);
            if (way == to_receiver && said.size() < hello_bytes) said.append(bytes, 0, static_cast<std::size_t>(n));
            passed[way] += static_cast<std::size_t>(n);
            bytes.erase(0, static_cast<std::size_t>(n));
            return true;
        }
        // Nothing more goes this way. What is said the other way is still passed on.
        bool end(direction way) {
            over[way] = true;
            shutdown(to[way], SHUT_WR);
            if (over[1 - way]) hang_up();
            return true;
        }
        void hang_up() {
            for (int &end : to)
                if (end >= 0) close(std::exchange(end, -1));
        }
    };

    void bury() {
        std::erase_if(all_, [this](const connection &c) {
            if (c.to[0] >= 0) return false;
            ended e{0, c.passed[to_sender] >= answer_bytes};
            if (c.said.size() >= hello_bytes) std::memcpy(&e.sender, c.said.data() + id_at, sizeof e.sender);
            ended_.push_back(e);
            return true;
        });
    }

    std::string to_, path_;
    int listener_;
    std::list<connection> all_;
    std::vector<ended> ended_;
};
