// Messages as people and other programs read them.
#pragma once

#include <ipc/ipc.hpp>
#include <string>

namespace cli {

// As `hexdump -C` has it, under a line that says which message it is.
std::string as_hex(const ipc::message &);

// One object on a line.
std::string as_json(const ipc::message &);

}  // namespace cli
