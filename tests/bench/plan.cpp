#include "plan.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "clock.hpp"
#include "contender.hpp"
#include "machine.hpp"
#include "ours.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

std::size_t capacity_for(const plan &p, std::size_t size) { return std::max(p.capacity, 4 * size); }

namespace {

constexpr std::size_t word = sizeof(std::uint64_t);
constexpr double awake_per_s = 500'000;  // so often that a receiver that looks all the time never rests

class benchmark {
  public:
    explicit benchmark(const plan &p) : plan_(p) {
        for (auto &all : {kernel_peers(), library_peers(), other_transports()})
            for (const contender &c : all)
                if (p.peers.empty() || std::count(p.peers.begin(), p.peers.end(), c.name)) others_.push_back(c);
        blocking_.push_back(shared_memory_of("libipc", ""));
        spinning_.push_back(spinning_of("libipc", ""));
        for (const std::string &given : p.libraries) {
            auto at = given.find('=');
            std::string path = at == given.npos ? given : given.substr(at + 1);
            if (path.find('/') == path.npos) path = "./" + path;
            std::string name = at == given.npos ? given : given.substr(0, at);
            blocking_.push_back(shared_memory_of(name, path));
            spinning_.push_back(spinning_of(name, path));
        }
        for (auto *some : {&others_, &blocking_, &spinning_})
            for (const contender &c : *some) found_.contenders[c.name] = c.kind;
        for (const contender &c : {floor_, bare_, line_, eventfd_}) found_.contenders[c.name] = c.kind;
        found_.on = this_machine();
        found_.on.library = version_of("");
        found_.on.commit = p.commit;
        found_.on.where = p.where;
        found_.seconds = p.seconds;
    }

    results carry_out() {
        std::int64_t start = monotonic_ns();
        tell_if_busy();
        noise_meter noise(plan_.where);
        rounds main, traced;
        if (wants("throughput")) add_throughput(main);
        if (wants("latency")) add_latency(main);
        if (wants("rates")) add_rates(main);
        if (wants("crowds")) add_crowds(main);
        if (wants("past")) add_past(main);
        if (wants("calls")) add_calls(traced);
        bool with_julia = wants("julia") && !plan_.julia.empty();
        main.expect_more(with_julia ? julia_seconds(plan_) : 0);
        main.expect_more(wants("calls") ? (plan_.quick ? 5 : 100) : 0);
        main.expect_more(wants("idle") ? idle_seconds() + 1 : 0);
        found_.rounds = main.run(plan_.until);
        found_.unsettled = main.unsettled();
        found_.failed = main.failed();
        unsigned times = plan_.quick ? 1 : 3;
        traced.expect_more((with_julia ? julia_seconds(plan_) : 0) + (wants("idle") ? idle_seconds() + 1 : 0));
        traced.run({times, times});
        rounds last;
        if (with_julia)
            last.add(
                "Julia", "its loops",
                julia_seconds(plan_), [this]() -> auto & { return measure_julia(plan_, found_); });
        if (wants("idle"))
            last.add(
                "idle", "libipc", idle_seconds() + 1, [this]() -> auto & {
                    return add({"idle", "libipc", 0, idle_seconds()}, "switches",
                               static_cast<double>(switches_while_idle(of(word), idle_seconds())));
                });
        last.run({1, 1});
        for (const rounds *r : {&traced, &last})
            found_.failed.insert(found_.failed.end(), r->failed().begin(), r->failed().end());
        noise.read(found_.on);
        found_.took_s = static_cast<double>(monotonic_ns() - start) / 1e9;
        return found_;
    }

  private:
    bool wants(const char *part) const {
        return plan_.parts.empty() || std::count(plan_.parts.begin(), plan_.parts.end(), part);
    }
    void tell_if_busy() const {
        machine m;
        noise_meter before(plan_.where);
        poll(nullptr, 0, plan_.quick ? 200 : 1000);
        before.read(m);
        if (m.others_share + m.stolen_share > 0.1)
            fmt::print(stderr,
                       "Other programs use {:.0f} % of the two processors: what is measured now will mean little.\n",
                       100 * (m.others_share + m.stolen_share));
    }
    setting of(std::size_t size) const { return {plan_.where, capacity_for(plan_, size), plan_.seconds}; }
    // What comes seldom needs longer for a percentile.
    setting for_rate(double per_second) const {
        setting s = of(word);
        if (per_second > 0 && per_second <= 1'000) s.seconds *= per_second <= 100 ? 6 : 3;
        return s;
    }
    double guess(const setting &s) const { return 1.2 * s.seconds + 0.04; }
    double idle_seconds() const { return plan_.quick ? 1 : 10; }

    const std::vector<double> &add(const key &k, const char *figure, double value) {
        std::vector<double> &series = found_.records[k].figures[figure];
        series.push_back(value);
        return series;
    }
    void add_costs(const key &k, const board &b) {
        auto n = static_cast<double>(std::max<std::uint64_t>(b.messages, 1));
        add(k, "cpu_sender_ns",
            std::max(0., static_cast<double>(b.used[0].cpu_ns) - static_cast<double>(b.idle_ns)) / n);
        add(k, "cpu_receiver_ns", static_cast<double>(b.used[1].cpu_ns) / n);
        add(k, "switches_per_message",
            (static_cast<double>(b.used[0].switches + b.used[1].switches) - static_cast<double>(b.naps)) / n);
    }
    const std::vector<double> &add_rate(const key &k, const board &b, const contender &c) {
        add_costs(k, b);
        add(k, "memory_bytes", static_cast<double>(b.memory[0] + b.memory[1]));
        if (c.lossy)
            add(k, "lost_share", static_cast<double>(b.lost) / static_cast<double>(b.lost + b.messages));
        else if (b.lost != 0)
            throw std::runtime_error(fmt::format("{} messages were lost", b.lost));
        return add(k, "messages_per_s", b.messages_per_s);
    }
    const std::vector<double> &add_latency(const key &k, const board &b) {
        add_costs(k, b);
        auto &all = found_.records[k].latency;
        if (!all) all.emplace(histogram{});
        *all += b.latency;
        add(k, "p99_ns", b.latency.quantile(0.99) * ns_per_tick());
        return add(k, "p50_ns", b.latency.quantile(0.5) * ns_per_tick());
    }

    void flood(rounds &r, const contender &c, std::size_t size) {
        if (size > c.most) return;
        setting s = of(size);
        r.add(
            "throughput, " + bytes_text(size), c.name, guess(s), [ =, this ]() -> auto & {
                return add_rate({"throughput", c.name, size, 0}, c.flood(s, size), c);
            });
    }
    void add_throughput(rounds &r) {
        for (std::size_t size : plan_.sizes) {
            flood(r, size < floor_from ? bare_ : floor_, size);
            for (auto *some : {&others_, &blocking_, &spinning_})
                for (const contender &c : *some) flood(r, c, size);
        }
        for (std::size_t size : {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20})
            r.add(
                "memcpy", bytes_text(size), plan_.seconds, [ =, this ]() -> auto & {
                    return add({"memcpy", "one thread", size, 0}, "bytes_per_s", memcpy_rate(of(size), size));
                });
    }

    void answered(rounds &r, const std::string &group, const contender &c, std::size_t size) {
        if (size > c.most) return;
        setting s = of(size);
        r.add(
            group, c.name, guess(s), [ =, this ]() -> auto & {
                return add_latency({"answered", c.name, size, 0}, c.answered(s, size));
            });
    }
    void paced(rounds &r, const std::string &group, const contender &c, std::size_t size, double per_second) {
        if (size > c.most) return;
        setting s = for_rate(per_second);
        r.add(
            group, c.name, guess(s), [ =, this ]() -> auto & {
                return add_latency({"paced", c.name, size, per_second}, c.paced(s, size, per_second));
            });
    }
    void add_latency(rounds &r) {
        std::vector<std::size_t> sizes{8, 64, 1 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20};
        if (plan_.quick) sizes = {8, 64 << 10, 1 << 20};
        for (std::size_t size : sizes) {
            std::string group = fmt::format("latency, both blocking, {}", bytes_text(size));
            answered(r, group, eventfd_, size);
            for (auto *some : {&others_, &blocking_})
                for (const contender &c : *some) answered(r, group, c, size);
            group = fmt::format("latency, both spinning, {}", bytes_text(size));
            answered(r, group, line_, size);
            answered(r, group, floor_, size);
            for (const contender &c : spinning_) answered(r, group, c, size);
        }
        for (std::size_t size : {word, std::size_t{64}, std::size_t{1} << 10}) {
            std::string group = fmt::format("latency, both spinning, {}", bytes_text(word));
            paced(r, group, line_, size, awake_per_s);
            for (const contender &c : spinning_) paced(r, group, c, size, awake_per_s);
            if (size == word) continue;
            for (const contender &c : blocking_) paced(r, rate_group(1000), c, size, 1000);
        }
    }

    static std::string rate_group(double per_second) {
        return per_second > 0 ? fmt::format("{} messages a second", per_second) : "as fast as it goes";
    }
    static constexpr double rates[] = {100, 1'000, 10'000, 100'000, 0};
    void add_rates(rounds &r) {
        for (double per_second : rates) {
            if (per_second > 0) paced(r, rate_group(per_second), eventfd_, word, per_second);
            for (auto *some : {&others_, &blocking_})
                for (const contender &c : *some) paced(r, rate_group(per_second), c, word, per_second);
        }
    }

    void calls(rounds &r, const contender &c, const key &k, setting s,
               std::function<const board &(const setting &)> run) {
        s.traced = true;
        s.seconds = std::min(s.seconds, plan_.quick ? 0.05 : 0.5);
        r.add(
            "system calls", fmt::format("{}, {}", c.name, k.part == "paced" ? rate_group(k.n) : bytes_text(k.size)),
            guess(s), [ =, this ]() -> auto & {
                const board &b = run(s);
                auto n = static_cast<double>(std::max<std::uint64_t>(b.messages, 1));
                auto all = static_cast<double>(b.used[0].calls + b.used[1].calls) - static_cast<double>(b.naps);
                return add(k, "calls_per_message", all / n);
            });
    }
    void add_calls(rounds &r) {
        for (auto *some : {&others_, &blocking_})
            for (const contender &c : *some) {
                for (double per_second : rates) {
                    if (plan_.quick && per_second != 1'000) continue;
                    calls(
                        r, c, {"paced", c.name, word, per_second},
                        for_rate(per_second), [=](const setting &s) -> auto & { return c.paced(s, word, per_second); });
                }
                for (std::size_t size : {std::size_t{64}, std::size_t{1} << 10})
                    if (std::count(plan_.sizes.begin(), plan_.sizes.end(), size))
                        calls(
                            r, c, {"throughput", c.name, size, 0},
                            of(size), [=](const setting &s) -> auto & { return c.flood(s, size); });
            }
        for (double per_second : rates)
            if (per_second > 0)
                calls(
                    r, eventfd_, {"paced", eventfd_.name, word, per_second}, for_rate(per_second),
                    [ =, this ](const setting &s) -> auto & { return eventfd_.paced(s, word, per_second); });
    }

    void add_crowds(rounds &r) {
        setting s = of(64);
        for (unsigned n : {1u, 2u, 4u, 8u, 16u}) {
            r.add(
                "receivers of one sender", std::to_string(n), guess(s), [ =, this ]() -> auto & {
                    return add({"receivers", "libipc", 64, double(n)}, "commit_ns", 1e9 / commits(s, n).messages_per_s);
                });
            r.add(
                "senders to one receiver", std::to_string(n), guess(s), [ =, this ]() -> auto & {
                    return add({"senders", "libipc", 64, double(n)}, "messages_per_s",
                               from_senders(s, n).messages_per_s);
                });
        }
        for (unsigned n : {0u, 1000u}) {
            if (n > most_idle_senders()) {
                show_progress("");
                fmt::print(stderr,
                           "No measurement among {} idle senders: the limit of descriptors is too low for it.\n", n);
                continue;
            }
            r.add(
                "one sender among idle ones", std::to_string(n), guess(s) + n / 1000, [ =, this ]() -> auto & {
                    return add({"idle senders", "libipc", 64, double(n)}, "messages_per_s",
                               among_idle(s, n).messages_per_s);
                });
        }
    }

    void add_past(rounds &r) {
        setting s = of(64), large = s;
        large.capacity = 64 << 20;
        past connections, reloads, uptime;
        connections.connections = plan_.quick ? 30 : 300;
        reloads.reloads = plan_.quick ? 10 : 100;
        uptime.seconds = plan_.quick ? 0.3 : 3;
        auto one = [&](const std::string &what, const setting &with, const past &p) {
            r.add(
                "a long life, 64 B", what, guess(with) + p.seconds, [ =, this ]() -> auto & {
                    return add({"past", what, 64, 0}, "messages_per_s", after_past(with, p).messages_per_s);
                });
        };
        one("nothing", s, {});
        one("a ring of " + bytes_text(large.capacity), large, {});
        one(fmt::format("{} connections", connections.connections), s, connections);
        one(fmt::format("{} reloads", reloads.reloads), s, reloads);
        one(fmt::format("{:g} s at full speed", uptime.seconds), s, uptime);
    }

    plan plan_;
    std::vector<contender> others_, blocking_, spinning_;
    contender floor_ = floor_memory(), bare_ = bare_ring(), line_ = cache_line(), eventfd_ = plain_eventfd();
    results found_;
};

}  // namespace

results carry_out(const plan &p) { return benchmark(p).carry_out(); }

}  // namespace bench
