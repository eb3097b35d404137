// What the benchmark runs on, and who else uses it meanwhile.
#pragma once

#include <cstdint>

#include "results.hpp"

namespace bench {

machine this_machine();

// Looks at what both processors did from its making on.
class noise_meter {
  public:
    explicit noise_meter(const cpus &where) : where_(where), start_(now()) {}
    // Sets the two shares.
    void read(machine &) const;

  private:
    struct counts {
        std::uint64_t busy, stolen, all;  // clock ticks of both processors
        std::uint64_t own;                // of this process and its children
    };
    counts now() const;
    cpus where_;
    counts start_;
};

}  // namespace bench
