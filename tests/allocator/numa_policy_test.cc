// The option `numa` of an arena: its text, its bits, and what the kernel says about it.
#include "allocator/format/numa_policy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "allocator/arena/peer_arena.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/support/kept_pages.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/text.h"

namespace arenad {
namespace {

using Kind = NumaPolicy::Kind;

constexpr NumaPolicy kInterleaved{Kind::kInterleave, 0};
constexpr NumaPolicy on_node(std::uint8_t node) { return {Kind::kNode, node}; }

ArenaConfig placed(NumaPolicy numa) {
  ArenaConfig options;
  options.name = "placed";
  options.id = {9};
  options.capacity_bytes = 4 * kMiB;
  options.max_heaps = 64;
  options.map_data = false;  // the option needs a mapping all the same
  options.numa = numa;
  options.numa_nodes = 1;
  return options;
}

std::unique_ptr<Arena> placed_arena(const ArenaConfig& options, const ArenaFiles* files = nullptr) {
  auto arena = Arena::create(options, files);
  EXPECT_TRUE(arena.ok()) << arena.error().message;
  return std::move(*arena);
}

void expect_report_is_true(const ArenaView& view, const std::string& refusal, NumaPolicy wanted) {
  const auto state = numa_state(view.data());
  EXPECT_EQ(refusal.empty(), state.has_value() && state->policy == wanted) << refusal;
}

TEST(NumaPolicy, TextSaysInterleaveOrANode) {
  for (const NumaPolicy policy : {NumaPolicy{}, kInterleaved, on_node(0), on_node(63)})
    EXPECT_EQ(NumaPolicy::parse(policy.text()), policy) << policy.text();
  EXPECT_EQ(NumaPolicy::parse("")->kind, Kind::kDefault);
  EXPECT_EQ(on_node(12).text(), "12");
  for (const char* wrong : {"64", "256", "-1", "1 ", " 1", "1,2", "node", "Interleave", "all"})
    EXPECT_EQ(NumaPolicy::parse(wrong), std::nullopt) << wrong;
}

TEST(NumaPolicy, OptionBitsSayItAndNothingElse) {
  for (const NumaPolicy policy : {NumaPolicy{}, kInterleaved, on_node(0), on_node(63)}) {
    const std::uint32_t bits = numa_bits(policy);
    EXPECT_EQ(numa_of_bits(bits), policy);
    EXPECT_TRUE(possible_options(bits));
    EXPECT_TRUE(possible_options(bits | kHugePagesBit | kPinnedBit));
  }
  EXPECT_FALSE(possible_options(kNumaInterleaveBit | kNumaNodeBit));
  EXPECT_FALSE(possible_options(1u << kNumaNodeShift)) << "a node without its bit";
  EXPECT_FALSE(possible_options(kNumaInterleaveBit | 1u << kNumaNodeShift));
}

TEST(NumaPolicy, ReportIsWhatTheKernelSays) {
  for (const NumaPolicy policy : {kInterleaved, on_node(0)}) {
    const auto arena = placed_arena(placed(policy));
    EXPECT_EQ(arena->options().numa, policy);
    expect_report_is_true(*arena, arena->numa_refusal(), policy);
    // The policy is the file's: another mapping has it, too.
    const auto peer =
        PeerArena::attach(::dup(arena->data_fd()), ::dup(arena->control_fd()), SessionId{5});
    ASSERT_TRUE(peer.ok()) << peer.error().message;
    EXPECT_EQ((*peer)->options().numa, policy);
    expect_report_is_true(**peer, arena->numa_refusal(), policy);
    EXPECT_TRUE(arena->commit_ahead(2).ok());
  }
}

TEST(NumaPolicy, NodeThatDoesNotExistIsReportedAndTheArenaIsServed) {
  const auto arena = placed_arena(placed(on_node(63)));
  EXPECT_TRUE(has(arena->numa_refusal(), "mbind")) << arena->numa_refusal();
  expect_report_is_true(*arena, arena->numa_refusal(), on_node(63));
  EXPECT_TRUE(arena->commit_ahead(2).ok());
}

TEST(NumaPolicy, WithoutTheOptionNothingIsAskedAndNothingReported) {
  const auto arena = placed_arena(placed({}));
  EXPECT_EQ(arena->data(), nullptr);
  EXPECT_EQ(arena->numa_refusal(), "");
}

TEST(NumaPolicy, ArenaOfFilesKeepsItOverARestart) {
  const test::TemporaryDirectory shm(test::kMemoryFiles);
  const ArenaFiles files{shm.path() + "/a.data", shm.path() + "/a.control",
                         shm.path() + "/a.ledger"};
  bool refused = false;
  {
    const auto arena = placed_arena(placed(kInterleaved), &files);
    arena->finish_creation();
    refused = !arena->numa_refusal().empty();
  }
  auto ledger = Ledger::open_file(files.ledger_path);
  ASSERT_TRUE(ledger.ok());
  const auto again = Arena::open(files, std::move(*ledger), false);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ((*again)->options().numa, kInterleaved);
  EXPECT_EQ(!(*again)->numa_refusal().empty(), refused) << (*again)->numa_refusal();
  expect_report_is_true(**again, (*again)->numa_refusal(), kInterleaved);
}

}  // namespace
}  // namespace arenad
