// Metrics: the daemon's counters as Prometheus text.
//
// Purpose: collect_metrics asks the control plane; metrics_text writes what it said. Names:
// README.md. Threads: collect_metrics by any, `done` on the control thread; metrics_text is a pure
// function. Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

#include "server/core/api/api.h"

namespace arenad::server {

std::string metrics_text(const DaemonStats& stats, const std::vector<ArenaFacts>& arenas);
void collect_metrics(ControlApi& control, Done<std::string> done);

}  // namespace arenad::server
