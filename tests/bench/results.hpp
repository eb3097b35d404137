// What a run of the benchmark found, and the forms that it is told in.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "contender.hpp"

namespace bench {

// Each vector has an entry for each round.
struct flood_result {
    std::vector<double> messages_per_s, switches_per_message, waits_per_message;
    std::vector<double> cpu_ns;  // a message, both sides together
};

struct latency_result {
    std::vector<double> p50, p99;
    std::vector<double> cpu_ns;  // a message, both sides together
    std::vector<double> all;     // ns, the samples of all rounds
};

struct results {
    std::string version, kernel;
    unsigned rounds = 0;
    double seconds = 0;
    cpus where{};
    std::vector<std::string> libraries;  // the first is the one that others are compared with
    std::vector<std::string> peers;
    std::map<std::size_t, std::vector<double>> memcpys;                 // by size: bytes per second
    std::map<std::size_t, std::size_t> capacities;                      // by size of the message
    std::map<std::size_t, std::map<std::string, flood_result>> floods;  // by size of the message, and contender
    std::map<std::string, latency_result> latencies;                    // by "how contender"
    std::map<std::size_t, std::vector<double>> commits;                 // by number of receivers: ns a commit
    std::map<std::size_t, std::vector<double>> crowds;  // by number of idle senders: messages per second
};

// Messages below this are compared with the bare ring, others with the floor, where one fills many cache lines.
inline constexpr std::size_t floor_from = 4096;
inline const char *ideal_for(std::size_t size) { return size < floor_from ? "bare ring" : "floor"; }

void print_tables(const results &);
// What is aimed at, and whether it was met. Prints nothing of what was not measured.
void print_bars(const results &);
// As JSON.
std::string document(const results &);

}  // namespace bench
