// The benchmark: see run.sh, and plan.hpp for what it does.
#include <fmt/format.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "clock.hpp"
#include "ours.hpp"
#include "plan.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace {

using namespace bench;

// The channels of the benchmark lie in a folder of their own: nobody else's senders and receivers come in.
struct own_folder {
    std::string path;
    own_folder() {
        const char *tmp = getenv("TMPDIR");
        path = fmt::format("{}/libipc-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(path.data())) throw std::runtime_error(fmt::format("cannot make {}", path));
        setenv("IPC_DIR", path.c_str(), 1);
    }
    ~own_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};

void write(const std::string &path, const std::string &text) {
    std::ofstream file(path);
    file << text;
    if (!file.flush()) throw std::runtime_error(fmt::format("cannot write {}", path));
}

void run(const plan &p, const std::string &json_file, double flood_seconds) {
    own_folder folder;
    calibrate_ticks();
    if (flood_seconds > 0) {
        std::size_t size = p.sizes[0];
        const board &b = shared_memory_of("libipc", "").flood({p.where, capacity_for(p, size), flood_seconds}, size);
        fmt::print("{} messages, {}\n", b.messages, rate_text(b.messages_per_s));
        return;
    }
    results all = carry_out(p);
    if (!json_file.empty()) write(json_file, document(all));
    print_tables(all);
    print_bars(bars_of(all));
    if (all.rounds > 0 && !has_enough_rounds(all.rounds))
        fmt::print("\n{} rounds are too few to tell whether the medians have settled.\n", all.rounds);
    else if (!all.unsettled.empty())
        fmt::print("\nStill moving after {} rounds: {}.\n", all.rounds, fmt::join(all.unsettled, "; "));
    for (const std::string &what : all.failed) fmt::print("\nFAILED: {}\n", what);
    if (std::string why = noise_of(all); !why.empty())
        fmt::print("\nThe machine was too noisy: {}. Measure again.\n", why);
    if (!all.failed.empty()) throw std::runtime_error("not all could be measured");
}

}  // namespace

int main(int argc, char **argv) {
    CLI::App app{"libipc beside other ways between processes, and beside what the machine gives, interleaved"};
    plan p;
    std::string json_file;
    std::vector<int> where;
    double flood_seconds = 0, minutes = 20;
    app.add_flag("--quick", p.quick, "2 rounds, few sizes, under a minute: a glance, not a measurement");
    auto *seconds = app.add_option("--seconds", p.seconds, "of each measurement (0.1)")->check(CLI::Range(0.01, 60.0));
    auto *rounds = app.add_option("--rounds", p.until.most, "at most (15); 5 at least, until the medians settle")
                       ->check(CLI::Range(1, 1000));
    app.add_option("--minutes", minutes, "begin no round with which all would take longer than this (20)");
    auto *sizes = app.add_option("--sizes", p.sizes, "of messages, multiples of 8; with B, KB, MB as units of 1024")
                      ->delimiter(',')
                      ->transform(CLI::AsSizeValue(false))
                      ->check(CLI::Validator(
                          [](std::string &s) {
                              return std::stoull(s) % 8 || s == "0" ? "not a multiple of 8: " + s : std::string();
                          },
                          ""));
    app.add_option("--capacity", p.capacity,
                   "of what has no ring that grows (1 MB); larger where four messages need it")
        ->transform(CLI::AsSizeValue(false));
    app.add_option("--json", json_file, "write all of it to this file, too");
    app.add_option("--only", p.parts, "these parts of it")
        ->delimiter(',')
        ->check(CLI::IsMember({"throughput", "latency", "rates", "crowds", "past", "calls", "julia", "idle"}));
    app.add_option("--peers", p.peers,
                   "only these: pipe, unix stream, unix seqpacket, tcp, posix mq, boost, zeromq, nng, libipc pipe, "
                   "libipc unix, "
                   "libipc tcp, libipc udp")
        ->delimiter(',');
    app.add_option("--cpus", where, "the processors of sender and receiver (the first two that are allowed)")
        ->delimiter(',')
        ->expected(2);
    app.add_option("--library", p.libraries,
                   "NAME=FILE: another build of the library, measured side by side; repeatable");
    app.add_option("--flood", flood_seconds,
                   "only this: libipc, the first of the sizes, for so many seconds (for profilers)");
    app.add_option("--julia", p.julia, "the julia whose loops are measured, too");
    app.add_option("--commit", p.commit, "what is measured, for the results");
    CLI11_PARSE(app, argc, argv);
    if (p.quick && seconds->empty()) p.seconds = 0.02;
    if (p.quick && rounds->empty()) p.until.most = 2;
    if (p.quick || !rounds->empty()) p.until.fewest = std::min(p.until.fewest, p.until.most);
    p.until.seconds = minutes * 60;
    if (sizes->empty()) {
        p.sizes = {8, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20};
        if (p.quick) p.sizes = {64, 1 << 10, 64 << 10, 1 << 20, 16 << 20};
    }
    try {
        p.where = where.empty() ? default_cpus() : cpus{where[0], where[1]};
        run(p, json_file, flood_seconds);
    } catch (const std::exception &e) {
        fmt::print(stderr, "bench: {}\n", e.what());
        return 1;
    }
}
