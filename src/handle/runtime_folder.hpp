// Where handles meet that have no other place: the folder in which each channel has its own.
#pragma once

#include <string>

namespace libipc {

// $IPC_DIR, or else /dev/shm/ipc-UID; throws failure. A handle asks once: the environment may change while it lives.
std::string runtime_folder();

}  // namespace libipc
