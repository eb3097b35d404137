#include "machine.hpp"

#include <fmt/format.h>
#include <sys/times.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <sstream>

#include "clock.hpp"
#include "stats.hpp"
#include "text.hpp"

namespace bench {

machine this_machine() {
    machine m;
    utsname u;
    uname(&u);
    m.kernel = fmt::format("{} {} {}", u.sysname, u.release, u.machine);
    std::ifstream file("/proc/cpuinfo");
    unsigned count = 0;
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("model name")) continue;
        m.processor = line.substr(line.find(':') + 2);
        ++count;
    }
    m.processor += fmt::format(", {} processors", count);
    std::time_t now = std::time(nullptr);
    char date[32];
    std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
    m.date = date;
    return m;
}

noise_meter::counts noise_meter::now() const {
    counts c{};
    std::ifstream file("/proc/stat");
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        std::uint64_t user, nice, system, idle, iowait, irq, softirq, steal;
        words >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
        if (name != fmt::format("cpu{}", where_.sender) && name != fmt::format("cpu{}", where_.receiver)) continue;
        std::uint64_t busy = user + nice + system + irq + softirq;
        c.busy += busy;
        c.stolen += steal;
        c.all += busy + idle + iowait + steal;
    }
    tms t;
    times(&t);
    c.own = static_cast<std::uint64_t>(t.tms_utime + t.tms_stime + t.tms_cutime + t.tms_cstime);
    return c;
}

void noise_meter::read(machine &m) const {
    counts end = now();
    auto all = static_cast<double>(end.all - start_.all);
    if (all <= 0) return;
    double others = static_cast<double>(end.busy - start_.busy) - static_cast<double>(end.own - start_.own);
    m.others_share = std::max(0., others) / all;
    m.stolen_share = static_cast<double>(end.stolen - start_.stolen) / all;
}

std::string noise_of(const results &all) {
    std::string text;
    auto add = [&](const std::string &s) { text += (text.empty() ? "" : "; ") + s; };
    if (all.on.others_share > 0.05)
        add(fmt::format("other programs had {:.0f} % of the processors", 100 * all.on.others_share));
    if (all.on.stolen_share > 0.02) add(fmt::format("the host took {:.0f} % of them", 100 * all.on.stolen_share));
    // What a cache line takes is as good as constant on a machine that does nothing else.
    if (auto *line = all.find({"answered", "line", 8, 0}, "p50_ns"))
        if (double q1 = quantile(*line, 0.25), q3 = quantile(*line, 0.75); q3 > 1.5 * q1)
            add(fmt::format("a cache line took {} to {}", time_text(q1), time_text(q3)));
    return text;
}

}  // namespace bench
