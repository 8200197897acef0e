// Debug flags by their letters, and which of them an arena may have.
#include "allocator/format/debug_flags.h"

#include "tests/allocator/peer_fixture.h"

namespace arenad {
namespace {

TEST(DebugFlags, LettersComeInAnyOrderAndEachOnce) {
  for (std::uint32_t bits = 0; bits <= kDebugBits; ++bits) {
    const DebugFlags flags = DebugFlags::of_bits(bits);
    EXPECT_EQ(flags.bits(), bits);
    EXPECT_EQ(parse_debug(debug_text(flags)), flags);
  }
  EXPECT_EQ(debug_text(*parse_debug("UPZF")), "FZPU");
  EXPECT_FALSE(parse_debug("")->any());
  for (const char* wrong : {"f", "FF", "FX", "F Z", ","}) EXPECT_FALSE(parse_debug(wrong)) << wrong;
}

class DebugFlagsTest : public ArenaWithPeers {
 protected:
  static Failure refusal(const ArenaConfig& options) {
    ArenaConfig wanted = options;
    wanted.capacity_bytes = 2 * kMiB;
    const auto made = Arena::create(wanted);
    return made.ok() ? Failure{} : made.error();
  }
};

TEST_F(DebugFlagsTest, PoisonGoesNeitherWithZeroNorWithScrub) {
  ArenaConfig options;
  options.debug.poison = options.zero = true;
  EXPECT_EQ(refusal(options).error, Error::kInvalidOption);
  EXPECT_NE(refusal(options).message.find("leave out P, or zero and scrub"), std::string::npos);
  options.zero = false;
  options.scrub = true;
  EXPECT_EQ(refusal(options).error, Error::kInvalidOption);
  options.debug = *parse_debug("FZU");
  EXPECT_EQ(refusal(options).error, Error::kNone);
}

TEST_F(DebugFlagsTest, LayoutFollowsFromTheFlags) {
  ArenaConfig options;
  options.layout = Layout::headered();
  options.debug = *parse_debug("FP");
  EXPECT_EQ(refusal(options).error, Error::kNone);
  options.debug = *parse_debug("Z");
  EXPECT_EQ(refusal(options).error, Error::kInvalidOption);
  options.layout = Layout::redzoned();
  options.debug = {};
  EXPECT_EQ(refusal(options).error, Error::kInvalidOption) << "redzones that nobody would write";

  const std::pair<const char*, Layout> layouts[] = {
      {"FP", {0, 0, 16}}, {"Z", {16, 8, 16}}, {"U", {32, 0, 16}}, {"ZU", {48, 8, 16}}};
  for (const auto& [letters, layout] : layouts) {
    heaps_.clear();
    debug_ = *parse_debug(letters);
    make(4 * kMiB);
    EXPECT_EQ(arena().geometry().layout(), layout) << letters;
    EXPECT_EQ(peer(5)->arena->options().debug, debug_) << letters;
    EXPECT_EQ(control().header().options >> kDebugShift, debug_.bits());
    arena().forget_session({5});
  }
}

TEST_F(DebugFlagsTest, APlainArenaHasNoneAndKeepsItsFastPaths) {
  make(4 * kMiB);
  EXPECT_FALSE(arena().options().debug.any());
  EXPECT_EQ(arena().geometry().layout(), Layout::plain());
  EXPECT_FALSE(arena().describe({take(1, 64)[0].ref.value}).track.has_value());
}

}  // namespace
}  // namespace arenad
