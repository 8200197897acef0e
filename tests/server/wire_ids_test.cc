// A number of the wire becomes an id, or a clear error.
#include "server/rpc/services/wire_ids.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

using Numbers = google::protobuf::RepeatedField<std::uint32_t>;

TEST(WireIds, NumbersInRangeAreTheSameIds) {
  EXPECT_EQ(*arena_from(1023), ArenaId{1023});
  EXPECT_EQ(*heap_from(2047), HeapId{2047});
  EXPECT_EQ(*class_from(255), kSpanClass);
  v1::SessionKey key;
  key.set_id(65534);
  key.set_secret(7);
  EXPECT_EQ(session_from(key), (SessionKey{{65534}, 7}));
}

TEST(WireIds, ArenaThatNoIdCanNameDoesNotExistAndTheErrorNamesIt) {
  const auto arena = arena_from(70'000);
  ASSERT_FALSE(arena.ok());
  EXPECT_EQ(arena.error().error, Error::kUnknownArena);
  EXPECT_NE(arena.error().message.find("arena id 70000 does not exist"), std::string::npos);
  EXPECT_NE(arena.error().message.find(error_advice(Error::kUnknownArena)), std::string::npos);
}

TEST(WireIds, HeapThatNoIdCanNameIsRefusedAndTheErrorNamesIt) {
  const auto heap = heap_from(70'000);
  ASSERT_FALSE(heap.ok());
  EXPECT_EQ(heap.error().error, Error::kInvalidOption);
  EXPECT_NE(heap.error().message.find("heap 70000"), std::string::npos);
  EXPECT_NE(heap.error().message.find("OpenHeap"), std::string::npos);
}

TEST(WireIds, SizeClassThatNoIdCanNameIsRefusedAndTheErrorNamesIt) {
  const auto size_class = class_from(256 + 4);
  ASSERT_FALSE(size_class.ok());
  EXPECT_EQ(size_class.error().error, Error::kInvalidOption);
  EXPECT_NE(size_class.error().message.find("size class 260"), std::string::npos);
}

TEST(WireIds, OneHeapOutOfRangeRefusesTheList) {
  Numbers wire;
  wire.Add(256);
  EXPECT_EQ(*heaps_from(wire), (std::vector<HeapId>{{256}}));
  wire.Add(65536 + 256);
  EXPECT_EQ(heaps_from(wire).error().error, Error::kInvalidOption);
}

TEST(WireIds, SessionOutOfRangeIsNobodysAndNotAnotherOne) {
  v1::SessionKey key;
  key.set_id(65536 + 5);
  EXPECT_EQ(session_from(key).id, kNoSession);
}

TEST(WireIds, SlabsAndRefsPassThroughUnchanged) {
  Numbers wire;
  wire.Add(0);
  wire.Add(0xffffffff);
  const std::vector<SlabIndex> slabs = slabs_from(wire);
  EXPECT_EQ(slabs, (std::vector<SlabIndex>{{0}, {0xffffffff}}));
  Numbers back;
  add_slabs(back, slabs);
  EXPECT_EQ(std::vector<std::uint32_t>(back.begin(), back.end()),
            std::vector<std::uint32_t>(wire.begin(), wire.end()));
  google::protobuf::RepeatedField<std::uint64_t> refs;
  refs.Add(~std::uint64_t{0});
  ASSERT_EQ(refs_of(refs).size(), 1u);
  EXPECT_EQ(refs_of(refs)[0].value, ~std::uint64_t{0});
}

}  // namespace
}  // namespace arenad::server
