// A shard takes over the runs of heaps that work no more.
#include "server/core/shard/adoption.h"

#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

constexpr SessionId kDead{77};

class AdoptionsTest : public ShardParts {
 protected:
  // Runs of 8192 blocks each, so eight of them are one step.
  std::vector<SlabIndex> leased_to_the_dead(std::size_t runs) {
    std::vector<SlabIndex> leased;
    for (std::size_t i = 0; i < runs; ++i) {
      leased.push_back(*state->arena->grant({300}, RunOwner::leased_to(kDead),
                                            state->arena->geometry().slab_shape({0}), {0}));
    }
    return leased;
  }

  Adoptions adoptions{zero.tables, zero.account, zero.inbox};
};

TEST_F(AdoptionsTest, FewRunsAreTakenOverInsideTheCall) {
  std::uint64_t adopted = 0;
  adoptions.begin(state, kDead, {}, leased_to_the_dead(2),
                  [&](const ReapResult& result) { adopted = result.adopted_slabs; });
  EXPECT_EQ(adopted, 2u);
  EXPECT_TRUE(zero.inbox.empty());
}

TEST_F(AdoptionsTest, ManyRunsAreTakenOverInStepsOfTheInbox) {
  std::uint64_t adopted = 0;
  adoptions.begin(state, kDead, {}, leased_to_the_dead(20),
                  [&](const ReapResult& result) { adopted = result.adopted_slabs; });
  EXPECT_EQ(adopted, 0u);
  EXPECT_EQ(zero.inbox.run(), 1u);
  EXPECT_EQ(zero.inbox.run(), 1u);
  EXPECT_EQ(adopted, 20u);
  EXPECT_EQ(state->arena->units().taken_units(), 0u);  // nothing of them was out
}

TEST_F(AdoptionsTest, RunsOfADeletedArenaAreLeftAloneAlsoWhenItsIdIsUsedAgain) {
  bool over = false;
  adoptions.begin(state, kDead, {}, leased_to_the_dead(20), [&](const ReapResult& result) {
    EXPECT_EQ(result.adopted_slabs, 8u);  // what the first step did
    over = true;
  });
  zero.tables.remove_arena(arena);
  zero.tables.add_arena(make_arena_state(arena));
  zero.inbox.run();
  EXPECT_TRUE(over);
}

}  // namespace
}  // namespace arenad::server
