// What a sandbox (a seccomp filter: a container's, a service's) may refuse a process. Some system calls are done
// without, or have another in their place: see os.cpp. A handle that would need one of the others later, and find out
// then, or not at all, does not open.
#pragma once

#include <cstdint>

#include "url.hpp"

namespace libipc {

// For a handle of this role. Throws failure that names the call.
void check_calls(transport scheme, std::int32_t role);

}  // namespace libipc
