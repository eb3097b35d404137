// The tables for the terminal.
#include <fmt/format.h>

#include "results.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

namespace {

void print_floods(const results &all) {
    const std::string &ours = all.libraries[0];
    fmt::print(
        "\nThroughput. Every cache line is written and read. The bare ring (below {}) is our ring's loop without a "
        "library around it;\nthe floor (from there on) is plain shared memory of the ring's size, memset here, sum "
        "there, one flag a message.\nCPU time is of both sides together, spinning included.\n\n",
        bytes_text(floor_from));
    fmt::print("{:>8} {:>8}  {:<14} {:>12} {:>12} {:>24} {:>12} {:>12}\n", "message", "ring", "", "messages", "bytes",
               "libipc is times this", "CPU/msg", "switches/msg");
    for (auto &[size, row] : all.floods) {
        std::string first = fmt::format("{:>8} {:>8}", bytes_text(size), bytes_text(all.capacities.at(size)));
        std::vector<std::string> names{ideal_for(size)};
        names.insert(names.end(), all.peers.begin(), all.peers.end());
        names.insert(names.end(), all.libraries.begin(), all.libraries.end());
        for (const std::string &name : names) {
            auto found = row.find(name);
            if (found == row.end()) continue;
            const flood_result &r = found->second;
            double rate = spread_of(r.messages_per_s).median;
            fmt::print("{:17}  {:<14} {:>12} {:>12} {:>24} {:>12} {:>12.5f}\n", first, name, rate_text(rate),
                       bandwidth_text(rate * static_cast<double>(size)),
                       name == ours ? "" : spread_text(ratios(row.at(ours).messages_per_s, r.messages_per_s)),
                       time_text(spread_of(r.cpu_ns).median), spread_of(r.switches_per_message).median);
            first.clear();
        }
    }
}

void print_latency(const results &all, const std::string &name, const std::string &base) {
    auto found = all.latencies.find(name);
    if (found == all.latencies.end()) return;
    const latency_result &r = found->second;
    auto with = all.latencies.find(base);
    std::string times, cpu_times;
    if (with != all.latencies.end() && name != base) {
        times = spread_text(ratios(r.p50, with->second.p50));
        cpu_times = spread_text(ratios(r.cpu_ns, with->second.cpu_ns));
    }
    fmt::print("{:<22} {:>10} {:>10} {:>10} {:>10} {:>9} {:>22} {:>10} {:>22}\n", name,
               time_text(spread_of(r.p50).median), time_text(spread_of(r.p99).median),
               time_text(quantile(r.all, 0.999)), time_text(quantile(r.all, 1)), r.all.size(), times,
               time_text(spread_of(r.cpu_ns).median), cpu_times);
}

void print_latencies(const results &all) {
    fmt::print(
        "\nOne-way latency. p50 and p99: medians over rounds; p99.9 and max: over all samples. CPU: of both sides.\n"
        "spin: the receiver looks all the time, messages 2 us apart. asleep: it blocks, messages 1 ms apart.\n"
        "answered: both block, each sends once it has received, half the round trip. line: the same with two cache "
        "lines, both spinning.\n\n");
    fmt::print("{:<22} {:>10} {:>10} {:>10} {:>10} {:>9} {:>22} {:>10} {:>22}\n", "", "p50", "p99", "p99.9", "max",
               "samples", "p50, times the first", "CPU/msg", "CPU, times the first");
    print_latency(all, "line", "");
    for (const char *how : {"spin", "asleep", "answered"}) {
        std::string first = fmt::format("{} {}", how, std::string(how) == "spin" ? "line" : "eventfd");
        print_latency(all, first, "");
        for (const std::string &name : all.peers) print_latency(all, fmt::format("{} {}", how, name), first);
        for (const std::string &name : all.libraries) print_latency(all, fmt::format("{} {}", how, name), first);
    }
}

void print_crowds(const results &all) {
    if (!all.commits.empty()) {
        fmt::print("\nA commit of 64 B when there is room, by receivers, all awake: ");
        for (auto &[n, ns] : all.commits) fmt::print(" {}: {}", n, time_text(spread_of(ns).median));
        fmt::print("\n");
    }
    if (!all.crowds.empty()) {
        fmt::print("\n64 B from one sender, beside others that are idle: ");
        for (auto &[n, rates] : all.crowds) fmt::print(" {}: {}", n, rate_text(spread_of(rates).median));
        fmt::print("\n");
    }
}

}  // namespace

void print_tables(const results &all) {
    fmt::print("{}; {} rounds of {} s; processors {} and {}; {}\n", all.version, all.rounds, all.seconds,
               all.where.sender, all.where.receiver, all.kernel);
    fmt::print("Medians over rounds, quartiles in brackets; ratios are formed within each round.\n");
    if (!all.memcpys.empty()) {
        fmt::print("\nmemcpy, one thread: ");
        for (auto &[size, rates] : all.memcpys)
            fmt::print(" {} {}", bytes_text(size), bandwidth_text(spread_of(rates).median));
        fmt::print("\n");
    }
    if (!all.floods.empty()) print_floods(all);
    if (!all.latencies.empty()) print_latencies(all);
    print_crowds(all);
}

}  // namespace bench
