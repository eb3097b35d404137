// Which source or outlet an endpoint has. Each is in the file of its transport.
#pragma once

#include "inherited.hpp"
#include "one_of.hpp"
#include "pipe.hpp"
#include "tcp.hpp"
#include "udp.hpp"
#include "unix.hpp"

namespace libipc::stream {

using any_source =
    one_of<source, unix_listener, tcp_listener, pipe_source, inherited_connection, inherited_source, udp_source>;
using any_outlet = one_of<outlet, unix_dialer, tcp_dialer, pipe_outlet, inherited_dialer, inherited_outlet, udp_outlet>;

// Both throw failure.
void open_source(any_source &into, site &s, intake &in);
void open_outlet(any_outlet &into, site &s, outbox &out);

}  // namespace libipc::stream
