// The benchmark: all contenders in turn, round after round, so that what the machine does meanwhile meets them all.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include "clock.hpp"
#include "contender.hpp"
#include "results.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace {

using namespace bench;

struct options {
    bool quick = false;
    double seconds = 0.1;
    unsigned rounds = 15;
    std::vector<std::size_t> sizes{8, 64, 960, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20};
    std::size_t capacity = 1 << 20;
    std::string json_file;
    std::vector<std::string> libraries;
    std::vector<std::string> peers;
    std::vector<int> cpus;
    std::string only;
    double flood_seconds = 0;
};

class benchmark {
  public:
    explicit benchmark(const options &o)
        : options_(o), where_(o.cpus.empty() ? default_cpus() : cpus{o.cpus[0], o.cpus[1]}) {
        libraries_.push_back({"libipc", {}});
        found_.version = libraries_[0].second.version();
        found_.kernel = kernel();
        found_.rounds = o.rounds;
        found_.seconds = o.seconds;
        found_.where = where_;
        for (auto &all : {kernel_peers(), library_peers()})
            for (const peer &p : all)
                if (o.peers.empty() || std::count(o.peers.begin(), o.peers.end(), p.name)) peers_.push_back(p);
        for (const std::string &given : o.libraries) {
            auto at = given.find('=');
            std::string path = at == given.npos ? given : given.substr(at + 1);
            if (path.find('/') == path.npos) path = "./" + path;
            libraries_.push_back({at == given.npos ? given : given.substr(0, at), {path}});
        }
        for (const peer &p : peers_) found_.peers.push_back(p.name);
        for (auto &[name, lib] : libraries_) found_.libraries.push_back(name);
    }

    void run() {
        if (wants("raw")) {
            for (std::size_t size : {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20})
                jobs_.push_back([this, size] { found_.memcpys[size].push_back(memcpy_rate(of(0), size)); });
        }
        if (wants("throughput")) add_floods();
        if (wants("crowds")) add_crowds();
        if (wants("latency") || wants("raw")) {
            latency("line", [this] { return &answered_line(of(0)); });
        }
        if (wants("latency")) {
            latency("spin line", [this] { return &spin_line(of(0)); });
            for (auto &[name, lib] : libraries_) latency("spin " + name, [this, &lib] { return &lib.spin(of(0)); });
            for (const char *how : {"asleep", "answered"}) {
                bool asleep = *how == 'a' && how[1] == 's';
                latency(fmt::format("{} eventfd", how),
                        [this, asleep] { return &(asleep ? asleep_eventfd(longer()) : answered_eventfd(of(0))); });
                for (const peer &p : peers_)
                    latency(fmt::format("{} {}", how, p.name),
                            [this, asleep, &p] { return &(asleep ? p.asleep(longer()) : p.answered(of(0))); });
                for (auto &[name, lib] : libraries_)
                    latency(fmt::format("{} {}", how, name),
                            [this, asleep, &lib] { return &(asleep ? lib.asleep(longer()) : lib.answered(of(0))); });
            }
        }
        for (unsigned round = 0; round < options_.rounds; ++round) {
            if (isatty(2)) fmt::print(stderr, "\rround {} of {} ", round + 1, options_.rounds);
            // Each round starts elsewhere and alternates its direction, so that no one always comes after the same.
            for (std::size_t i = 0; i < jobs_.size(); ++i) {
                std::size_t at = (i + round * 7) % jobs_.size();
                jobs_[round % 2 == 0 ? at : jobs_.size() - 1 - at]();
            }
        }
        if (isatty(2)) fmt::print(stderr, "\r{:30}\r", "");
    }

    const results &found() const { return found_; }

  private:
    bool wants(const char *what) const { return options_.only.empty() || options_.only == what; }
    static std::string kernel() {
        utsname u;
        uname(&u);
        return fmt::format("{} {} {}", u.sysname, u.release, u.machine);
    }

    // At least four of the message.
    std::size_t capacity_for(std::size_t size) const { return std::max(options_.capacity, 4 * size); }
    setting of(std::size_t size) const { return {where_, capacity_for(size), options_.seconds}; }
    // Messages 1 ms apart need longer for a percentile.
    setting longer() const { return {where_, options_.capacity, 3 * options_.seconds}; }

    void add_floods() {
        for (std::size_t size : options_.sizes) {
            found_.capacities[size] = capacity_for(size);
            for (const peer &p : peers_)
                if (size <= p.most) flood(size, p.name, [this, size, &p] { return &p.flood(of(size), size); });
            flood(size, ideal_for(size),
                  [this, size] { return &(size < floor_from ? flood_bare : flood_floor)(of(size), size); });
            for (auto &[name, lib] : libraries_)
                flood(size, name, [this, size, &lib] { return &lib.flood(of(size), size); });
        }
    }

    void add_crowds() {
        const libipc &lib = libraries_[0].second;
        for (unsigned n : {1u, 2u, 4u, 16u})
            jobs_.push_back([this, &lib, n] {
                measured(fmt::format("{} receivers", n),
                         [&] { found_.commits[n].push_back(1e9 / lib.commits(of(64), n).messages_per_s); });
            });
        for (unsigned n : {0u, 1000u})
            jobs_.push_back([this, &lib, n] {
                measured(fmt::format("{} idle senders", n),
                         [&] { found_.crowds[n].push_back(lib.among_idle(of(64), n).messages_per_s); });
            });
    }

    template <class Measure>
    void measured(const std::string &what, Measure measure) {
        try {
            measure();
        } catch (const std::exception &e) {
            throw std::runtime_error(fmt::format("{}: {}", what, e.what()));
        }
    }

    void flood(std::size_t size, const std::string &name, std::function<const board *()> measure) {
        jobs_.push_back([=, this] {
            measured(fmt::format("throughput, {}, {}", bytes_text(size), name), [&] {
                const board &b = *measure();
                flood_result &r = found_.floods[size][name];
                auto n = static_cast<double>(b.messages);
                r.messages_per_s.push_back(b.messages_per_s);
                r.switches_per_message.push_back(static_cast<double>(b.switches[0] + b.switches[1]) / n);
                r.waits_per_message.push_back(static_cast<double>(b.waits + b.rings) / n);
                r.cpu_ns.push_back(static_cast<double>(b.cpu_ns[0] + b.cpu_ns[1]) / n);
            });
        });
    }

    void latency(const std::string &name, std::function<const board *()> measure) {
        jobs_.push_back([=, this] {
            measured("latency, " + name, [&] {
                const board &b = *measure();
                std::vector<double> ns;
                for (std::size_t i = 0; i < b.samples_taken; ++i) ns.push_back(to_ns(b.samples[i]));
                latency_result &r = found_.latencies[name];
                r.p50.push_back(quantile(ns, 0.5));
                r.p99.push_back(quantile(ns, 0.99));
                r.cpu_ns.push_back(static_cast<double>(b.cpu_ns[0] + b.cpu_ns[1]) / static_cast<double>(b.messages));
                r.all.insert(r.all.end(), ns.begin(), ns.end());
            });
        });
    }

    options options_;
    cpus where_;
    std::vector<std::pair<std::string, libipc>> libraries_;
    std::vector<peer> peers_;
    std::vector<std::function<void()>> jobs_;
    results found_;
};

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

int run(const options &o) {
    own_folder folder;
    calibrate_ticks();
    if (o.flood_seconds > 0) {
        cpus where = o.cpus.empty() ? default_cpus() : cpus{o.cpus[0], o.cpus[1]};
        const board &b = libipc().flood({where, std::max(o.capacity, 4 * o.sizes[0]), o.flood_seconds}, o.sizes[0]);
        fmt::print("{} messages, {}, {} waits, {} bells\n", b.messages, rate_text(b.messages_per_s), b.waits, b.rings);
        return 0;
    }
    benchmark all(o);
    all.run();
    print_tables(all.found());
    print_bars(all.found());
    if (!o.json_file.empty()) {
        std::ofstream file(o.json_file);
        file << document(all.found()) << '\n';
        if (!file.flush()) throw std::runtime_error(fmt::format("cannot write {}", o.json_file));
    }
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    CLI::App app{
        "libipc against a pipe and against what the machine gives: throughput and one-way latency, interleaved"};
    options o;
    app.add_flag("--quick", o.quick, "3 rounds of 0.05 s: a glance, not a measurement");
    auto *seconds = app.add_option("--seconds", o.seconds, "of each measurement (0.1)")->check(CLI::Range(0.01, 60.0));
    auto *rounds = app.add_option("--rounds", o.rounds, "how often each is measured (15)")->check(CLI::Range(1, 1000));
    app.add_option("--sizes", o.sizes, "of messages, multiples of 8; with B, KB, MB as units of 1024")
        ->delimiter(',')
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Validator(
            [](std::string &s) { return std::stoull(s) % 8 || s == "0" ? "not a multiple of 8: " + s : std::string(); },
            ""));
    app.add_option("--capacity", o.capacity, "of the ring (1 MB); larger where four messages need it")
        ->transform(CLI::AsSizeValue(false));
    app.add_option("--json", o.json_file, "write all of it to this file, too");
    app.add_option("--only", o.only, "one part of it")
        ->check(CLI::IsMember({"raw", "throughput", "latency", "crowds"}));
    app.add_option("--peers", o.peers,
                   "only these: pipe, unix stream, unix seqpacket, tcp, posix mq, boost, zeromq, nng")
        ->delimiter(',');
    app.add_option("--cpus", o.cpus, "the processors of sender and receiver (the first two that are allowed)")
        ->delimiter(',')
        ->expected(2);
    app.add_option("--library", o.libraries,
                   "NAME=FILE: another build of the library, measured side by side; repeatable");
    app.add_option("--flood", o.flood_seconds,
                   "only this: libipc, the first of the sizes, for so many seconds (for profilers)");
    CLI11_PARSE(app, argc, argv);
    if (o.quick) {
        if (seconds->empty()) o.seconds = 0.05;
        if (rounds->empty()) o.rounds = 3;
    }
    try {
        return run(o);
    } catch (const std::exception &e) {
        fmt::print(stderr, "bench: {}\n", e.what());
        return 1;
    }
}
