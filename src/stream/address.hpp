// Addresses of the internet: what an endpoint's host and port mean, and who is within a block of them. Names are looked
// up in /etc/hosts only: asking a name server takes a thread, or may take for ever.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "handle/url.hpp"

namespace libipc::stream {

struct address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    sockaddr *get() { return reinterpret_cast<sockaddr *>(&storage); }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
    int family() const { return storage.ss_family; }
    bool is_loopback() const;
    bool is_multicast() const;
    std::uint16_t port() const;
    std::string words() const;                    // 127.0.0.1:4000, [::1]:4000
    bool operator==(const address &other) const;  // of machine and port
    std::uint64_t as_id() const;                  // of machine and port: a number that others hardly have, never 0
};

// Throws failure.
address resolve(const any_endpoint &e);

// Who may talk to a receiver: everybody on this machine, and the blocks that `allow` names.
class allowed {
  public:
    allowed() = default;
    allowed(const any_endpoint &e, const address &bound);  // throws failure
    bool has(const address &peer) const;
    template <class Archive>
    void hand_over(Archive &a) {
        a(blocks_);
    }

  private:
    struct block {
        unsigned char bytes[16];  // IPv4 as ::ffff:a.b.c.d
        unsigned bits;
    };
    std::vector<block> blocks_;
};

address name_of_socket(int socket);
address peer_of_socket(int socket);

// A wish: a socket whose system refuses it works without.
void set_option(int socket, int level, int option, int value);
// Why a receiver can't have that address; `protocol` is "tcp" or "udp".
[[noreturn]] void fail_to_have(const address &wanted, const char *protocol, const char *attempt, int error);
// The URL of a receiver, which may have asked for any port.
std::string url_of(const char *protocol, const any_endpoint &e, std::uint16_t port);

}  // namespace libipc::stream
