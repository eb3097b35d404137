// Runs julia.jl, and takes what it says.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <sstream>

#include "plan.hpp"

namespace bench {

namespace {

constexpr unsigned forms = 9;  // as many as julia.jl has, about

unsigned rounds_of(const plan &p) { return p.quick ? 1 : 9; }
double seconds_of(const plan &p) { return p.quick ? 0.03 : 0.2; }
const char *sizes_of(const plan &p) { return p.quick ? "64,65536" : "64,1024,65536,1048576"; }

std::string quoted(const std::string &word) {
    std::string text = "'";
    for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return text + "'";
}

}  // namespace

double julia_seconds(const plan &p) {
    return 10 + (rounds_of(p) + 1) * forms * (p.quick ? 2 : 4) * (seconds_of(p) + 0.15);
}

const std::vector<double> &measure_julia(const plan &p, results &found) {
    std::string command =
        fmt::format("LIBIPC_LIBRARY={} exec taskset -c {} {} --startup-file=no --project={} -O2 {} {} {} {} {} {}",
                    quoted(BENCH_LIBRARY), p.where.receiver, quoted(p.julia), quoted(BENCH_SOURCE "/julia"),
                    quoted(BENCH_SOURCE "/tests/bench/julia.jl"), quoted(BENCH_FLOOD), p.where.sender, seconds_of(p),
                    rounds_of(p), sizes_of(p));
    std::unique_ptr<FILE, int (*)(FILE *)> out(popen(command.c_str(), "r"), pclose);
    if (!out) throw std::runtime_error("Julia can't be started");
    char line[512];
    const std::vector<double> *one = nullptr;
    while (std::fgets(line, sizeof line, out.get())) {
        std::istringstream words(line);
        key k;
        std::string size, figure, value;
        if (std::getline(words, k.part, '\t') && std::getline(words, k.contender, '\t') &&
            std::getline(words, size, '\t') && std::getline(words, figure, '\t') && std::getline(words, value)) {
            k.size = std::stoull(size);
            std::vector<double> &series = found.records[k].figures[figure];
            series.push_back(std::stod(value));
            one = &series;
            show_progress(fmt::format("{}, {}, {} B", k.part, k.contender, k.size));
        } else {
            throw std::runtime_error(fmt::format("Julia said: {}", line));
        }
    }
    if (pclose(out.release()) != 0 || !one) throw std::runtime_error("Julia failed; what it said is above");
    return *one;
}

}  // namespace bench
