// What killed processes leave in the runtime folder: their sockets, and the folders of channels that nobody opens
// again.
#pragma once

#include <string>

namespace libipc {

// Takes some of it away, whichever channel it is of; each handle does so before it makes a name. Throws bad_alloc.
void clear_litter(const std::string &runtime);

}  // namespace libipc
