// Which source or outlet an endpoint has. Each is made in the file of its transport.
#pragma once

#include <memory>

#include "intake.hpp"
#include "outlet.hpp"
#include "site.hpp"

namespace libipc::stream {

// All throw failure.
std::unique_ptr<source> open_source(site &s, intake &in);
std::unique_ptr<outlet> open_outlet(site &s, outbox &out);

std::unique_ptr<source> listen_unix(site &s, intake &in);
std::unique_ptr<outlet> dial_unix(site &s, outbox &out);
std::unique_ptr<source> listen_tcp(site &s, intake &in);
std::unique_ptr<outlet> dial_tcp(site &s, outbox &out);
std::unique_ptr<source> read_fifo(site &s, intake &in);
std::unique_ptr<outlet> write_fifo(site &s, outbox &out);
std::unique_ptr<source> adopt_source(site &s, intake &in);
std::unique_ptr<outlet> adopt_outlet(site &s, outbox &out);
std::unique_ptr<source> bind_udp(site &s, intake &in);
std::unique_ptr<outlet> send_udp(site &s, outbox &out);

}  // namespace libipc::stream
