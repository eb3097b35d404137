// What libipc is to reach, as ratios within one run, so that they mean the same on every machine.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "results.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

namespace {

struct row {
    std::string what;
    double figure, bar;
    bool at_least;
    std::string beside;  // what is not measured by the bar, but worth knowing with it
};

void print(const row &r) {
    bool met = r.at_least ? r.figure >= r.bar : r.figure <= r.bar;
    fmt::print("{:<68} {:>10.4g} {} {:>8.4g}  {:<7} {}\n", r.what, r.figure, r.at_least ? ">=" : "<=", r.bar,
               met ? "met" : "NOT MET", r.beside);
}

class bars {
  public:
    explicit bars(const results &all) : all_(all), ours_(all.libraries[0]) {}

    void print_all() const {
        small();
        kibibyte();
        for (std::size_t size : {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20}) large(size);
        latency("latency, both awake, 8 B: p50 over a cache line's", "spin " + ours_, "line", 1.3);
        latency("latency, receiver asleep, 8 B: p50 over eventfd's", "asleep " + ours_, "asleep eventfd", 1.15);
        sparse();
        for (std::size_t size : {std::size_t{64}, std::size_t{1} << 10}) system_calls(size);
        receivers();
        idle_senders();
    }

  private:
    const flood_result *flood(std::size_t size, const std::string &name) const {
        auto row = all_.floods.find(size);
        if (row == all_.floods.end()) return nullptr;
        auto found = row->second.find(name);
        return found == row->second.end() ? nullptr : &found->second;
    }
    const latency_result *latency_of(const std::string &name) const {
        auto found = all_.latencies.find(name);
        return found == all_.latencies.end() ? nullptr : &found->second;
    }
    // How many times theirs our rate is.
    std::optional<double> times(std::size_t size, const std::string &name) const {
        const flood_result *ours = flood(size, ours_), *theirs = flood(size, name);
        if (!ours || !theirs) return {};
        return spread_of(ratios(ours->messages_per_s, theirs->messages_per_s)).median;
    }
    std::string times_text(std::size_t size, std::initializer_list<const char *> names) const {
        std::string text;
        for (const char *name : names)
            if (auto t = times(size, name)) text += fmt::format("{}{:.1f} x {}", text.empty() ? "" : ", ", *t, name);
        return text;
    }

    void small() const {
        const flood_result *ours = flood(64, ours_);
        const latency_result *line = latency_of("line");
        if (!ours || !line) return;
        double line_ns = spread_of(line->p50).median;
        print(
            {"64 B: messages in a cache line's one-way time", spread_of(ours->messages_per_s).median * line_ns / 1e9,
             line_ns > 150 ? 12. : 5., true,
             fmt::format("line {}; {}", time_text(line_ns), times_text(64, {"bare ring", "pipe", "zeromq", "boost"}))});
    }
    // The bar names a peer: it is the smaller of that and 0.9 of the ideal.
    void kibibyte() const {
        std::size_t size = 1 << 10;
        auto ideal = times(size, ideal_for(size));
        for (auto [peer, bar] : {std::pair{"pipe", 30.}, std::pair{"boost", 10.}}) {
            auto t = times(size, peer);
            if (!t || !ideal) continue;
            // As a multiple of the peer, 0.9 of the ideal is this:
            double possible = 0.9 * *t / *ideal;
            print({fmt::format("1 KiB: messages per second over {}'s", peer), *t, std::min(bar, possible), true,
                   fmt::format("{:.2f} of the bare ring", *ideal)});
        }
    }
    void large(std::size_t size) const {
        auto ideal = times(size, ideal_for(size));
        if (!ideal) return;
        print({fmt::format("{}: bytes per second over the floor's", bytes_text(size)), *ideal, 0.9, true, ""});
        for (const std::string &peer : all_.peers) {
            auto t = times(size, peer);
            if (!t || *t > 1) continue;
            print({fmt::format("{}: bytes per second over {}'s", bytes_text(size), peer), *t,
                   std::min(1., 0.9 * *t / *ideal), true, ""});
        }
    }
    void latency(const char *what, const std::string &ours, const std::string &base, double bar) const {
        const latency_result *a = latency_of(ours), *b = latency_of(base);
        if (!a || !b) return;
        print({what, spread_of(ratios(a->p50, b->p50)).median, bar, false,
               fmt::format("p50 {} and {}, p99 {} and {}", time_text(spread_of(a->p50).median),
                           time_text(spread_of(b->p50).median), time_text(spread_of(a->p99).median),
                           time_text(spread_of(b->p99).median))});
    }
    void sparse() const {
        const latency_result *a = latency_of("asleep " + ours_), *b = latency_of("asleep eventfd");
        if (!a || !b) return;
        print({"1,000 messages a second: CPU over eventfd's, lower quartile",
               spread_of(ratios(a->cpu_ns, b->cpu_ns)).q1, 1.1, false,
               fmt::format("{} and {} a message", time_text(spread_of(a->cpu_ns).median),
                           time_text(spread_of(b->cpu_ns).median))});
    }
    void system_calls(std::size_t size) const {
        if (const flood_result *r = flood(size, ours_))
            print({fmt::format("{} at full speed: sleeps and bells a message", bytes_text(size)),
                   spread_of(r->waits_per_message).median, 0.001, false, ""});
    }
    void receivers() const {
        if (all_.commits.size() < 2) return;
        auto &[fewest, a] = *all_.commits.begin();
        auto &[most, b] = *all_.commits.rbegin();
        std::vector<double> growth;
        for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
            growth.push_back((b[i] - a[i]) / static_cast<double>(most - fewest));
        print({fmt::format("{} to {} receivers, awake: ns more a commit for each", fewest, most),
               spread_of(growth).median, 15, false, ""});
    }
    void idle_senders() const {
        if (all_.crowds.size() < 2) return;
        auto &[most, rates] = *all_.crowds.rbegin();
        print({fmt::format("one sender among {} idle ones: cost of a message over that alone", most),
               spread_of(ratios(all_.crowds.begin()->second, rates)).median, 1.2, false, ""});
    }

    const results &all_;
    const std::string &ours_;
};

}  // namespace

void print_bars(const results &all) {
    // What a cache line takes is as good as constant on a machine that does nothing else.
    if (auto line = all.latencies.find("line"); line != all.latencies.end()) {
        spread s = spread_of(line->second.p50);
        if (s.q3 > 1.5 * s.q1)
            fmt::print("\nThe machine was busy with other things: a cache line took {} to {}. Measure again.\n",
                       time_text(s.q1), time_text(s.q3));
    }
    fmt::print("\n{:<68} {:>10} {:>11}\n", "What is aimed at", "figure", "bar");
    bars(all).print_all();
}

}  // namespace bench
