#include "transports.hpp"

#include <cerrno>

#include "../failure.hpp"

namespace libipc::stream {

std::unique_ptr<source> open_source(site &s, intake &in) {
    switch (s.where.scheme) {
        case transport::unix_socket:
            return listen_unix(s, in);
        case transport::tcp:
            return listen_tcp(s, in);
        case transport::pipe:
            return read_fifo(s, in);
        case transport::fd:
            return adopt_source(s, in);
        case transport::udp:
            return bind_udp(s, in);
        case transport::shm:
            break;
    }
    fail(-EINVAL, "shared memory is no stream");
}

std::unique_ptr<outlet> open_outlet(site &s, outbox &out) {
    switch (s.where.scheme) {
        case transport::unix_socket:
            return dial_unix(s, out);
        case transport::tcp:
            return dial_tcp(s, out);
        case transport::pipe:
            return write_fifo(s, out);
        case transport::fd:
            return adopt_outlet(s, out);
        case transport::udp:
            return send_udp(s, out);
        case transport::shm:
            break;
    }
    fail(-EINVAL, "shared memory is no stream");
}

}  // namespace libipc::stream
