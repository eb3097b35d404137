// What a run of the benchmark found, and the forms that it is told in.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "contender.hpp"

namespace bench {

// What was measured: of which part of the benchmark, of whom, with messages of which size, and how many of whatever is
// counted there: messages a second, receivers, senders.
struct key {
    std::string part, contender;
    std::size_t size = 0;
    double n = 0;
    auto operator<=>(const key &) const = default;
};

struct record {
    std::map<std::string, std::vector<double>> figures;  // by name, which ends in the unit; an entry for each round
    std::optional<histogram> latency;                    // ticks, of all rounds
};

// What it was measured on, and how quiet that was.
struct machine {
    std::string processor, kernel, library, commit, date;
    cpus where{};
    // Of the two processors' time: what went to others than the benchmark, and what the host of a virtual machine took.
    double others_share = 0, stolen_share = 0;
};

struct bar {
    std::string what;
    double figure, bar;
    bool at_least;
    std::string beside;  // what is not measured by the bar, but worth knowing with it
    bool met() const { return at_least ? figure >= bar : figure <= bar; }
};

struct results {
    machine on;
    double seconds = 0, took_s = 0;
    unsigned rounds = 0;
    std::vector<std::string> unsettled;  // groups of measurements whose medians still moved when it ended
    std::vector<std::string> failed;     // what could not be measured, and why
    std::map<std::string, contender::kind_type> contenders;
    std::map<key, record> records;

    // The figure of a record, or nullptr if it was not measured.
    const std::vector<double> *find(const key &k, const std::string &figure) const {
        auto r = records.find(k);
        if (r == records.end()) return nullptr;
        auto f = r->second.figures.find(figure);
        return f == r->second.figures.end() || f->second.empty() ? nullptr : &f->second;
    }
};

// Messages below this are compared with the bare ring, others with the floor, where one fills many cache lines.
inline constexpr std::size_t floor_from = 4096;
inline const char *ideal_for(std::size_t size) { return size < floor_from ? "bare ring" : "floor"; }

// Why the machine was too noisy for its figures to mean much; empty if it was not.
std::string noise_of(const results &);

void print_tables(const results &);
// What is aimed at, as far as it was measured.
std::vector<bar> bars_of(const results &);
void print_bars(const std::vector<bar> &);
// As JSON, of the form that results.schema.json states.
std::string document(const results &);

}  // namespace bench
