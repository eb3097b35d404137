// What libipc is to reach, as ratios within one run, so that they mean the same on every machine.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "results.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

namespace {

using series = std::vector<double>;

constexpr std::size_t KiB = 1 << 10, MiB = 1 << 20;

class all_bars {
  public:
    explicit all_bars(const results &all) : all_(all) {}

    std::vector<bar> get() {
        small();
        kibibyte();
        for (std::size_t size : {64 * KiB, MiB, 16 * MiB}) large(size);
        awake();
        asleep();
        sparse();
        idle();
        for (std::size_t size : {std::size_t{64}, KiB}) system_calls(size);
        julia();
        receivers();
        idle_senders();
        past();
        return found_;
    }

  private:
    const series *rate(std::size_t size, const std::string &name) const {
        return all_.find({"throughput", name, size, 0}, "messages_per_s");
    }
    const series *paced(const std::string &name, std::size_t size, double per_second, const char *figure) const {
        return all_.find({"paced", name, size, per_second}, figure);
    }
    // How many times theirs our rate is.
    std::optional<double> times(std::size_t size, const std::string &name) const {
        const series *ours = rate(size, "libipc"), *theirs = rate(size, name);
        if (!ours || !theirs) return {};
        return median(ratios(*ours, *theirs));
    }
    void at_least(std::string what, double figure, double bar, std::string beside = "") {
        found_.push_back({std::move(what), figure, bar, true, std::move(beside)});
    }
    void at_most(std::string what, double figure, double bar, std::string beside = "") {
        found_.push_back({std::move(what), figure, bar, false, std::move(beside)});
    }

    void small() {
        const series *ours = rate(64, "libipc"), *line = all_.find({"answered", "line", 8, 0}, "p50_ns");
        if (!ours || !line) return;
        double line_ns = median(*line);
        std::string beside = fmt::format("a line takes {}", time_text(line_ns));
        for (auto [name, aim] :
             {std::pair{"bare ring", ""}, {"pipe", " (aim: 80)"}, {"zeromq", " (aim: 15)"}, {"boost", " (aim: 15)"}})
            if (auto t = times(64, name)) beside += fmt::format(", {:.2g} x {}{}", *t, name, aim);
        at_least("64 B: messages in a cache line's one-way time", median(*ours) * line_ns / 1e9, line_ns > 150 ? 12 : 5,
                 beside);
    }
    // Where a bar names a peer, it is the smaller of that and 0.9 of the ideal, which as a multiple of the peer is:
    double possible(double times_peer, double times_ideal) const { return 0.9 * times_peer / times_ideal; }
    void kibibyte() {
        auto ideal = times(KiB, ideal_for(KiB));
        for (auto [peer, wanted] : {std::pair{"pipe", 30.}, std::pair{"boost", 10.}})
            if (auto t = times(KiB, peer); t && ideal)
                at_least(fmt::format("1 KiB: messages per second over {}'s", peer), *t,
                         std::min(wanted, possible(*t, *ideal)), fmt::format("{:.2f} of the bare ring", *ideal));
    }
    void large(std::size_t size) {
        auto ideal = times(size, ideal_for(size));
        if (!ideal) return;
        at_least(fmt::format("{}: bytes per second over the floor's", bytes_text(size)), *ideal, 0.9);
        // Of the peers, the fastest: above it is above all.
        std::optional<double> least;
        std::string fastest;
        for (auto &[name, kind] : all_.contenders)
            if (auto t = kind == contender::peer ? times(size, name) : std::nullopt; t && (!least || *t < *least)) {
                least = t;
                fastest = name;
            }
        if (least)
            at_least(fmt::format("{}: bytes per second over those of the fastest peer", bytes_text(size)), *least,
                     std::min(1., possible(*least, *ideal)), fastest);
    }
    // Question and answer on both, with no clock inside.
    void awake() {
        const series *ours = all_.find({"answered", "libipc spinning", 8, 0}, "p50_ns"),
                     *line = all_.find({"answered", "line", 8, 0}, "p50_ns");
        if (!ours || !line) return;
        std::string beside = fmt::format("p50 {} and {}", time_text(median(*ours)), time_text(median(*line)));
        for (std::size_t size : {std::size_t{64}, KiB})
            if (auto *p50 = all_.find({"answered", "libipc spinning", size, 0}, "p50_ns"))
                beside += fmt::format("; {}: {}", bytes_text(size), time_text(median(*p50)));
        at_most("latency, both awake, 8 B: p50 over a cache line's", median(ratios(*ours, *line)), 1.3, beside);
    }
    void asleep() {
        const series *ours = paced("libipc", 8, 1000, "p50_ns"), *base = paced("eventfd", 8, 1000, "p50_ns"),
                     *ours99 = paced("libipc", 8, 1000, "p99_ns"), *base99 = paced("eventfd", 8, 1000, "p99_ns");
        if (!ours || !base) return;
        std::string beside =
            fmt::format("p50 {} and {}, p99 {} and {}", time_text(median(*ours)), time_text(median(*base)),
                        time_text(median(*ours99)), time_text(median(*base99)));
        for (std::size_t size : {std::size_t{64}, KiB})
            if (auto *p50 = paced("libipc", size, 1000, "p50_ns"))
                beside += fmt::format("; {}: {}", bytes_text(size), time_text(median(*p50)));
        at_most("latency, receiver asleep, 8 B: p50 over eventfd's", median(ratios(*ours, *base)), 1.15, beside);
    }
    void sparse() {
        auto both = [&](const char *name) {
            series sum;
            const series *s = paced(name, 8, 1000, "cpu_sender_ns"), *r = paced(name, 8, 1000, "cpu_receiver_ns");
            for (std::size_t i = 0; s && r && i < s->size() && i < r->size(); ++i) sum.push_back((*s)[i] + (*r)[i]);
            return sum;
        };
        series ours = both("libipc"), base = both("eventfd");
        if (ours.empty() || base.empty()) return;
        at_most("1,000 messages a second: CPU over eventfd's, lower quartile", quantile(ratios(ours, base), 0.25), 1.1,
                fmt::format("{} and {} a message", time_text(median(ours)), time_text(median(base))));
    }
    void idle() {
        for (auto &[k, r] : all_.records)
            if (auto *n = k.part == "idle" ? all_.find(k, "switches") : nullptr)
                at_most(fmt::format("idle for {:g} s: context switches", k.n), median(*n), 0);
    }
    void system_calls(std::size_t size) {
        if (auto *calls = all_.find({"throughput", "libipc", size, 0}, "calls_per_message"))
            at_most(fmt::format("{} at full speed: system calls a message", bytes_text(size)), median(*calls), 0.001);
    }
    void julia() {
        auto receive = [&](const char *form, std::size_t size, const char *figure = "messages_per_s") {
            return all_.find({"julia receive", form, size, 0}, figure);
        };
        if (auto *ours = receive("recv", 64), *base = receive("C++", 64),
            *bytes = receive("recv", 64, "allocated_bytes");
            ours && base && bytes) {
            at_least("Julia, zero-copy, 64 B: messages per second over C++'s", median(ratios(*ours, *base)), 0.8);
            // A wait for a message allocates; the message does not.
            at_most("Julia, zero-copy, 64 B: bytes allocated a message", median(*bytes), 0.01);
        }
        // Those that it was measured with.
        for (auto &[k, r] : all_.records)
            if (k.part == "julia receive" && k.contender == "take!" && k.size >= KiB)
                if (auto *ours = receive("take!", k.size), *bare = receive("bare copy", k.size); ours && bare)
                    at_least(fmt::format("Julia, copying, {}: over a bare copy of the bytes", bytes_text(k.size)),
                             median(ratios(*ours, *bare)), 0.9);
        if (auto *ours = all_.find({"julia wake", "recv", 8, 0}, "p50_ns"),
            *base = all_.find({"julia wake", "eventfd", 8, 0}, "p50_ns");
            ours && base)
            at_most("Julia, task-friendly: p50 over eventfd's through FDWatcher", median(ratios(*ours, *base)), 1.3,
                    fmt::format("{} and {}", time_text(median(*ours)), time_text(median(*base))));
    }
    void receivers() {
        auto *one = all_.find({"receivers", "libipc", 64, 1}, "commit_ns"),
             *many = all_.find({"receivers", "libipc", 64, 16}, "commit_ns");
        if (!one || !many) return;
        series growth;
        for (std::size_t i = 0; i < one->size() && i < many->size(); ++i)
            growth.push_back(((*many)[i] - (*one)[i]) / 15);
        at_most("1 to 16 receivers, awake: ns more a commit for each", median(growth), 15);
    }
    void idle_senders() {
        auto *alone = all_.find({"idle senders", "libipc", 64, 0}, "messages_per_s"),
             *beside = all_.find({"idle senders", "libipc", 64, 1000}, "messages_per_s");
        if (alone && beside)
            at_most("one sender among 1,000 idle ones: cost of a message over that alone",
                    median(ratios(*alone, *beside)), 1.2);
    }
    // None is what can't be told from none: the lower quartile within 5 %.
    void past() {
        auto *base = all_.find({"past", "nothing", 64, 0}, "messages_per_s");
        for (auto &[k, r] : all_.records)
            if (auto *rates = k.part == "past" ? all_.find(k, "messages_per_s") : nullptr;
                rates && base && rates != base)
                at_most(fmt::format("after {}: cost of a message over that without, lower quartile", k.contender),
                        quantile(ratios(*base, *rates), 0.25), 1.05);
    }

    const results &all_;
    std::vector<bar> found_;
};

}  // namespace

std::vector<bar> bars_of(const results &all) { return all_bars(all).get(); }

void print_bars(const std::vector<bar> &bars) {
    fmt::print("\n{:<72} {:>10} {:>11}\n", "What is aimed at", "figure", "bar");
    for (const bar &b : bars)
        fmt::print("{:<72} {:>10.4g} {} {:>8.4g}  {:<7} {}\n", b.what, b.figure, b.at_least ? ">=" : "<=", b.bar,
                   b.met() ? "met" : "NOT MET", b.beside);
}

}  // namespace bench
