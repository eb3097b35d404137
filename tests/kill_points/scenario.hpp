// What is interrupted, and what the survivor must find then.
#pragma once

#include <string>
#include <vector>

namespace kill_points {

struct scenario {
    const char *name;
    const char *role;        // in the process that is killed
    bool every_instruction;  // or only where others may see another state: see tracee::step_visible
    // Makes the survivor before the role runs, and checks it after the kill. Throws std::runtime_error if something is
    // not as it must be.
    void (*run)(const scenario &, unsigned long point, bool &reached_end);
    bool slow = false;  // a second each time: a sample has fewer points of it
};

const std::vector<scenario> &scenarios();

// The process that is killed.
int play(const std::string &role);

}  // namespace kill_points
