#include "server/core/control/audits.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// A shard that works arrives within one turn of its loop. This is for a shard that does not.
constexpr std::uint64_t kArriveWithinMs = 5000;

}  // namespace

Task<Answer<AuditResult>> Audits::audit(Caller caller, std::string arena) {
  if (Failure failure = core_.must_be_admin(*caller, "Audit"); failure.error != Error::kNone)
    co_return failure;
  const auto scope = core_.scope_of(arena);
  if (!scope.ok()) co_return scope.error();
  if (callers_ >= kMostCallers) {
    co_return refuse(
        Error::kQuotaDaemon,
        fmt::format("{} audits are asked for already: ask again when they have ended", callers_));
  }
  auto same = waiting_.begin();
  while (same != waiting_.end() && same->scope != *scope) ++same;
  if (same == waiting_.end()) same = waiting_.insert(same, {*scope, std::move(arena), {}});
  const Later<Answer<AuditResult>> result;
  same->callers.push_back(result);
  ++callers_;
  if (!std::exchange(running_, true)) core_.thread.run(run_all());
  co_return co_await result;
}

Task<> Audits::run_all() {
  while (!waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    stopped_ns_ = 0;
    ++count_;
    auto audit = run(next.scope, std::move(next.arena));
    const Answer<AuditResult> result = co_await audit;
    callers_ -= next.callers.size();
    for (const auto& caller : next.callers) caller.set(result);
    const auto pause = core_.thread.sleep(std::chrono::nanoseconds(stopped_ns_ * kWorkPerStop));
    co_await pause;
  }
  running_ = false;
}

Task<Answer<AuditResult>> Audits::run(ArenaId id, std::string arena) {
  // All publish, then all drain. So what was freed is with its owner when the shards stand still.
  auto published = core_.shards.broadcast([](Shard& shard) { shard.publish(); });
  co_await published;
  auto drained = core_.shards.broadcast([id](Shard& shard) { shard.drain(id); });
  co_await drained;
  if (const auto still = core_.scope_of(arena); !still.ok() || *still != id) {
    co_return refuse(Error::kUnknownArena,
                     fmt::format("arena '{}' was deleted before its audit", arena));
  }

  const std::shared_ptr<Standstill> standstill = prepare(id);
  gate_.close();
  auto stood = core_.shards.broadcast([standstill, id](Shard& shard) {
    shard.take_part(*standstill);
    return shard.facts(id);
  });
  const std::vector<ShardFacts> facts = co_await stood;
  gate_.open();
  stopped_ns_ = standstill->duration_ns();
  if (!standstill->complete()) {
    co_return refuse(Error::kInternal,
                     fmt::format("a shard did not stand still within {} ms, there is no audit",
                                 kArriveWithinMs));
  }

  AuditResult result;
  for (std::size_t i = 0; i < standstill->arenas().size(); ++i) {
    AuditedArena audited = report_on(*standstill, i);
    result.exact = result.exact && audited.report.exact();
    result.arenas.push_back(std::move(audited));
  }
  for (const ShardFacts& shard : facts) {
    result.p0_counter_ok += shard.heap.p0_counter_ok;
    result.p0_counter_mismatch += shard.heap.p0_counter_mismatch;
  }
  co_return result;
}

// Of the arenas that there are now. A deletion from here on reaches each shard after the
// standstill.
std::shared_ptr<Standstill> Audits::prepare(ArenaId scope) {
  std::vector<AuditedState> arenas;
  for (const auto& [name, record] : core_.arenas.all())
    if (scope == kAllArenas || record.id() == scope)
      arenas.push_back({record.state, record.sessions});
  return std::make_shared<Standstill>(static_cast<std::uint32_t>(core_.shards.size()),
                                      std::move(arenas), kArriveWithinMs);
}

AuditedArena Audits::report_on(Standstill& standstill, std::size_t arena) {
  ArenaState& state = *standstill.arenas()[arena].state;
  AuditedArena audited;
  audited.arena = state.arena->options().name;
  audited.report = std::move(standstill.report(arena));
  audited.scan_us = standstill.duration_ns() / 1000;
  for (const std::string& finding : audited.report.findings)
    core_.log(LogLevel::kError, fmt::format("audit of '{}': {}", audited.arena, finding));
  if (const std::uint64_t more = audited.report.findings_left_out(); more != 0)
    core_.log(LogLevel::kError,
              fmt::format("audit of '{}': {} more findings", audited.arena, more));
  quarantine_if_damaged(audited, state);
  return audited;
}

// The words are as no protocol leaves them: the next allocation may be somebody's block. See
// README.md, "Quarantine".
void Audits::quarantine_if_damaged(const AuditedArena& audited, ArenaState& state) {
  state.check_files();
  if (!audited.report.exact() && !state.arena->quarantined())
    state.arena->quarantine(fmt::format("an audit found: {}", audited.report.findings.front()));
  if (!state.take_quarantine()) return;
  core_.log(LogLevel::kError, fmt::format("arena '{}' is quarantined: {}", audited.arena,
                                          state.arena->quarantine_reason()));
}

}  // namespace arenad::server
