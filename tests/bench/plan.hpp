// What is measured, of whom, and in which order.
#pragma once

#include <string>
#include <vector>

#include "results.hpp"
#include "rounds.hpp"

namespace bench {

struct plan {
    bool quick = false;
    double seconds = 0.1;  // of a measurement
    limits until;
    std::vector<std::size_t> sizes;
    std::size_t capacity = 1 << 20;  // of what has no ring that grows; more where four messages need it
    cpus where{};
    std::vector<std::string> parts;      // of the benchmark; empty: all
    std::vector<std::string> peers;      // empty: all
    std::vector<std::string> libraries;  // NAME=FILE: other builds, side by side
    std::string julia;                   // empty: without
    std::string commit;
};

std::size_t capacity_for(const plan &, std::size_t size);
results carry_out(const plan &);

// Julia's loops beside C++'s, into `found`; returns one of the series. Takes about julia_seconds().
double julia_seconds(const plan &);
const std::vector<double> &measure_julia(const plan &, results &found);

}  // namespace bench
