// Handles as people and other programs read them.
#pragma once

#include <ipc/ipc.hpp>
#include <set>
#include <string>
#include <vector>

namespace cli {

// A table of the handles, by channel. ids: of all handles that are to be seen. here: the runtime folder of this
// program.
std::string as_table(const std::vector<ipc_channel> &, const std::set<std::uint64_t> &ids, const std::string &here);

// An object for each, on a line.
std::string as_json(const std::vector<ipc_channel> &);

// What a process calls itself, in characters that harm no terminal.
std::string program(std::int32_t pid);
const char *role(const ipc_channel &);
const char *state(const ipc_channel_link &);

}  // namespace cli
