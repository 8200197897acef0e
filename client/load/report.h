// Results for people and programs: a table, JSON, CSV, and one HTML page with plots.
//
// Threads: main. Crash: each file is written under a temporary name and then renamed, so no file is
//   half written.
#pragma once

#include <string>
#include <vector>

#include "client/load/conservation.h"
#include "client/load/options.h"
#include "client/load/runner.h"

namespace arenad::load {

inline constexpr double kQuantiles[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
inline constexpr const char* kQuantileNames[] = {"p50", "p90", "p99", "p99.9", "p99.99"};

std::string duration_text(std::uint64_t ns);  // in the unit that keeps the text short
void print_table(const std::vector<WorkloadResult>& results);

std::string to_json(const Options& options, const std::vector<WorkloadResult>& results,
                    const Conservation& conservation);
std::string to_csv(const std::vector<WorkloadResult>& results);
std::string to_html(const Options& options, const std::vector<WorkloadResult>& results,
                    const Conservation& conservation);

// Writes the files that the options name. Returns an empty text, or what went wrong.
std::string write_reports(const Options& options, const std::vector<WorkloadResult>& results,
                          const Conservation& conservation);

}  // namespace arenad::load
