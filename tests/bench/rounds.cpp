#include "rounds.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "clock.hpp"
#include "stats.hpp"

namespace bench {

void show_progress(const std::string &text) {
    static std::int64_t shown = 0;
    if (isatty(2)) {
        fmt::print(stderr, "\r\033[K{}", text);
        return;
    }
    std::int64_t now = monotonic_ns();
    if (text.empty() || (shown != 0 && now - shown < 10'000'000'000)) return;
    shown = now;
    fmt::print(stderr, "{}\n", text);
}

std::string duration_text(double seconds) {
    return seconds < 90 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.0f} min", seconds / 60);
}

void rounds::add(const std::string &group, const std::string &what, double seconds, job measure) {
    tasks_.push_back({group, what, seconds, std::move(measure)});
}

unsigned rounds::run(const limits &limit) {
    auto elapsed = [start = monotonic_ns()] { return static_cast<double>(monotonic_ns() - start) / 1e9; };
    std::set<std::string> left;
    for (const task &t : tasks_) left.insert(t.group);
    unsigned round = 0;
    while (!left.empty() && round < limit.most) {
        std::vector<task *> now;
        double round_s = 0;
        for (task &t : tasks_)
            if (left.contains(t.group) && !t.failed) {
                now.push_back(&t);
                round_s += t.seconds;
            }
        if (round >= limit.fewest && elapsed() + round_s + more_s_ > limit.seconds) break;
        double left_s = round_s;
        // Each round starts elsewhere and alternates its direction, so that no one always comes after the same.
        for (std::size_t i = 0; i < now.size(); ++i) {
            std::size_t at = (i + round * 7) % now.size();
            task &t = *now[round % 2 == 0 ? at : now.size() - 1 - at];
            double further = left_s + more_s_;
            unsigned to_fewest = round + 1 < limit.fewest ? limit.fewest - round - 1 : 0;
            double least = further + round_s * to_fewest;
            double most =
                std::min(further + round_s * (limit.most - round - 1), std::max(limit.seconds - elapsed(), further));
            show_progress(fmt::format(
                "round {} of {}: {}, {}; {} left", round + 1,
                limit.fewest == limit.most ? fmt::format("{}", limit.most)
                                           : fmt::format("{} to {}", limit.fewest, limit.most),
                t.group, t.what,
                most < 1.2 * least ? duration_text(most) : duration_text(least) + " to " + duration_text(most)));
            left_s -= t.seconds;
            double before = elapsed();
            try {
                t.series = &t.measure();
            } catch (const std::exception &e) {
                t.failed = true;
                failed_.push_back(fmt::format("{}, {}: {}", t.group, t.what, e.what()));
                show_progress("");
                fmt::print(stderr, "{}\n", failed_.back());
            }
            t.seconds = elapsed() - before;
        }
        ++round;
        if (round < limit.fewest) continue;
        std::set<std::string> moving;
        for (task *t : now)
            if (!t->failed && !has_settled(*t->series)) moving.insert(t->group);
        left = moving;
    }
    show_progress("");
    unsettled_.assign(left.begin(), left.end());
    return round;
}

}  // namespace bench
