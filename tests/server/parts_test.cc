// Parts of server/rpc that need no daemon: statuses, cpus, metrics text, the end of a turn.
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/config/cpus.h"
#include "server/rpc/loop/turn_end.h"
#include "server/rpc/metrics.h"
#include "server/rpc/services/status.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

using test::TemporaryDirectory;

TEST(Status, EveryErrorCarriesCodeMessageAndErrorInfo) {
  for (int e = 1; e <= static_cast<int>(kLastError); ++e) {
    const auto error = static_cast<Error>(e);
    const grpc::Status status = status_from({error, "what happened"});
    EXPECT_EQ(static_cast<int>(status.error_code()), error_code(error));
    EXPECT_NE(status.error_code(), grpc::StatusCode::OK);
    EXPECT_EQ(status.error_message(), "what happened");
    google::rpc::Status details;
    ASSERT_TRUE(details.ParseFromString(status.error_details()));
    EXPECT_EQ(details.code(), error_code(error));
    EXPECT_EQ(details.message(), "what happened");
    ASSERT_EQ(details.details_size(), 1);
    google::rpc::ErrorInfo info;
    ASSERT_TRUE(details.details(0).UnpackTo(&info));
    EXPECT_EQ(info.domain(), "arenad");
    EXPECT_EQ(info.reason(), error_name(error));
    EXPECT_EQ(info.metadata().at("advice"), error_advice(error));
  }
}

class Cgroup : public testing::Test {
 protected:
  void limit(const std::string& group, const std::string& cpu_max) {
    std::filesystem::create_directories(directory_.path() + group);
    std::ofstream(directory_.path() + group + "/cpu.max") << cpu_max << "\n";
  }
  unsigned cpus(const std::string& group) {
    return cgroup_cpus("0::" + group + "\n", directory_.path());
  }
  TemporaryDirectory directory_;
};

TEST_F(Cgroup, NoLimitIsNone) {
  EXPECT_EQ(cpus("/a/b"), 0u);
  limit("/a/b", "max 100000");
  EXPECT_EQ(cpus("/a/b"), 0u);
}

TEST_F(Cgroup, PartOfACpuCountsAsOne) {
  limit("/a", "50000 100000");
  EXPECT_EQ(cpus("/a"), 1u);
  limit("/a", "250000 100000");
  EXPECT_EQ(cpus("/a"), 3u);
}

TEST_F(Cgroup, TightestOnTheWayToTheRootHolds) {
  limit("/a", "200000 100000");
  limit("/a/b", "800000 100000");
  limit("", "400000 100000");
  EXPECT_EQ(cpus("/a/b"), 2u);
  EXPECT_EQ(cpus("/other"), 4u);
}

TEST(Cpus, ThereIsAlwaysOne) {
  EXPECT_FALSE(allowed_cpus().empty());
  EXPECT_GE(default_shards(), 1u);
  EXPECT_LE(default_shards(), allowed_cpus().size());
}

TEST(Metrics, EverySampleHasItsFamilyAndEveryPairOfShardsItsSample) {
  DaemonStats stats;
  for (std::uint32_t i = 0; i < 3; ++i) {
    ShardFacts shard;
    shard.shard = i;
    shard.remote_frees_to = {10 * i, 10 * i + 1, 10 * i + 2};
    shard.heap.p0_counter_ok = 7;
    stats.shards.push_back(shard);
  }
  ArenaFacts arena;
  arena.name = "pool";
  arena.held_bytes = 4096;
  const std::string text = metrics_text(stats, {arena});
  EXPECT_NE(text.find("arenad_remote_frees_between_total{from=\"2\",to=\"1\"} 21\n"),
            std::string::npos);
  EXPECT_EQ(text.find("{from=\"1\",to=\"1\"}"), std::string::npos);
  EXPECT_NE(text.find("arenad_heap_p0_counter_ok_total{shard=\"0\"} 7\n"), std::string::npos);
  EXPECT_NE(text.find("arenad_heap_p0_counter_mismatch_total{shard=\"2\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("arenad_arena_held_bytes{arena=\"pool\"} 4096\n"), std::string::npos);
  std::istringstream lines(text);
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) family = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("#")) continue;
    EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), family);
  }
}

struct Counting final : TurnEnd::Task {
  void turn_ends() override { ++runs; }
  int runs = 0;
};

TEST(TurnEnd, TaskRunsOnceATurnHoweverOftenItWasAdded) {
  TurnEnd turn;
  Counting task;
  turn.add(task);
  turn.add(task);
  turn.run();
  EXPECT_EQ(task.runs, 1);
  turn.run();
  EXPECT_EQ(task.runs, 1);
}

TEST(TurnEnd, RemovedTaskDoesNotRun) {
  TurnEnd turn;
  Counting gone, stays;
  turn.add(gone);
  turn.add(stays);
  turn.remove(gone);
  turn.run();
  EXPECT_EQ(gone.runs, 0);
  EXPECT_EQ(stays.runs, 1);
}

}  // namespace
}  // namespace arenad::server
