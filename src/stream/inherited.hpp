// fd://N: a pipe or a connected socket that this process was given, by its parent or by its own code. It is the
// handle's from then on, and is closed with it; 0, 1 and 2 stay open, as programs count on them.
#pragma once

#include <cerrno>
#include <utility>

#include "connections.hpp"
#include "dialer.hpp"
#include "fifo.hpp"

namespace libipc::stream {

// What the descriptor of an endpoint is; throws failure if it can't be read from, or written to.
bool is_socket(int number, bool to_read);
// Ours, with whoever shares it not noticing: of a pipe, which has to be made non-blocking, that takes another open of
// the same end. Throws failure.
fd take_inherited(int number, bool socket, bool to_read);
// The number that it had, once the handle is sure to be one.
void close_inherited(int number);

class inherited_connection final : public connections {
  public:
    inherited_connection() = default;
    inherited_connection(site &s, intake &in, fd socket) : connections(s, in) { adopt(std::move(socket)); }
};

class inherited_dialer final : public dialer {
  public:
    inherited_dialer() = default;
    inherited_dialer(site &s, outbox &out, fd socket) : dialer(s, out) { adopt(std::move(socket)); }

  private:
    int dial(fd &) override { return -ENOTCONN; }
};

class inherited_source final : public fifo_source {
  public:
    inherited_source() = default;
    inherited_source(site &s, intake &in, fd pipe) : fifo_source(s, in) { read_from(std::move(pipe)); }
};

class inherited_outlet final : public fifo_outlet {
  public:
    inherited_outlet() = default;
    inherited_outlet(site &s, outbox &out, fd pipe) : fifo_outlet(s, out) { write_to(std::move(pipe)); }

  private:
    int open(fd &) override { return -EPIPE; }
};

}  // namespace libipc::stream
