// Answers of the client library as JSON.
//
// Purpose: to_json of each value that a command shows.
// Invariants: names are the field names of arenad.v1, and numbers are exact. A test compares the
// names with the proto descriptors.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "arenad/arenad.h"

namespace arenad::ctl {

nlohmann::json to_json(const client::ArenaInfo& arena);
nlohmann::json to_json(const client::SlabUsage& row);
nlohmann::json to_json(const client::BlockInfo& block);
nlohmann::json to_json(const client::Holders& holders);
nlohmann::json to_json(const client::SessionInfo& session);
nlohmann::json to_json(const client::AuditReport& report);
nlohmann::json to_json(const client::Tunable& tunable);
nlohmann::json to_json(const client::Stats& stats);
nlohmann::json to_json(const client::Topology& topology);

std::string octal(std::uint32_t mode);           // "0660"
const char* mode_name(client::AttachMode mode);  // "writer"

}  // namespace arenad::ctl
