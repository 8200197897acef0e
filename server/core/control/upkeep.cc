#include "server/core/control/upkeep.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "server/core/control/free_rounds.h"
#include "server/core/control/trim_rounds.h"

namespace arenad::server {
namespace {

std::uint64_t committed(const std::vector<std::shared_ptr<ArenaState>>& arenas) {
  std::uint64_t bytes = 0;
  for (const auto& state : arenas) bytes += state->arena->committed_bytes();
  return bytes;
}

}  // namespace

Task<Answer<TrimFacts>> Upkeep::trim(Caller caller, std::string arena) {
  if (Failure failure = core_.must_be_admin(*caller, "Trim"); failure.error != Error::kNone)
    co_return failure;
  const auto scope = core_.scope_of(arena);
  if (!scope.ok()) co_return scope.error();
  const std::vector<std::shared_ptr<ArenaState>> arenas = core_.arenas_in(*scope);
  TrimFacts facts;
  facts.committed_bytes_before = committed(arenas);
  for (const auto& state : arenas) {
    auto trimmed = trim_rounds_.trim(state->arena->id());
    co_await trimmed;
  }
  auto given_back = give_back(arenas);
  co_await given_back;
  facts.committed_bytes = committed(arenas);
  core_.log(LogLevel::kInfo, fmt::format("{} trimmed by {}: {} committed, {} before",
                                         arena.empty() ? "all arenas" : "arena '" + arena + "'",
                                         caller->text(), bytes_text(facts.committed_bytes),
                                         bytes_text(facts.committed_bytes_before)));
  co_return facts;
}

Later<Nothing> Upkeep::give_back(const std::vector<std::shared_ptr<ArenaState>>& arenas) {
  auto given_back = core_.thread.begin_operation<Nothing>();
  core_.maintenance.trim(arenas,
                         [this, given_back] { core_.thread.end_operation(given_back, Nothing{}); });
  return given_back;
}

Task<Answer<SessionLimitFacts>> Upkeep::limit_session(Caller caller, SessionId id,
                                                      std::uint64_t limit_bytes) {
  if (Failure failure = core_.must_be_admin(*caller, "SetSessionLimit");
      failure.error != Error::kNone)
    co_return failure;
  const SessionRecord* const session = core_.sessions.find(id);
  if (session == nullptr || session->reaping)
    co_return refuse(Error::kUnknownSession, fmt::format("session {} does not exist", id));
  Account& account = core_.shared.account;
  account.set_limit(id, limit_bytes);
  core_.store.set_limit(id, limit_bytes);
  core_.log(LogLevel::kInfo,
            fmt::format("session {} '{}' has a limit of {} now, set by {}", id, session->name,
                        bytes_text(account.limit_bytes(id)), caller->text()));
  auto over = free_rounds_.round();
  co_await over;
  co_return SessionLimitFacts{account.limit_bytes(id), account.charged_bytes(id)};
}

}  // namespace arenad::server
