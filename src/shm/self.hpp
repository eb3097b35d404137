// What a handle on shared memory tells its peers of itself.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "folder.hpp"
#include "handle/runtime_folder.hpp"
#include "handle/url.hpp"
#include "system/os.hpp"

namespace libipc {

struct self {
    self() = default;
    explicit self(endpoint e)  // throws failure
        : where(std::move(e)),
          id(random_id()),
          membarrier(register_membarrier()),
          pid(own_pidfd()),
          runtime(runtime_folder()) {}

    endpoint where;
    std::uint64_t id = 0;
    bool membarrier = false;  // this process is registered for it
    fd pid;                   // a pidfd
    std::string runtime;      // the folder in which the channel's lies
    template <class Archive>
    void hand_over(Archive &a) {
        a(where, id, membarrier, pid, runtime);
    }
};

}  // namespace libipc
