#include "runtime_folder.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "system/failure.hpp"

namespace libipc {

std::string runtime_folder() {
    if (const char *set = std::getenv("IPC_DIR"); set && *set) {
        std::string path = set;
        if (path.front() != '/')
            fail(-EINVAL,
                 "IPC_DIR is {}, a relative path, and would be another folder for each process; set it to an absolute "
                 "one, or unset it",
                 quoted(path));
        while (path.size() > 1 && path.back() == '/') path.pop_back();  // with it, open() follows a symbolic link
        return path;
    }
    // Of the places that anybody may write, the one that is the same for nearly all processes of a machine:
    // /run/user/UID comes and goes with logins, and many a service has a /tmp of its own.
    return fmt::format("/dev/shm/ipc-{}", geteuid());
}

}  // namespace libipc
