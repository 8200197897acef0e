// allocator/arena/peer_arena.h: a peer's view cannot do what only the owner of an arena can do.
#include "allocator/arena/peer_arena.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "allocator/arena/arena.h"
#include "allocator/heap/heap.h"

namespace arenad {
namespace {

// Whether code that calls an owner's function on a View compiles.
template <class View>
concept HasUnitMap = requires(View& v) {
  v.units();
};
template <class View>
concept HasLedger = requires(View& v) {
  v.ledger();
};
template <class View>
concept Grants = requires(View& v) {
  v.grant(HeapId{0}, RunOwner::heap({0}), RunShape{}, SuperslabIndex{0});
};
template <class View>
concept Reclaims = requires(View& v) {
  v.reclaim(SlabIndex{0});
};
template <class View>
concept Reaps = requires(View& v) {
  v.reap(SessionId{1}, nullptr);
};
template <class View>
concept EndsSessions = requires(View& v) {
  v.forget_session(SessionId{1});
};
template <class View>
concept Commits = requires(View& v) {
  v.commit_ahead(1u);
};
template <class View>
concept MakesHeapsByItself = requires(View& v) {
  Heap(v, HeapId{0}, SessionId{1});
};

template <class View>
concept Owner = HasUnitMap<View> && HasLedger<View> && Grants<View> && Reclaims<View> &&
    Reaps<View> && EndsSessions<View> && Commits<View> && MakesHeapsByItself<View>;
template <class View>
concept NotAtAllOwner =
    !HasUnitMap<View> && !HasLedger<View> && !Grants<View> && !Reclaims<View> && !Reaps<View> &&
    !EndsSessions<View> && !Commits<View> && !MakesHeapsByItself<View>;

static_assert(Owner<Arena>);
static_assert(NotAtAllOwner<PeerArena>, "an owner's function on a peer's view must not compile");
static_assert(NotAtAllOwner<ArenaView>);

TEST(PeerArena, OwnersViewMarksNoFootprintAndAPeersViewMarksItsOwn) {
  ArenaConfig config;
  config.capacity_bytes = 4 << 20;
  const auto owner = std::move(*Arena::create(config));
  EXPECT_TRUE(owner->footprint_marker().empty());
  owner->mark_session({7}, SessionEntry::kLive);
  const auto peer =
      std::move(*PeerArena::attach(::dup(owner->data_fd()), ::dup(owner->control_fd()), {7}));
  ASSERT_FALSE(peer->footprint_marker().empty());
  peer->footprint_marker().mark({3});
  EXPECT_TRUE(owner->footprint_of({7}).has({3}));
  EXPECT_FALSE(owner->footprint_of({7}).has({4}));
  EXPECT_TRUE(owner->footprint_of({8}).empty());
}

TEST(PeerArena, ForgedHeaderOfARunIsNoRun) {
  ArenaConfig config;
  config.capacity_bytes = 4 << 20;
  const auto owner = std::move(*Arena::create(config));
  const RunShape shape = owner->geometry().slab_shape({10});
  const SlabIndex run = *owner->grant({0}, RunOwner::heap({0}), shape, {0});
  const auto peer =
      std::move(*PeerArena::attach(::dup(owner->data_fd()), ::dup(owner->control_fd()), {7}));
  EXPECT_EQ(peer->run_at(run), shape);
  owner->control().slab(run).shape.store(SlabShape::of(SlabKind::kSlab, {200}, 1, 1).bits);
  EXPECT_EQ(peer->run_at(run).kind, SlabKind::kNone);
  EXPECT_EQ(owner->run_at(run), shape);  // the ledger says so, whatever the header says
}

}  // namespace
}  // namespace arenad
