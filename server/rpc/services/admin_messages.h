// The answers of Admin from the engine's facts.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <vector>

#include "arenad/v1/admin.pb.h"
#include "server/core/api/api.h"

namespace arenad::server {

void fill(v1::Stats& out, const DaemonStats& stats);
void fill(v1::GetSlabInfoResponse& out, const std::vector<SlabInfoRow>& rows);
void fill(v1::ListHoldersResponse& out, const Holders& holders);
void fill(v1::AuditReport& out, const AuditResult& audit);
void fill(v1::Tunables& out, const std::vector<TunableFacts>& tunables);
void fill(v1::TrimArenasResponse& out, const TrimFacts& trimmed);
void fill(v1::SetSessionLimitResponse& out, const SessionLimitFacts& limit);

}  // namespace arenad::server
