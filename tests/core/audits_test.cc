// Audits by itself. audit_test.cc has what audits find in a whole daemon.
#include "server/core/control/audits.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <vector>

#include "tests/core/control_bench.h"
#include "tests/support/refs.h"

namespace arenad::server {
namespace {

TEST(Audits, ReportIsExactAndTheGateIsOpenAfterwards) {
  ControlBench bench;
  StandstillGate gate;
  Audits audits(bench.core(), gate);
  bench.start();
  const ArenaId arena = bench.add_arena("pool", 4 << 20);
  const SessionKey key = bench.add_session("s");
  bench.attach(key, arena);
  ASSERT_TRUE(bench.allocate(0, key, arena, 64, 5).ok());
  const auto result =
      bench.answer<AuditResult>([&] { return audits.audit(daemon_itself(), "pool"); });
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(result->exact);
  ASSERT_EQ(result->arenas.size(), 1u);
  EXPECT_EQ(result->arenas[0].report.held, 5u);
  bench.on_control([&] { EXPECT_FALSE(gate.closed()); });
  bench.stop();
}

TEST(Audits, DamagedArenaIsQuarantinedWithTheFinding) {
  ControlBench bench;
  StandstillGate gate;
  Audits audits(bench.core(), gate);
  bench.start();
  const ArenaId arena = bench.add_arena("pool", 4 << 20);
  const SessionKey key = bench.add_session("s");
  bench.attach(key, arena);
  const auto blocks = bench.allocate(0, key, arena, 64);
  ASSERT_TRUE(blocks.ok());
  bench.on_control([&] {
    AtomicWord& word =
        bench.core().arenas.find(arena)->state->arena->word(slot_of(blocks->blocks[0].ref));
    word.store(BlockWord::free_of(word.load()));
  });
  const auto result = bench.answer<AuditResult>([&] { return audits.audit(daemon_itself(), ""); });
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->exact);
  bench.on_control(
      [&] { EXPECT_TRUE(bench.core().arenas.find(arena)->state->arena->quarantined()); });
  const std::vector<std::string> lines = bench.log_lines(LogLevel::kError);
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines.front().rfind("audit of 'pool': ", 0), 0u) << lines.front();
  EXPECT_NE(lines.back().find("'pool' is quarantined: an audit found"), std::string::npos)
      << lines.back();
  bench.stop();
}

TEST(Audits, CallsThatWaitShareAnAuditAndTooManyAreRefused) {
  ControlBench bench;
  StandstillGate gate;
  Audits audits(bench.core(), gate);
  bench.start();
  bench.add_arena("pool", 4 << 20);
  const auto ask = [&](const char* arena) {
    return bench.answer_later<AuditResult>(
        [&audits, arena] { return audits.audit(daemon_itself(), arena); });
  };
  std::vector<std::future<Answer<AuditResult>>> answers;
  // One after another on the control thread, before any shard can answer.
  bench.on_control([&] {
    for (std::size_t i = 0; i < Audits::kMostCallers / 2; ++i) {
      answers.push_back(ask("pool"));
      answers.push_back(ask(""));
    }
    answers.push_back(ask("pool"));
  });
  std::size_t refused = 0;
  for (auto& answer : answers) {
    const Answer<AuditResult> result = answer.get();
    if (!result.ok()) {
      EXPECT_EQ(result.error().error, Error::kQuotaDaemon) << result.error().message;
      ++refused;
      continue;
    }
    EXPECT_TRUE(result->exact);
    ASSERT_EQ(result->arenas.size(), 1u);
  }
  EXPECT_EQ(refused, 1u);
  // The first audit of the arena, and one for those who came during it, and one of all arenas.
  EXPECT_LE(bench.on_control([&] { return audits.count(); }), 3u);
  EXPECT_TRUE(bench.answer<AuditResult>([&] { return audits.audit(daemon_itself(), ""); }).ok());
  bench.stop();
}

TEST(Audits, ShardsWorkBetweenTwoAudits) {
  ControlBench bench;
  StandstillGate gate;
  Audits audits(bench.core(), gate);
  bench.start();
  bench.add_arena("pool", 4 << 20);
  const auto began = std::chrono::steady_clock::now();
  std::chrono::microseconds stood{0};
  for (int i = 0; i < 20; ++i) {
    const auto result =
        bench.answer<AuditResult>([&] { return audits.audit(daemon_itself(), ""); });
    ASSERT_TRUE(result.ok());
    if (i < 19) stood += std::chrono::microseconds(result->arenas[0].scan_us);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - began, stood * (1 + Audits::kWorkPerStop));
  bench.stop();
}

TEST(Audits, UnknownArenaIsAnError) {
  ControlBench bench;
  StandstillGate gate;
  Audits audits(bench.core(), gate);
  bench.start();
  EXPECT_EQ(bench.answer<AuditResult>([&] { return audits.audit(daemon_itself(), "none"); })
                .error()
                .error,
            Error::kUnknownArena);
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
