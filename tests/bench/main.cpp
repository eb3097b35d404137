// The benchmark: all contenders in turn, round after round, so that what the machine does meanwhile meets them all;
// then medians and quartiles over the rounds, and each ratio formed within its round.
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
#include <map>
#include <nlohmann/json.hpp>

#include "clock.hpp"
#include "contender.hpp"
#include "stats.hpp"

namespace {

using namespace bench;
using nlohmann::json;

struct options {
    bool quick = false;
    double seconds = 0.1;
    unsigned rounds = 15;
    std::vector<std::size_t> sizes{8, 64, 960, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20};
    std::size_t capacity = 1 << 20;
    std::string json_file;
    std::vector<std::string> libraries;
    std::vector<std::string> peers;
    std::vector<int> cpus;
    std::string only;
    double flood_seconds = 0;
};

// Sizes below this are compared with the bare ring, others with the floor, where a message fills many cache lines.
constexpr std::size_t floor_from = 4096;

std::string bytes_text(std::size_t n) {
    if (n >= 1 << 20 && n % (1 << 20) == 0) return fmt::format("{} MiB", n >> 20);
    if (n >= 1 << 10 && n % (1 << 10) == 0) return fmt::format("{} KiB", n >> 10);
    return fmt::format("{} B", n);
}

std::string rate_text(double messages_per_s) {
    return messages_per_s >= 1e6 ? fmt::format("{:.2f} M/s", messages_per_s / 1e6)
                                 : fmt::format("{:.1f} k/s", messages_per_s / 1e3);
}

std::string bandwidth_text(double bytes_per_s) {
    return bytes_per_s >= 1e9 ? fmt::format("{:.2f} GB/s", bytes_per_s / 1e9)
                              : fmt::format("{:.1f} MB/s", bytes_per_s / 1e6);
}

std::string time_text(double ns) {
    return ns >= 1e6   ? fmt::format("{:.2f} ms", ns / 1e6)
           : ns >= 1e4 ? fmt::format("{:.1f} us", ns / 1e3)
                       : fmt::format("{:.0f} ns", ns);
}

json spread_json(const std::vector<double> &values) {
    spread s = spread_of(values);
    return {{"q1", s.q1}, {"median", s.median}, {"q3", s.q3}, {"rounds", values}};
}

std::string spread_text(const std::vector<double> &values, const char *unit = "") {
    spread s = spread_of(values);
    return fmt::format("{:.2f}{} [{:.2f}, {:.2f}]", s.median, unit, s.q1, s.q3);
}

std::vector<double> ratios(const std::vector<double> &a, const std::vector<double> &b) {
    std::vector<double> r;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (b[i] > 0) r.push_back(a[i] / b[i]);
    return r;
}

// ---- What is measured
// ------------------------------------------------------------------------------------------------

struct flood_result {
    std::vector<double> messages_per_s;  // a round each
    std::vector<double> switches_per_message, waits_per_message;
};

struct latency_result {
    std::vector<double> p50, p99;  // a round each
    std::vector<double> all;       // ns, all rounds
};

class benchmark {
  public:
    explicit benchmark(const options &o)
        : options_(o), where_(o.cpus.empty() ? default_cpus() : cpus{o.cpus[0], o.cpus[1]}) {
        libraries_.push_back({"libipc", {}});
        for (auto &all : {kernel_peers(), library_peers()})
            for (const peer &p : all)
                if (o.peers.empty() || std::count(o.peers.begin(), o.peers.end(), p.name)) peers_.push_back(p);
        for (const std::string &given : o.libraries) {
            auto at = given.find('=');
            std::string path = at == given.npos ? given : given.substr(at + 1);
            if (path.find('/') == path.npos) path = "./" + path;
            libraries_.push_back({at == given.npos ? given : given.substr(0, at), {path}});
        }
    }

    void run() {
        if (wants("raw")) {
            for (std::size_t size : {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20})
                jobs_.push_back([this, size] { memcpys_[size].push_back(memcpy_rate(of(0), size)); });
        }
        if (wants("throughput")) add_floods();
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

    void print() const {
        fmt::print("{}; {} rounds of {} s; processors {} and {}; {}\n", libraries_[0].second.version(), options_.rounds,
                   options_.seconds, where_.sender, where_.receiver, kernel());
        fmt::print("Medians over rounds, quartiles in brackets; ratios are formed within each round.\n");
        if (!memcpys_.empty()) {
            fmt::print("\nmemcpy, one thread: ");
            for (auto &[size, rates] : memcpys_)
                fmt::print(" {} {}", bytes_text(size), bandwidth_text(spread_of(rates).median));
            fmt::print("\n");
        }
        if (!floods_.empty()) print_floods();
        if (!latencies_.empty()) print_latencies();
    }

    json result() const {
        json j;
        j["library"] = libraries_[0].second.version();
        j["rounds"] = options_.rounds;
        j["seconds"] = options_.seconds;
        j["cpus"] = {where_.sender, where_.receiver};
        j["kernel"] = kernel();
        j["units"] = {{"throughput", "messages/s"}, {"latency", "ns, one way"}, {"memcpy", "bytes/s"}};
        for (auto &[size, rates] : memcpys_) j["memcpy"][std::to_string(size)] = spread_json(rates);
        for (auto &[size, row] : floods_) {
            json &out = j["throughput"][std::to_string(size)];
            out["capacity"] = capacity_for(size);
            for (auto &[name, r] : row) {
                out[name] = spread_json(r.messages_per_s);
                out[name]["context_switches_per_message"] = spread_of(r.switches_per_message).median;
                if (is_library(name)) out[name]["waits_and_bells_per_message"] = spread_of(r.waits_per_message).median;
            }
            for (auto &[name, lib] : libraries_)
                for (auto &[other, theirs] : row)
                    if (!is_library(other))
                        out[name][fmt::format("over {}", other)] =
                            spread_json(ratios(row.at(name).messages_per_s, theirs.messages_per_s));
        }
        for (auto &[name, r] : latencies_)
            j["latency"][name] = {{"p50", spread_json(r.p50)},
                                  {"p99", spread_json(r.p99)},
                                  {"all_p50", quantile(r.all, 0.5)},
                                  {"all_p99", quantile(r.all, 0.99)},
                                  {"all_p99.9", quantile(r.all, 0.999)},
                                  {"max", quantile(r.all, 1)},
                                  {"samples", r.all.size()}};
        return j;
    }

  private:
    bool wants(const char *what) const { return options_.only.empty() || options_.only == what; }
    bool is_library(const std::string &name) const {
        return std::any_of(libraries_.begin(), libraries_.end(), [&](auto &l) { return l.first == name; });
    }
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
            for (const peer &p : peers_)
                if (size <= p.most) flood(size, p.name, [this, size, &p] { return &p.flood(of(size), size); });
            if (size >= floor_from)
                flood(size, "floor", [this, size] { return &flood_floor(of(size), size); });
            else
                flood(size, "bare ring", [this, size] { return &flood_bare(of(size), size); });
            for (auto &[name, lib] : libraries_)
                flood(size, name, [this, size, &lib] { return &lib.flood(of(size), size); });
        }
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
                flood_result &r = floods_[size][name];
                auto n = static_cast<double>(b.messages);
                r.messages_per_s.push_back(b.messages_per_s);
                r.switches_per_message.push_back(static_cast<double>(b.switches[0] + b.switches[1]) / n);
                r.waits_per_message.push_back(static_cast<double>(b.waits + b.rings) / n);
            });
        });
    }

    void latency(const std::string &name, std::function<const board *()> measure) {
        jobs_.push_back([=, this] {
            measured("latency, " + name, [&] {
                const board &b = *measure();
                std::vector<double> ns;
                for (std::size_t i = 0; i < b.samples_taken; ++i) ns.push_back(to_ns(b.samples[i]));
                latency_result &r = latencies_[name];
                r.p50.push_back(quantile(ns, 0.5));
                r.p99.push_back(quantile(ns, 0.99));
                r.all.insert(r.all.end(), ns.begin(), ns.end());
            });
        });
    }

    void print_floods() const {
        fmt::print(
            "\nThroughput. Every cache line is written and read. The bare ring (below {}) is our ring's loop without a "
            "library around it;\nthe floor (from there on) is plain shared memory of the ring's size, memset here, sum "
            "there, one flag a message.\n\n",
            bytes_text(floor_from));
        fmt::print("{:>8} {:>8}  {:<14} {:>12} {:>12} {:>24} {:>12}\n", "message", "ring", "", "messages", "bytes",
                   "libipc is times this", "switches/msg");
        for (auto &[size, row] : floods_) {
            std::string first = fmt::format("{:>8} {:>8}", bytes_text(size), bytes_text(capacity_for(size)));
            const auto &ours = row.at(libraries_[0].first).messages_per_s;
            std::vector<std::string> names{size >= floor_from ? "floor" : "bare ring"};
            for (const peer &p : peers_) names.push_back(p.name);
            for (auto &[name, lib] : libraries_) names.push_back(name);
            for (const std::string &name : names) {
                auto found = row.find(name);
                if (found == row.end()) continue;
                const flood_result &r = found->second;
                double rate = spread_of(r.messages_per_s).median;
                fmt::print("{:17}  {:<14} {:>12} {:>12} {:>24} {:>12.5f}\n", first, name, rate_text(rate),
                           bandwidth_text(rate * static_cast<double>(size)),
                           name == libraries_[0].first ? "" : spread_text(ratios(ours, r.messages_per_s)),
                           spread_of(r.switches_per_message).median);
                first.clear();
            }
        }
    }

    void print_latency(const std::string &name, const char *peer) const {
        auto found = latencies_.find(name);
        if (found == latencies_.end()) return;
        const latency_result &r = found->second;
        std::string against =
            latencies_.count(peer) && name != peer ? spread_text(ratios(r.p50, latencies_.at(peer).p50)) : "";
        fmt::print("{:<22} {:>10} {:>10} {:>10} {:>10} {:>9} {:>22}  {}\n", name, time_text(spread_of(r.p50).median),
                   time_text(spread_of(r.p99).median), time_text(quantile(r.all, 0.999)), time_text(quantile(r.all, 1)),
                   r.all.size(), against, against.empty() ? "" : peer);
    }

    void print_latencies() const {
        fmt::print(
            "\nOne-way latency. p50 and p99: medians over rounds; p99.9 and max: over all samples.\n"
            "spin: the receiver looks all the time, messages 2 us apart. asleep: it blocks, messages 1 ms apart.\n"
            "answered: both block, each sends once it has received, half the round trip. line: the same with two cache "
            "lines, both spinning.\n\n");
        fmt::print("{:<22} {:>10} {:>10} {:>10} {:>10} {:>9} {:>22}\n", "", "p50", "p99", "p99.9", "max", "samples",
                   "p50, times");
        print_latency("line", "");
        print_latency("spin line", "line");
        for (auto &[name, lib] : libraries_) print_latency("spin " + name, "spin line");
        for (const char *how : {"asleep", "answered"}) {
            std::string eventfd = fmt::format("{} eventfd", how);
            print_latency(eventfd, "");
            for (const peer &p : peers_) print_latency(fmt::format("{} {}", how, p.name), eventfd.c_str());
            for (auto &[name, lib] : libraries_) print_latency(fmt::format("{} {}", how, name), eventfd.c_str());
        }
    }

    options options_;
    cpus where_;
    std::vector<std::pair<std::string, libipc>> libraries_;
    std::vector<peer> peers_;
    std::vector<std::function<void()>> jobs_;
    std::map<std::size_t, std::vector<double>> memcpys_;
    std::map<std::size_t, std::map<std::string, flood_result>> floods_;
    std::map<std::string, latency_result> latencies_;
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
    all.print();
    if (!o.json_file.empty()) {
        std::ofstream file(o.json_file);
        file << all.result().dump(1) << '\n';
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
    app.add_option("--only", o.only, "one part of it")->check(CLI::IsMember({"raw", "throughput", "latency"}));
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
