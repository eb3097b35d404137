// What lies between senders and a receiver of udp: it passes on datagrams, of which some are lost, doubled or
// overtaken. It does so when it is told to, and never waits.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bare.hpp"

class unsure_datagrams {
  public:
    unsure_datagrams(const std::string &where, std::string to)
        : to_(std::move(to)), socket_(listen_bare(where, SOCK_DGRAM)) {}
    unsure_datagrams(const unsure_datagrams &) = delete;
    unsure_datagrams &operator=(const unsure_datagrams &) = delete;
    ~unsure_datagrams() {
        close(socket_);
        for (auto &[from, s] : senders_) close(s);
    }

    // All that is there. True if anything went by.
    template <class Dice>
    bool pass(Dice &random) {
        bool any = false;
        std::string bytes(65'536, '\0');
        sockaddr_in from{};
        socklen_t size = sizeof from;
        for (ssize_t n;
             (n = recvfrom(socket_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr *>(&from), &size)) >= 0;
             any = true) {
            int s = towards_receiver(from);
            if (s < 0) continue;
            std::string datagram(bytes, 0, static_cast<std::size_t>(n));
            switch (random.below(12)) {
                case 0:  // lost
                    break;
                case 1:  // overtaken
                    late_.emplace_back(s, std::move(datagram));
                    break;
                case 2:  // doubled
                    send(s, datagram.data(), datagram.size(), MSG_NOSIGNAL);
                    [[fallthrough]];
                default:
                    send(s, datagram.data(), datagram.size(), MSG_NOSIGNAL);
            }
            if (!late_.empty() && random.below(3) == 0) pass_late();
        }
        return any;
    }
    void pass_late() {
        for (auto &[s, datagram] : late_) send(s, datagram.data(), datagram.size(), MSG_NOSIGNAL);
        late_.clear();
    }

  private:
    // A receiver tells senders apart by where they send from.
    int towards_receiver(const sockaddr_in &from) {
        auto [at, fresh] = senders_.try_emplace(ntohs(from.sin_port), -1);
        if (at->second < 0) {
            bare_address a(to_);
            at->second = socket(a.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            if (at->second >= 0) (void)connect(at->second, a.get(), a.size);
        }
        return at->second;
    }

    std::string to_;
    int socket_;
    std::map<std::uint16_t, int> senders_;
    std::vector<std::pair<int, std::string>> late_;
};
