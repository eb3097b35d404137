// The tables for the terminal.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "clock.hpp"
#include "results.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

namespace {

// One part of the records, by size, by n, and by contender: the raw ones first, ours last.
class part {
  public:
    part(const results &all, const std::string &name) : all_(all) {
        for (auto &[k, r] : all.records)
            if (k.part == name) rows_.push_back({&k, &r});
        auto order = [](contender::kind_type kind) {
            return kind == contender::raw ? 0 : kind == contender::peer ? 1 : 2;
        };
        std::stable_sort(rows_.begin(), rows_.end(), [&](const row &a, const row &b) {
            auto rank = [&](const key &k) {
                auto kind = all.contenders.find(k.contender);
                // 0 a second is as fast as it goes.
                double n = k.part == "paced" && k.n == 0 ? 1e18 : k.n;
                return std::tuple(k.size, n, kind == all.contenders.end() ? 2 : order(kind->second), k.contender);
            };
            return rank(*a.k) < rank(*b.k);
        });
    }
    struct row {
        const key *k;
        const record *r;
        double figure(const char *name) const {
            auto f = r->figures.find(name);
            return f == r->figures.end() ? -1 : median(f->second);
        }
    };
    bool empty() const { return rows_.empty(); }
    auto begin() const { return rows_.begin(); }
    auto end() const { return rows_.end(); }

  private:
    const results &all_;
    std::vector<row> rows_;
};

template <class Text>
std::string or_dash(double value, Text text) {
    return value < 0 ? "-" : text(value);
}
std::string small(double value) {
    return or_dash(value, [](double v) { return fmt::format("{:.3g}", v); });
}

void print_throughput(const results &all) {
    part rows(all, "throughput");
    if (rows.empty()) return;
    fmt::print(
        "\nThroughput. Every cache line is written and read. The bare ring (below {}) is our ring's loop without a "
        "library around it;\nthe floor (from there on) is plain shared memory of the ring's size, memset here, sum "
        "there, one flag a message.\nCPU time a message, spinning included; memory of both sides, without what the "
        "kernel holds.\n\n",
        bytes_text(floor_from));
    fmt::print("{:>8}  {:<16} {:>11} {:>12} {:>24} {:>10} {:>10} {:>12} {:>9}\n", "message", "", "messages", "bytes",
               "libipc is times this", "CPU sender", "receiver", "switches/msg", "memory");
    std::size_t last = 0;
    for (auto &row : rows) {
        const key &k = *row.k;
        double rate = row.figure("messages_per_s");
        auto *ours = all.find({k.part, "libipc", k.size, k.n}, "messages_per_s");
        auto *theirs = all.find(k, "messages_per_s");
        if (!theirs) continue;
        double lost = row.figure("lost_share");
        fmt::print("{:>8}  {:<16} {:>11} {:>12} {:>24} {:>10} {:>10} {:>12} {:>9}{}\n",
                   k.size == last ? "" : bytes_text(k.size), k.contender, rate_text(rate),
                   bandwidth_text(rate * static_cast<double>(k.size)),
                   ours && theirs != ours ? spread_text(ratios(*ours, *theirs)) : "",
                   time_text(row.figure("cpu_sender_ns")), time_text(row.figure("cpu_receiver_ns")),
                   small(row.figure("switches_per_message")),
                   fmt::format("{:.1f} MB", row.figure("memory_bytes") / 1e6),
                   lost > 0 ? fmt::format("  {:.0f} % lost", 100 * lost) : "");
        last = k.size;
    }
}

void print_latencies(const results &all, const char *name, const char *title) {
    part rows(all, name);
    if (rows.empty()) return;
    fmt::print("\n{}\n\n", title);
    fmt::print("{:>8} {:>9}  {:<16} {:>10} {:>10} {:>10} {:>10} {:>9} {:>10} {:>10} {:>12} {:>10}\n", "message",
               std::string(name) == "paced" ? "a second" : "", "", "p50", "p99", "p99.9", "max", "samples",
               "CPU sender", "receiver", "switches/msg", "calls/msg");
    std::pair<std::size_t, double> last;
    for (auto &row : rows) {
        const key &k = *row.k;
        if (!row.r->latency) continue;
        const histogram &h = *row.r->latency;
        auto ns = [](double t) { return time_text(t * ns_per_tick()); };
        bool again = last == std::pair(k.size, k.n);
        std::string per_second = k.part != "paced" ? "" : k.n > 0 ? fmt::format("{}", k.n) : "full speed";
        fmt::print("{:>8} {:>9}  {:<16} {:>10} {:>10} {:>10} {:>10} {:>9} {:>10} {:>10} {:>12} {:>10}\n",
                   again ? "" : bytes_text(k.size), again ? "" : per_second, k.contender,
                   time_text(row.figure("p50_ns")), time_text(row.figure("p99_ns")), ns(h.quantile(0.999)),
                   ns(static_cast<double>(h.max())), h.total(), time_text(row.figure("cpu_sender_ns")),
                   time_text(row.figure("cpu_receiver_ns")), small(row.figure("switches_per_message")),
                   small(row.figure("calls_per_message")));
        last = {k.size, k.n};
    }
}

void print_list(const results &all, const char *name, const char *title, const char *figure,
                std::string (*text)(double)) {
    part rows(all, name);
    if (rows.empty()) return;
    fmt::print("\n{}:", title);
    for (auto &row : rows)
        fmt::print("  {}: {}", row.k->contender == "libipc" ? fmt::format("{:g}", row.k->n) : row.k->contender,
                   text(row.figure(figure)));
    fmt::print("\n");
}

void print_julia(const results &all) {
    for (const char *name : {"julia receive", "julia send"}) {
        part rows(all, name);
        if (rows.empty()) continue;
        fmt::print("\n{}, {}\n\n{:>8}  {:<16} {:>12} {:>12} {:>24} {:>16}\n", name,
                   std::string(name) == "julia send" ? "to C++" : "from C++", "message", "loop", "messages", "bytes",
                   "times C++ to C++", "allocated B/msg");
        for (auto &row : rows) {
            const key &k = *row.k;
            auto *base = all.find({"julia receive", "C++", k.size, 0}, "messages_per_s");
            auto *rates = all.find(k, "messages_per_s");
            if (!rates || !base) continue;
            fmt::print("{:>8}  {:<16} {:>12} {:>12} {:>24} {:>16.1f}\n", bytes_text(k.size), k.contender,
                       rate_text(median(*rates)), bandwidth_text(median(*rates) * static_cast<double>(k.size)),
                       rates == base ? "" : spread_text(ratios(*rates, *base)), row.figure("allocated_bytes"));
        }
    }
    print_list(all, "julia wake", "A sleeping task of Julia is woken, p50", "p50_ns", time_text);
}

}  // namespace

void print_tables(const results &all) {
    fmt::print("{}\n{}; {}; processors {} and {}; {}; {} rounds of {} s each, in all {:.0f} s\n", all.on.library,
               all.on.processor, all.on.kernel, all.on.where.sender, all.on.where.receiver, all.on.date, all.rounds,
               all.seconds, all.took_s);
    fmt::print("Medians over rounds, quartiles in brackets; ratios are formed within each round.\n");
    if (part rows(all, "memcpy"); !rows.empty()) {
        fmt::print("\nmemcpy, one thread:");
        for (auto &row : rows)
            fmt::print("  {}: {}", bytes_text(row.k->size), bandwidth_text(row.figure("bytes_per_s")));
        fmt::print("\n");
    }
    print_throughput(all);
    print_latencies(
        all, "answered",
        "One way, as half of there and back. p50 and p99: medians over rounds; p99.9 and max: over all samples.\n"
        "Spinning: line, floor and \"libipc spinning\"; all others block.");
    print_latencies(
        all, "paced",
        "One way, on a schedule. A sender that was held up counts from when the message was due. Switches and "
        "calls\nof the system are without the sender's sleep until a message is due, which CPU time has in it; "
        "calls were counted in a run\nof their own. Spinning, 500,000 a second: line and \"libipc spinning\"; all "
        "others block.");
    print_list(all, "receivers", "A commit of 64 B when there is room, by receivers, all awake", "commit_ns",
               time_text);
    print_list(all, "senders", "64 B to one receiver, by senders", "messages_per_s", rate_text);
    print_list(all, "idle senders", "64 B from one sender, by others that are idle", "messages_per_s", rate_text);
    print_list(all, "past", "64 B from one sender, after", "messages_per_s", rate_text);
    print_julia(all);
}

}  // namespace bench
