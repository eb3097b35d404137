// Where the two builds of the library lie. Apart, so that nothing else is compiled anew for another build folder.
#include "host.hpp"

const std::string this_build = LIBIPC_THIS_BUILD;
const std::string next_build = LIBIPC_NEXT_BUILD;
