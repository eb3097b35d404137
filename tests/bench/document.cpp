// A run as JSON, for other programs.
#include <nlohmann/json.hpp>

#include "results.hpp"
#include "stats.hpp"

namespace bench {

namespace {

using nlohmann::json;

json spread_json(const std::vector<double> &values) {
    spread s = spread_of(values);
    return {{"q1", s.q1}, {"median", s.median}, {"q3", s.q3}, {"rounds", values}};
}

}  // namespace

std::string document(const results &all) {
    json j;
    j["library"] = all.version;
    j["rounds"] = all.rounds;
    j["seconds"] = all.seconds;
    j["cpus"] = {all.where.sender, all.where.receiver};
    j["kernel"] = all.kernel;
    j["units"] = {
        {"throughput", "messages/s"}, {"latency", "ns, one way"},    {"cpu", "ns a message, both sides together"},
        {"memcpy", "bytes/s"},        {"commit_by_receivers", "ns"}, {"rate_by_idle_senders", "messages/s"}};
    for (auto &[size, rates] : all.memcpys) j["memcpy"][std::to_string(size)] = spread_json(rates);
    for (auto &[size, row] : all.floods) {
        json &out = j["throughput"][std::to_string(size)];
        out["capacity"] = all.capacities.at(size);
        for (auto &[name, r] : row) {
            out[name] = spread_json(r.messages_per_s);
            out[name]["cpu"] = spread_json(r.cpu_ns);
            out[name]["context_switches_per_message"] = spread_of(r.switches_per_message).median;
        }
        for (const std::string &name : all.libraries) {
            const flood_result &ours = row.at(name);
            out[name]["waits_and_bells_per_message"] = spread_of(ours.waits_per_message).median;
            for (auto &[other, theirs] : row)
                if (&theirs != &ours)
                    out[name]["over " + other] = spread_json(ratios(ours.messages_per_s, theirs.messages_per_s));
        }
    }
    for (auto &[name, r] : all.latencies)
        j["latency"][name] = {{"p50", spread_json(r.p50)},        {"p99", spread_json(r.p99)},
                              {"cpu", spread_json(r.cpu_ns)},     {"all_p50", quantile(r.all, 0.5)},
                              {"all_p99", quantile(r.all, 0.99)}, {"all_p99.9", quantile(r.all, 0.999)},
                              {"max", quantile(r.all, 1)},        {"samples", r.all.size()}};
    for (auto &[n, ns] : all.commits) j["commit_by_receivers"][std::to_string(n)] = spread_json(ns);
    for (auto &[n, rates] : all.crowds) j["rate_by_idle_senders"][std::to_string(n)] = spread_json(rates);
    return j.dump(1);
}

}  // namespace bench
