// What all handles of the user show of themselves, read from outside.
#pragma once

#include <ipc/ipc.h>

#include <vector>

namespace libipc {

// In order of URL, folder, role, pid. Processes that are gone meanwhile, or not ours, are passed over, and so are pages
// that can't be a handle's. Throws failure if no descriptor is free to look with.
std::vector<ipc_channel> list_channels();

// From where, and how far, that sees. Throws likewise.
ipc_channel_view view_of_channels();

}  // namespace libipc
