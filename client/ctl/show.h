// What the commands of arenactl print.
//
// Purpose: each function prints one answer of the client library to stdout, as tables for people or
// as JSON. The result is the exit code.
// Threads: one. Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

#include "arenad/arenad.h"

namespace arenad::ctl {

int show_arena(const client::ArenaInfo& arena, bool as_json);
int show_arenas(const std::vector<client::ArenaInfo>& arenas, bool as_json);
int show_deleted(const std::string& name, bool as_json);
int show_slabinfo(const std::vector<client::SlabUsage>& rows, bool as_json);
int show_holders(const client::Holders& holders, bool as_json);
int show_blocks(const std::vector<client::BlockInfo>& blocks, bool as_json);
int show_sessions(const std::vector<client::SessionInfo>& sessions, bool as_json);
int show_session_limit(const client::SessionLimit& limit, bool as_json);
int show_trim(const client::TrimResult& trimmed, bool as_json);
int show_given_back(const client::GivenBack& given, bool as_json);
// kExitNotExact when the report is not exact.
int show_audit(const client::AuditReport& report, bool as_json);
int show_tunables(const std::vector<client::Tunable>& tunables, bool as_json);
int show_stats(const client::Stats& stats, bool as_json);
int show_topology(const client::Topology& topology, bool as_json);
int show_health(bool as_json);

}  // namespace arenad::ctl
