#include "transports.hpp"

#include <cerrno>

#include "system/failure.hpp"

namespace libipc::stream {

void open_source(any_source &into, site &s, intake &in) {
    int number = s.where.descriptor;
    switch (s.where.scheme) {
        case transport::unix_socket:
            return into.make<unix_listener>(s, in);
        case transport::tcp:
            return into.make<tcp_listener>(s, in);
        case transport::pipe:
            return into.make<pipe_source>(s, in);
        case transport::fd:
            if (is_socket(number, true))
                into.make<inherited_connection>(s, in, take_inherited(number, true, true));
            else
                into.make<inherited_source>(s, in, take_inherited(number, false, true));
            return close_inherited(number);
        case transport::udp:
            return into.make<udp_source>(s, in);
        case transport::shm:
            break;
    }
    fail(-EINVAL, "shared memory is no stream");
}

void open_outlet(any_outlet &into, site &s, outbox &out) {
    int number = s.where.descriptor;
    switch (s.where.scheme) {
        case transport::unix_socket:
            return into.make<unix_dialer>(s, out);
        case transport::tcp:
            return into.make<tcp_dialer>(s, out);
        case transport::pipe:
            return into.make<pipe_outlet>(s, out);
        case transport::fd:
            if (is_socket(number, false))
                into.make<inherited_dialer>(s, out, take_inherited(number, true, false));
            else
                into.make<inherited_outlet>(s, out, take_inherited(number, false, false));
            return close_inherited(number);
        case transport::udp:
            return into.make<udp_outlet>(s, out);
        case transport::shm:
            break;
    }
    fail(-EINVAL, "shared memory is no stream");
}

}  // namespace libipc::stream
