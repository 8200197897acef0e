// StateRecovery by itself: which sessions of a former daemon go on, which wait, and whose memory
// comes back.
#include "server/core/control/state_recovery.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/core/control/liveness.h"
#include "server/core/state/attach_mark.h"
#include "tests/core/client_process.h"
#include "tests/core/control_bench.h"
#include "tests/support/eventually.h"
#include "tests/support/refs.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;

ProcessMark mark_of_pid(pid_t pid) {
  CallerProcess process;
  process.pid = pid;
  process.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  EXPECT_TRUE(process.pidfd);
  process.identity = {pidfs_inode(process.pidfd.get()), pid};
  return mark_of(process);
}

// This process, which lives.
ProcessMark living() { return mark_of_pid(::getpid()); }

// A process that has ended, and whose pid is this process's today.
ProcessMark ended() {
  ProcessMark mark = living();
  ++mark.start_time;
  if (mark.pidfs_inode != 0) ++mark.pidfs_inode;
  return mark;
}

// A process in another PID namespace.
ProcessMark out_of_sight() { return mark_of(CallerProcess{}); }

class StateRecoveryTest : public testing::Test {
 protected:
  StateRecoveryTest() : former_(bench_on_directory()) {
    auto store = SessionStore::open(former_->core().state.sessions_path());
    EXPECT_TRUE(store.ok()) << store.error().message;
    former_->core().store = std::move(*store);
    former_->start();
    arena_ = former_->add_arena("pool", 8 << 20);
  }
  ~StateRecoveryTest() override {
    if (bench_ != nullptr) bench_->stop();
  }

  std::unique_ptr<ControlBench> bench_on_directory() {
    auto state = StateDirectory::open(directory_.path(), "", [](LogLevel, const std::string&) {});
    EXPECT_TRUE(state.ok()) << state.error().message;
    return std::make_unique<ControlBench>(2, Limits{}, std::move(*state));
  }

  // A session of the former daemon that holds one block. Without a process it was never bound.
  SessionKey add_session(const std::string& name, AttachMode mode,
                         const std::optional<ProcessMark>& process, std::uint64_t limit_bytes = 0,
                         std::uint64_t reserve_bytes = 0) {
    const SessionKey key = former_->add_session(name);
    former_->on_control([&] {
      KeptSession kept;
      kept.key = key;
      kept.name = name;
      kept.limit_bytes = limit_bytes;
      kept.reserve_bytes = reserve_bytes;
      EXPECT_TRUE(former_->core().store.put(kept).ok());
      if (process) former_->core().store.bind(key.id, *process, 0, 0);
    });
    former_->attach(key, arena_, mode);
    EXPECT_TRUE(former_->allocate(0, key, arena_, kBlockBytes).ok());
    return key;
  }

  // A descriptor of the arena's data with the session's mark, as a handoff gives it away.
  UniqueFd handed_out(SessionId session) {
    const int data = former_->on_control(
        [&] { return former_->core().arenas.find(arena_)->state->arena->data_fd(); });
    UniqueFd fd(::open(("/proc/self/fd/" + std::to_string(data)).c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_TRUE(set_attach_mark(fd.get(), session));
    return fd;
  }

  // The former daemon is gone. The next daemon reads what is left, and then runs.
  void restart(std::uint64_t grace_ms = 600'000) {
    former_.reset();
    bench_ = bench_on_directory();
    bench_->shared().tunables.restart_grace_ms = grace_ms;
    liveness_.emplace(bench_->core().thread.io(), [this](SessionId session, Liveness::Loss loss) {
      lost_.set_value({session, loss});
    });
    StateRecovery recovery(bench_->core(), *liveness_);
    const auto recovered = recovery.run();
    ASSERT_TRUE(recovered.ok()) << recovered.error().message;
    dead_sessions_ = recovery.dead_sessions();
    given_back_ = recovery.given_back();
    bench_->start();
  }

  // What the next daemon has of the session. Nothing: the key is refused.
  std::optional<SessionRecord> found(SessionKey key) {
    return bench_->on_control([&]() -> std::optional<SessionRecord> {
      const auto record = bench_->core().sessions.find(key);
      if (!record.ok()) return std::nullopt;
      return **record;
    });
  }
  std::int64_t held_by(SessionId session) {
    return bench_->on_control([&] {
      return take_census(*bench_->core().arenas.find(arena_)->state->arena).held_by(session).blocks;
    });
  }
  void expect_given_back(SessionKey key) {
    EXPECT_FALSE(found(key));
    EXPECT_EQ(held_by(key.id), 0);
    EXPECT_EQ(dead_sessions_, 1u);
    bench_->on_control([&] {
      EXPECT_FALSE(bench_->core().store.all().contains(key.id));
      const ArenaRecord& record = *bench_->core().arenas.find(arena_);
      EXPECT_FALSE(record.sessions.contains(key.id));
      EXPECT_EQ(record.state->arena->ledger().attach_mode(key.id), 0);
    });
  }
  void expect_kept(SessionKey key) {
    ASSERT_TRUE(found(key));
    EXPECT_EQ(held_by(key.id), 1);
    EXPECT_EQ(dead_sessions_, 0u);
  }
  // Waits for the loss that Liveness reports.
  void expect_loss(SessionId session, Liveness::Loss loss) {
    auto lost = lost_.get_future();
    ASSERT_EQ(lost.wait_for(test::kDeadline), std::future_status::ready);
    EXPECT_EQ(lost.get(), std::pair(session, loss));
  }

  test::TemporaryDirectory directory_{test::kMemoryFiles};
  std::promise<std::pair<SessionId, Liveness::Loss>> lost_;
  std::unique_ptr<ControlBench> former_;
  ArenaId arena_;
  std::unique_ptr<ControlBench> bench_;
  std::optional<Liveness> liveness_;
  std::uint64_t dead_sessions_ = 0;
  std::vector<UniqueFd> mapped_;  // what is to be mapped until the daemon has stopped
  ReapResult given_back_;
};

TEST_F(StateRecoveryTest, SessionOfALivingProcessGoesOnWithKeyAttachmentAndBlocks) {
  const SessionKey key = add_session("camera", AttachMode::kWriter, living());
  restart();
  expect_kept(key);
  const auto session = found(key);
  EXPECT_EQ(session->name, "camera");
  EXPECT_TRUE(session->bound);
  EXPECT_TRUE(session->watched);
  EXPECT_EQ(session->attached, (std::map<ArenaId, AttachMode>{{arena_, AttachMode::kWriter}}));
  for (const std::size_t shard : {0u, 1u})
    EXPECT_TRUE(bench_->allocate(shard, key, arena_, kBlockBytes).ok()) << "shard " << shard;
}

TEST_F(StateRecoveryTest, ProcessOfASessionThatGoesOnIsWatched) {
  ClientProcess client("");
  const SessionKey key = add_session("s", AttachMode::kWriter, mark_of_pid(client.pid()));
  restart();
  expect_kept(key);
  client.kill();
  expect_loss(key.id, Liveness::Loss::kProcessDied);
}

TEST_F(StateRecoveryTest, SessionWhoseClientDoesNotComeBackIsAskedFor) {
  const SessionKey key = add_session("s", AttachMode::kRemote, living());
  restart(1);
  expect_kept(key);
  expect_loss(key.id, Liveness::Loss::kGraceOver);
}

TEST_F(StateRecoveryTest, ProcessOutOfSightWhoseLastMappedArenaWasDeletedIsGone) {
  const SessionKey key = add_session("s", AttachMode::kWriter, out_of_sight());
  const UniqueFd mapped = handed_out(key.id);
  restart();
  bench_->on_control([&] { bench_->core().sessions.find(key.id)->attached.clear(); });
  expect_loss(key.id, Liveness::Loss::kProcessDied);
}

TEST_F(StateRecoveryTest, ProcessOutOfSightThatHasAStreamMapsWhatItLikes) {
  const SessionKey key = add_session("s", AttachMode::kWriter, out_of_sight());
  UniqueFd mapped = handed_out(key.id);
  const SessionKey other = add_session("other", AttachMode::kWriter, out_of_sight());
  UniqueFd others = handed_out(other.id);
  restart();
  bench_->on_control([&] {
    bench_->core().sessions.find(key.id)->keepalives[1] = [](const SessionEvent&) {};
    mapped = UniqueFd();
    others = UniqueFd();
  });
  expect_loss(other.id, Liveness::Loss::kProcessDied);  // both were asked about by then
  EXPECT_TRUE(found(key));
}

TEST_F(StateRecoveryTest, LimitOfASessionThatGoesOnCountsWhatItHolds) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living(), 2 * kBlockBytes);
  restart();
  EXPECT_EQ(bench_->shared().account.limit_bytes(key.id), 2 * kBlockBytes);
  EXPECT_EQ(bench_->shared().account.charged_bytes(key.id), kBlockBytes);
}

TEST_F(StateRecoveryTest, ReserveOfASessionThatGoesOnIsSetAsideAgain) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living(), 0, 8 * kBlockBytes);
  add_session("dead", AttachMode::kWriter, ended(), 0, 8 * kBlockBytes);
  restart();
  EXPECT_EQ(found(key)->reserve_bytes, 8 * kBlockBytes);
  EXPECT_EQ(bench_->shared().memory.reserved_bytes(), 8 * kBlockBytes);
  EXPECT_EQ(bench_->shared().memory.set_aside_bytes(), 7 * kBlockBytes);
}

TEST_F(StateRecoveryTest, WhatADeadSessionHeldIsGivenBackAndNothingElse) {
  const SessionKey dead = add_session("dead", AttachMode::kWriter, ended());
  const SessionKey alive = add_session("alive", AttachMode::kWriter, living());
  restart();
  expect_given_back(dead);
  EXPECT_TRUE(found(alive));
  EXPECT_EQ(held_by(alive.id), 1);
}

// A start would take as many passes over the arena as a peer can forge holders.
TEST_F(StateRecoveryTest, AllDeadHoldersAreReapedInOnePass) {
  constexpr std::uint16_t kHolders = 1000;
  const SessionKey key = add_session("s", AttachMode::kWriter, living());
  const auto blocks = former_->allocate(0, key, arena_, 64, kHolders);
  ASSERT_TRUE(blocks.ok()) << blocks.error().message;
  std::uint64_t runs = 0;
  former_->on_control([&] {
    Arena& arena = *former_->core().arenas.find(arena_)->state->arena;
    for (std::uint16_t i = 0; i < kHolders; ++i) {
      AtomicWord& word = arena.word(slot_of(blocks->blocks[i].ref));
      word = BlockWord::held(word.load() & BlockWord::kGenerationMask,
                             Holder(SessionId{static_cast<std::uint16_t>(1000 + i)}, 0));
    }
    arena.for_each_run([&runs](SlabIndex, RunRecord) { ++runs; });
  });
  restart();
  EXPECT_EQ(given_back_.blocks, kHolders);
  EXPECT_EQ(given_back_.runs, runs) << "each run is read once";
  bench_->on_control([&] {
    const auto held = take_census(*bench_->core().arenas.find(arena_)->state->arena).by_session();
    ASSERT_EQ(held.size(), 1u);
    EXPECT_EQ(held.begin()->first, key.id);
  });
}

TEST_F(StateRecoveryTest, RunsLeasedToTheDeadAreAdoptedAndThoseOfTheLivingStay) {
  const SessionKey dead = add_session("dead", AttachMode::kPeer, ended());
  const SessionKey alive = add_session("alive", AttachMode::kPeer, living());
  former_->on_control([&] {
    Arena& arena = *former_->core().arenas.find(arena_)->state->arena;
    const RunShape slab = arena.geometry().slab_shape({0});
    for (const SessionId session : {dead.id, alive.id})
      EXPECT_TRUE(arena.grant(HeapId{300}, RunOwner::leased_to(session), slab, {0}).ok());
  });
  restart();
  std::map<SessionId, int> runs;
  bench_->on_control([&] {
    bench_->core().arenas.find(arena_)->state->arena->for_each_run(
        [&](SlabIndex, RunRecord run) { ++runs[run.owner().lessee()]; });
  });
  EXPECT_EQ(runs.count(dead.id), 0u);
  EXPECT_EQ(runs[alive.id], 1);
}

TEST_F(StateRecoveryTest, SessionThatWasEndingIsGivenBackThoughItsProcessLives) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living());
  former_->on_control([&] { former_->core().store.mark_ending(key.id); });
  restart();
  expect_given_back(key);
}

TEST_F(StateRecoveryTest, SessionWithoutAProcessKeepsItsBlocksAndWaits) {
  const SessionKey key = add_session("s", AttachMode::kWriter, std::nullopt);
  restart(1);
  expect_kept(key);
  EXPECT_FALSE(found(key)->bound);
  expect_loss(key.id, Liveness::Loss::kGraceOver);
}

TEST_F(StateRecoveryTest, ProcessOutOfSightLivesAsLongAsItsAttachMark) {
  const SessionKey key = add_session("s", AttachMode::kWriter, out_of_sight());
  UniqueFd mapped = handed_out(key.id);
  restart(1);
  expect_kept(key);
  EXPECT_TRUE(found(key)->bound);
  EXPECT_FALSE(found(key)->watched);
  mapped = UniqueFd();
  expect_loss(key.id, Liveness::Loss::kProcessDied);
}

TEST_F(StateRecoveryTest, ProcessOutOfSightWithoutAnAttachMarkIsDead) {
  const SessionKey key = add_session("s", AttachMode::kWriter, out_of_sight());
  restart();
  expect_given_back(key);
}

TEST_F(StateRecoveryTest, ProcessOutOfSightThatMapsNothingWaits) {
  const SessionKey key = add_session("s", AttachMode::kRemote, out_of_sight());
  restart(1);
  expect_kept(key);
  EXPECT_FALSE(found(key)->bound);
  expect_loss(key.id, Liveness::Loss::kGraceOver);
}

TEST_F(StateRecoveryTest, BootIdOfAnotherContainerSaysNothingOfAProcess) {
  std::vector<ProcessMark> marks{living(), ended(), living()};
  marks[0].boot[1] ^= 1;
  marks[1].boot[1] ^= 1;
  marks[2].boot[0] = marks[2].boot[1] = 0;  // it could not be read
  std::vector<SessionKey> keys;
  for (const ProcessMark& mark : marks) {
    keys.push_back(add_session("s", AttachMode::kWriter, mark));
    mapped_.push_back(handed_out(keys.back().id));
  }
  restart(1);
  for (const SessionKey key : keys) expect_kept(key);
  mapped_[0] = UniqueFd();
  expect_loss(keys[0].id, Liveness::Loss::kProcessDied);
}

TEST_F(StateRecoveryTest, ProcessOfAnotherBootIdWithoutAnAttachMarkIsDead) {
  ProcessMark mark = living();
  mark.boot[0] ^= 1;
  const SessionKey key = add_session("s", AttachMode::kWriter, mark);
  restart();
  expect_given_back(key);
}

// What may happen to the table of sessions while no daemon runs.
struct LostTable {
  const char* name;
  void (*lose)(const std::string& path);
};
class LostTables : public StateRecoveryTest, public testing::WithParamInterface<LostTable> {};
INSTANTIATE_TEST_SUITE_P(
    StateRecovery, LostTables,
    testing::Values(
        LostTable{"Damaged",
                  [](const std::string& path) {
                    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary)
                        << "not a table";
                  }},
        LostTable{"Missing",
                  [](const std::string& path) { EXPECT_TRUE(std::filesystem::remove(path)); }},
        LostTable{"Empty", [](const std::string& path) { std::filesystem::resize_file(path, 0); }}),
    [](const auto& test) { return test.param.name; });

TEST_P(LostTables, SessionGoesOnUnderAnotherKeyWhileItsMarkStands) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living());
  const UniqueFd mapped = handed_out(key.id);
  GetParam().lose(former_->core().state.sessions_path());
  restart();
  EXPECT_FALSE(found(key)) << "the key that was lost proves nothing";
  EXPECT_EQ(held_by(key.id), 1);
  bench_->on_control([&] {
    const SessionRecord* const session = bench_->core().sessions.find(key.id);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(session->name, "lost-" + std::to_string(key.id.value));
  });
}

TEST_P(LostTables, SessionIsGivenBackWithoutAMark) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living());
  GetParam().lose(former_->core().state.sessions_path());
  restart();
  expect_given_back(key);
}

TEST_F(StateRecoveryTest, DamagedArenaIsSetAsideAndTheOthersAreServed) {
  const SessionKey key = add_session("s", AttachMode::kWriter, living());
  const ArenaId damaged = former_->add_arena("damaged", 8 << 20);
  std::string ledger;
  former_->on_control([&] {
    ledger = former_->core().state.files_of("damaged").ledger_path;
    // A run that ends behind the arena.
    former_->core().arenas.find(damaged)->state->arena->ledger().set_run(
        {126}, RunRecord::of(SlabKind::kSpan, kSpanClass, 4, RunOwner::heap({0})));
  });
  restart();
  expect_kept(key);
  EXPECT_EQ(bench_->on_control([&] { return bench_->core().arenas.find("damaged"); }), nullptr);
  EXPECT_NE(::access(ledger.c_str(), F_OK), 0);
}

TEST(StateRecovery, DoesNothingWithoutAStateDirectory) {
  ControlBench bench;
  Liveness liveness(bench.core().thread.io(), [](SessionId, Liveness::Loss) {});
  StateRecovery recovery(bench.core(), liveness);
  EXPECT_TRUE(recovery.run().ok());
  EXPECT_TRUE(bench.log_lines().empty());
}

}  // namespace
}  // namespace arenad::server
