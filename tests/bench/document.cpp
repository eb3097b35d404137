// A run as JSON: see results.schema.json.
#include <nlohmann/json.hpp>

#include "clock.hpp"
#include "results.hpp"
#include "stats.hpp"

namespace bench {

namespace {

using json = nlohmann::ordered_json;

// Six digits are more than was measured.
double rounded(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return std::strtod(text, nullptr);
}

json series(const std::vector<double> &values) {
    json rounds = json::array();
    for (double v : values) rounds.push_back(rounded(v));
    return {{"q1", rounded(quantile(values, 0.25))},
            {"median", rounded(median(values))},
            {"q3", rounded(quantile(values, 0.75))},
            {"rounds", rounds}};
}

json distribution(const histogram &h) {
    auto ns = [](double ticks) { return rounded(ticks * ns_per_tick()); };
    // 16 buckets for each doubling are enough for a picture.
    constexpr std::size_t together = histogram::half / 16;
    json counts = json::array();
    for (std::size_t i = 0; i < histogram::buckets; i += together) {
        std::uint64_t sum = 0;
        for (std::size_t j = i; j < i + together; ++j) sum += h.count(j);
        if (sum > 0) counts.push_back({ns(histogram::middle_of(i + together / 2)), sum});
    }
    return {{"samples", h.total()},
            {"p50_ns", ns(h.quantile(0.5))},
            {"p99_ns", ns(h.quantile(0.99))},
            {"p99.9_ns", ns(h.quantile(0.999))},
            {"max_ns", ns(static_cast<double>(h.max()))},
            {"counts", counts}};
}

}  // namespace

std::string document(const results &all) {
    json out;
    const machine &m = all.on;
    out["format"] = "libipc benchmark 1";
    out["machine"] = {{"processor", m.processor}, {"kernel", m.kernel},
                      {"library", m.library},     {"commit", m.commit},
                      {"date", m.date},           {"processors", {m.where.sender, m.where.receiver}}};
    out["noise"] = {{"others_share", rounded(m.others_share)},
                    {"stolen_share", rounded(m.stolen_share)},
                    {"too_noisy", noise_of(all)}};
    out["run"] = {{"rounds", all.rounds},
                  {"seconds_each", all.seconds},
                  {"took_s", rounded(all.took_s)},
                  {"unsettled", all.unsettled},
                  {"failed", all.failed}};
    constexpr const char *kinds[] = {"raw", "ours", "peer"};
    for (auto &[name, kind] : all.contenders) out["contenders"][name] = kinds[kind];
    out["records"] = json::array();
    for (auto &[k, r] : all.records) {
        json one = {{"part", k.part}, {"contender", k.contender}, {"size", k.size}, {"n", k.n}};
        for (auto &[name, values] : r.figures) one["figures"][name] = series(values);
        if (r.latency) one["latency"] = distribution(*r.latency);
        out["records"].push_back(one);
    }
    out["bars"] = json::array();
    for (const bar &b : bars_of(all))
        out["bars"].push_back({{"what", b.what},
                               {"figure", rounded(b.figure)},
                               {"bar", rounded(b.bar)},
                               {"at", b.at_least ? "least" : "most"},
                               {"met", b.met()}});
    // A record a line: the changes from run to run can be read.
    std::string text = "{\n";
    for (auto &[name, value] : out.items()) {
        text += " \"" + name + "\": ";
        if (value.is_array()) {
            text += "[\n";
            for (auto &one : value) text += "  " + one.dump() + (&one == &value.back() ? "\n" : ",\n");
            text += " ]";
        } else {
            text += value.dump();
        }
        text += name == "bars" ? "\n}\n" : ",\n";
    }
    return text;
}

}  // namespace bench
