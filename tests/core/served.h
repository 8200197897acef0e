// What an arena serves: calls of every kind, and what each of them must answer.
//
// Purpose: tests that damage one arena say what another one serves, and what the damaged one still
// serves.
// Threads: the test's. Crash: a test's.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "tests/core/daemon.h"

namespace arenad::server {

// Small and large blocks, and blocks of several units.
constexpr std::array<std::uint64_t, 7> kServedSizes{16, 64, 256, 700, 3000, 20'000, 150'000};
constexpr std::uint32_t kServedEach = 8;

// A fresh session allocates, describes, takes over and frees in an arena that nobody has damaged.
// Every answer is exact: distinct blocks that do not overlap, held by the session, freed once.
inline void expect_serves_exactly(Daemon& daemon, const std::string& name) {
  const auto facts = daemon.arena(name);
  ASSERT_TRUE(facts.ok()) << facts.error().message;
  EXPECT_FALSE(facts->quarantined) << facts->quarantine_reason;
  const SessionKey giver = daemon.open_attached(name, "giver");
  const SessionKey taker = daemon.open_attached(name, "taker");
  std::vector<std::uint64_t> refs;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // begin and end in the data file
  for (std::uint32_t i = 0; i < kServedSizes.size(); ++i) {
    // Others may work in the arena: their memory is waited for.
    const auto got = daemon.allocate(i % 2, giver, facts->id, kServedSizes[i], kServedEach, 60'000);
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->blocks.size(), kServedEach);
    for (const auto& block : got->blocks) {
      refs.push_back(block.ref.value);
      ranges.emplace_back(block.offset, block.offset + kServedSizes[i]);
    }
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i)
    ASSERT_LE(ranges[i - 1].second, ranges[i].first) << "two blocks overlap";
  ASSERT_LE(ranges.back().second, facts->capacity_bytes);

  const auto expect_held_by = [&](SessionKey holder) {
    const auto described = daemon.describe(0, holder, facts->id, refs);
    ASSERT_TRUE(described.ok()) << described.error().message;
    ASSERT_EQ(described->size(), refs.size());
    for (const auto& block : *described) {
      EXPECT_EQ(block.state, std::decay_t<decltype(block)>::State::kHeld);
      EXPECT_EQ(block.holder.session(), SessionId{holder.id});
    }
  };
  expect_held_by(giver);
  EXPECT_EQ(daemon.acquire(1, taker, facts->id, refs)->done, refs.size());
  expect_held_by(taker);
  EXPECT_EQ(daemon.close(giver)->blocks, 0u) << "all of it was taken over";
  EXPECT_EQ(daemon.free(0, taker, facts->id, refs)->done, refs.size());
  const auto again = daemon.free(1, taker, facts->id, refs);
  EXPECT_EQ(again->done, 0u);
  EXPECT_EQ(again->errors.size(), refs.size()) << "a block was freed twice";
  EXPECT_EQ(daemon.close(taker)->blocks, 0u);
}

// Every kind of allocation is refused, on every shard, with the arena's reason.
inline void expect_refuses_to_allocate(Daemon& daemon, const std::string& name, SessionKey key) {
  const auto facts = daemon.arena(name);
  ASSERT_TRUE(facts.ok()) << facts.error().message;
  EXPECT_TRUE(facts->quarantined);
  EXPECT_NE(facts->quarantine_reason, "");
  for (std::uint32_t shard = 0; shard < daemon.engine().shard_count(); ++shard) {
    for (const std::uint64_t size : kServedSizes) {
      // Waiting is for memory. No memory will come: who would wait is refused at once, too.
      for (const std::uint32_t wait_ms : {0u, 600'000u}) {
        const auto refused = daemon.allocate(shard, key, facts->id, size, 2, wait_ms);
        ASSERT_FALSE(refused.ok()) << size << " bytes from shard " << shard;
        EXPECT_EQ(refused.error().error, Error::kQuarantined) << refused.error().message;
        EXPECT_NE(refused.error().message.find("arena '" + name + "' is quarantined"),
                  std::string::npos)
            << refused.error().message;
        EXPECT_NE(refused.error().message.find(facts->quarantine_reason), std::string::npos)
            << refused.error().message;
      }
    }
  }
}

}  // namespace arenad::server
