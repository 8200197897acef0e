#include "client/load/report.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace arenad::load {

std::string duration_text(std::uint64_t ns) {
  char text[32];
  if (ns < 10'000)
    std::snprintf(text, sizeof text, "%llu ns", static_cast<unsigned long long>(ns));
  else if (ns < 10'000'000)
    std::snprintf(text, sizeof text, "%.1f us", static_cast<double>(ns) / 1e3);
  else
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(ns) / 1e6);
  return text;
}

namespace {

std::string write_file(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".tmp";
  std::ofstream out(temporary, std::ios::binary);
  out << content;
  out.close();
  if (!out || std::rename(temporary.c_str(), path.c_str()) != 0)
    return "cannot write " + path + ": " + std::strerror(errno);
  return {};
}

}  // namespace

void print_table(const std::vector<WorkloadResult>& results) {
  std::printf("\n%-9s %-9s %14s %14s %10s  %10s %10s %10s %10s %10s %10s  %s\n", "workload", "mode",
              "blocks", "blocks/s", "calls", "p50", "p90", "p99", "p99.9", "p99.99", "max",
              "latency of a");
  for (const WorkloadResult& r : results) {
    const std::string calls = r.calls < 0 ? "-" : std::to_string(r.calls);
    std::printf("%-9s %-9s %14llu %14.0f %10s ", r.workload.c_str(), r.mode.c_str(),
                static_cast<unsigned long long>(r.operations), r.ops_per_second(), calls.c_str());
    for (const double q : kQuantiles)
      std::printf(" %10s", duration_text(r.latency->quantile(q)).c_str());
    std::printf(" %10s  %s\n", duration_text(r.latency->max()).c_str(), r.unit.c_str());
    if (!r.failure.empty()) std::printf("          FAILED: %s\n", r.failure.c_str());
  }
}

std::string to_json(const Options& options, const std::vector<WorkloadResult>& results,
                    const Conservation& conservation) {
  using nlohmann::json;
  json out{{"program", "arena-load"},
           {"seed", options.seed},
           {"duration_s", options.duration_s},
           {"workloads", json::array()}};
  for (const WorkloadResult& r : results) {
    json latency{{"of", r.unit}, {"count", r.latency->count()}, {"max_ns", r.latency->max()}};
    for (std::size_t i = 0; i < std::size(kQuantiles); ++i)
      latency[std::string(kQuantileNames[i]) + "_ns"] = r.latency->quantile(kQuantiles[i]);
    out["workloads"].push_back({{"workload", r.workload},
                                {"mode", r.mode},
                                {"seconds", r.seconds},
                                {"operations", r.operations},
                                {"operations_per_second", r.ops_per_second()},
                                {"per_second", r.per_second},
                                {"calls", r.calls < 0 ? json(nullptr) : json(r.calls)},
                                {"latency", latency},
                                {"bad_stamps", r.bad},
                                {"left_held", r.left_held},
                                {"failure", r.failure}});
  }
  json shards = json::array();
  for (const auto& s : conservation.stats.shards)
    shards.push_back({{"shard", s.shard.value},
                      {"drains", s.heap.drains},
                      {"drained_blocks", s.heap.drained_blocks},
                      {"splices", s.heap.splices},
                      {"carves", s.heap.carves},
                      {"remote_frees", s.heap.remote_frees},
                      {"remote_frees_to", s.remote_frees_to}});
  json audits = json::array();
  for (const auto& a : conservation.audit.arenas)
    audits.push_back({{"arena", a.arena},
                      {"exact", a.exact},
                      {"mismatches", a.mismatches},
                      {"held", a.held},
                      {"returning", a.returning},
                      {"capacity_blocks", a.capacity_blocks},
                      {"scan_us", a.scan_us}});
  out["conservation"] = {{"ok", conservation.ok()},
                         {"problems", conservation.problems},
                         {"shards", shards},
                         {"audit", audits},
                         {"p0_counter_ok", conservation.audit.p0_counter_ok},
                         {"p0_counter_mismatch", conservation.audit.p0_counter_mismatch}};
  return out.dump(2) + "\n";
}

std::string to_csv(const std::vector<WorkloadResult>& results) {
  std::string out =
      "workload,mode,seconds,operations,operations_per_second,calls,p50_ns,p90_ns,p99_ns,p99.9_ns,"
      "p99.99_ns,max_ns,latency_of\n";
  for (const WorkloadResult& r : results) {
    out += r.workload + "," + r.mode + "," + std::to_string(r.seconds) + "," +
           std::to_string(r.operations) + "," + std::to_string(r.ops_per_second()) + ",";
    if (r.calls >= 0) out += std::to_string(r.calls);
    for (const double q : kQuantiles) out += "," + std::to_string(r.latency->quantile(q));
    out += "," + std::to_string(r.latency->max()) + ",\"" + r.unit + "\"\n";
  }
  return out;
}

std::string write_reports(const Options& options, const std::vector<WorkloadResult>& results,
                          const Conservation& conservation) {
  std::string wrong;
  const auto write = [&](const std::string& path, auto&& content) {
    if (!path.empty() && wrong.empty()) wrong = write_file(path, content());
  };
  write(options.json_path, [&] { return to_json(options, results, conservation); });
  write(options.csv_path, [&] { return to_csv(results); });
  write(options.html_path, [&] { return to_html(options, results, conservation); });
  return wrong;
}

}  // namespace arenad::load
