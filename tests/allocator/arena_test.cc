// The two memory files of an arena: sealed, private, sparse; and what creating one refuses.
#include "allocator/arena/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/allocator/arena_fixture.h"
#include "tests/allocator/counted_budget.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

class ArenaTest : public ArenaWithHeaps {
 protected:
  static Error refused(ArenaConfig options) {
    const auto arena = Arena::create(options);
    EXPECT_FALSE(arena.ok() || arena.error().message.empty());
    return arena.ok() ? Error::kNone : arena.error().error;
  }
  static std::uint64_t system_bytes(int fd) {
    struct stat s {};
    EXPECT_EQ(::fstat(fd, &s), 0);
    return static_cast<std::uint64_t>(s.st_blocks) * 512;
  }
};

// The reaper passes over heaps that have no entry, so a heap has one whatever the memory is.
TEST_F(ArenaTest, HeapHasAnEntryThoughNoMemoryIsLeft) {
  CountedBudget budget;
  ArenaConfig config;
  config.capacity_bytes = kMiB;
  config.budget = &budget;
  const auto made = Arena::create(config);
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_EQ((*made)->commit_heap({3}), Error::kNone);
  budget.room = 0;
  const Heap heap(**made, HeapId{3}, SessionId{9});
  EXPECT_EQ((*made)->control().heap({3}).state.load(), 1u);
  EXPECT_EQ((*made)->enlist_heap({3}, {9}), Error::kMachineFull);
}

TEST_F(ArenaTest, WrongOptionsAreRefusedByNameWithAMessage) {
  EXPECT_EQ(refused({.capacity_bytes = 0}), Error::kInvalidCapacity);
  EXPECT_EQ(refused({.capacity_bytes = kMaxArenaBytes + 1}), Error::kInvalidCapacity);
  EXPECT_EQ(refused({.id = {0}, .capacity_bytes = kMiB}), Error::kInvalidOption);
  EXPECT_EQ(refused({.id = {1024}, .capacity_bytes = kMiB}), Error::kInvalidOption);
  EXPECT_EQ(refused({.capacity_bytes = kMiB, .first_generation = 4194304}), Error::kInvalidOption);
  EXPECT_EQ(refused({.capacity_bytes = kMiB, .max_heaps = 0}), Error::kInvalidOption);
  EXPECT_EQ(refused({.capacity_bytes = kMiB, .max_heaps = kMaxHeaps + 1}), Error::kInvalidOption);
}

TEST_F(ArenaTest, CapacityIsRoundedUpToSuperslabs) {
  make(1);
  EXPECT_EQ(arena().capacity_bytes(), kSuperslabBytes);
  EXPECT_EQ(arena().unit_count(), kUnitsPerSuperslab);
  struct stat s {};
  ASSERT_EQ(::fstat(arena().data_fd(), &s), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(s.st_size), kSuperslabBytes);
}

// The ref of the first block of a fresh arena, whose block is free again.
Ref first_ref_of_an_arena(std::uint64_t size_bytes, std::uint32_t first_generation) {
  const auto arena =
      Arena::create({.capacity_bytes = 4 * kMiB, .first_generation = first_generation});
  Heap heap(**arena, HeapId{0}, SessionId{1});
  const auto block = heap.allocate(size_bytes, kHolder);
  EXPECT_TRUE(block.ok());
  EXPECT_EQ(heap.free(block->ref), Error::kNone);
  return block->ref;
}

TEST_F(ArenaTest, RefOfAnotherArenaWithTheSameIdIsStale) {
  make(4 * kMiB);
  for (const std::uint64_t size : {std::uint64_t{8}, std::uint64_t{256}, 3 * kMiB}) {
    const auto block = heap().allocate(size, kHolder);
    ASSERT_TRUE(block.ok());
    const std::uint32_t here = generation_of(block->ref);
    const Ref other = first_ref_of_an_arena(size, here == 5000 ? 5001 : 5000);
    const Ref left = ref_of(generation_of(other), other.arena(), slot_of(block->ref));
    EXPECT_EQ(heap().free(left), Error::kStaleRef) << size;
    EXPECT_EQ(heap().free(block->ref), Error::kNone) << size;
  }
}

// The largest arena, or where a process has too few addresses for its control memory
// (ThreadSanitizer, qemu-user) a large one.
#if defined(__SANITIZE_THREAD__) || defined(__aarch64__)
constexpr std::uint64_t kLargestHere = std::uint64_t{256} << 30;
constexpr std::uint32_t kItsGenerations = 1u << 19;
#else
constexpr std::uint64_t kLargestHere = kMaxArenaBytes;
constexpr std::uint32_t kItsGenerations = 1u << 15;
#endif

// The slot takes bits of the generation there, and generations grow in larger steps.
TEST_F(ArenaTest, InTheLargestArenaEveryKindOfFreeMakesTheRefStale) {
  make(kLargestHere, 2);
  EXPECT_EQ(arena().refs().generations(), kItsGenerations);
  for (const std::uint64_t size : {std::uint64_t{64}, 3 * kMiB}) {
    for (int round = 0; round < 4; ++round) {
      const Allocation b = take(1, size)[0];
      const std::uint64_t generation = arena().describe({b.ref.value}).generation;
      ASSERT_EQ(*arena().ref_at(b.offset), b.ref);
      switch (round) {
        case 0: EXPECT_EQ(heap(0).free(b.ref), Error::kNone); break;
        case 1: EXPECT_EQ(heap(1).free(b.ref), Error::kNone); break;
        case 2:
          EXPECT_EQ(heap(1).free_checked({b.ref.value}, {9}, kHolder.session()).error,
                    Error::kNone);
          break;
        default:
          EXPECT_EQ(arena().share({b.ref.value}, kHolder.session()), Error::kNone);
          EXPECT_EQ(heap(0).release({b.ref.value}, kHolder.session()), Error::kNone);
      }
      const Error again = heap(0).free(b.ref);
      EXPECT_TRUE(again == Error::kDoubleFree || again == Error::kStaleRef) << error_name(again);
      EXPECT_FALSE(arena().acquire({b.ref.value}, kHolder).ok());
      if (size == 64) {
        EXPECT_EQ(arena().describe({b.ref.value}).generation,
                  (generation + 1) % arena().refs().generations());
      }
      heap(1).publish();
      heap(0).drain();
    }
  }
}

TEST_F(ArenaTest, InTheLargestArenaAWordBetweenTwoGenerationsIsNotGivenOut) {
  make(kLargestHere);
  broken_on_purpose_ = true;
  const Allocation small = take(1, 64)[0], large = take(1, 3 * kMiB)[0];
  give({small, large});
  for (const Allocation& b : {small, large})
    arena().word(arena().refs().slot_of(b.ref)).fetch_add(BlockWord::kGenerationOne);
  EXPECT_EQ(heap().allocate(3 * kMiB, kHolder).error(), Error::kQuarantined);
  for (;;) {
    const auto b = heap().allocate_aligned(64, 0, kHolder);
    if (!b) break;
    ASSERT_EQ(arena().refs().slot_of(b->ref).slab(), arena().refs().slot_of(small.ref).slab());
    ASSERT_NE(b->offset, small.offset);
  }
}

TEST_F(ArenaTest, FirstGenerationIsTheOneAskedForOrARandomOne) {
  EXPECT_EQ(generation_of(first_ref_of_an_arena(64, 1)), 1u);
  EXPECT_EQ(generation_of(first_ref_of_an_arena(64, 4194303)), 4194303u);
  std::set<std::uint32_t> random;
  for (int i = 0; i < 20; ++i) random.insert(generation_of(first_ref_of_an_arena(64, 0)));
  EXPECT_GT(random.size(), 10u);  // of 4,194,303
}

TEST_F(ArenaTest, FilesAreSealedPrivateAndClosedOnExec) {
  make(4 * kMiB);
  for (const int fd : {arena().data_fd(), arena().control_fd()}) {
    constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    EXPECT_EQ(::fcntl(fd, F_GET_SEALS) & kSeals, kSeals);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    struct stat s {};
    ASSERT_EQ(::fstat(fd, &s), 0);
    EXPECT_EQ(s.st_mode & 0777, 0600u);
    EXPECT_NE(::ftruncate(fd, 4096), 0);
    EXPECT_NE(::ftruncate(fd, s.st_size * 2), 0);
  }
}

// The kernel's flags of the mapping that starts at `base`, from /proc/self/smaps.
std::string flags_of_mapping(const void* base) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<std::uintptr_t>(base) << '-';
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.compare(0, start.str().size(), start.str()) == 0) inside = true;
    if (inside && line.compare(0, 8, "VmFlags:") == 0) return line + ' ';
  }
  return "no mapping";
}

TEST_F(ArenaTest, MappingsDoNotSurviveAFork) {
  make(4 * kMiB);
  EXPECT_NE(flags_of_mapping(arena().data()).find(" dc "), std::string::npos)
      << flags_of_mapping(arena().data());
  EXPECT_NE(flags_of_mapping(&control().header()).find(" dc "), std::string::npos)
      << flags_of_mapping(&control().header());
}

TEST_F(ArenaTest, PayloadIsWhereAnyOtherMappingOfTheFileSeesIt) {
  make(4 * kMiB);
  const Allocation b = take(1, 100)[0];
  void* const other =
      ::mmap(nullptr, arena().capacity_bytes(), PROT_READ, MAP_SHARED, arena().data_fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  arena().data()[b.offset] = std::byte{42};
  EXPECT_EQ(static_cast<const std::byte*>(other)[b.offset], std::byte{42});
  ::munmap(other, arena().capacity_bytes());
}

TEST_F(ArenaTest, HeaderSaysWhatTheArenaIs) {
  make(6 * kMiB, 1, Layout::redzoned());
  const ArenaHeader& h = control().header();
  EXPECT_EQ(h.magic, kControlMagic);
  EXPECT_EQ(h.version, kLayoutVersion);
  EXPECT_EQ(h.arena_id, arena().id().value);
  EXPECT_EQ(h.capacity_bytes, 6 * kMiB);
  EXPECT_EQ(h.header_bytes, 16u);
  EXPECT_EQ(h.trailer_bytes, 8u);
  EXPECT_EQ(h.stride_align, 16u);
  EXPECT_EQ(h.max_heaps, 64u);
}

TEST_F(ArenaTest, LargeArenaCostsNextToNothingUntilUsed) {
  make(std::uint64_t{64} << 30);
  EXPECT_EQ(system_bytes(arena().data_fd()), 0u);
  EXPECT_LT(system_bytes(arena().control_fd()), kMiB);
  const Allocation b = take(1, 64)[0];
  EXPECT_EQ(system_bytes(arena().data_fd()), kSuperslabBytes);
  give({b});
}

TEST_F(ArenaTest, ArenaThatNobodyMapsHereStillAllocates) {
  ArenaConfig options;
  options.capacity_bytes = 4 * kMiB;
  options.map_data = false;
  auto arena = Arena::create(options);
  ASSERT_TRUE(arena.ok());
  EXPECT_EQ((*arena)->data(), nullptr);
  Heap heap(**arena, {0}, {1});
  const auto b = heap.allocate(1000, kHolder);
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(heap.free(b->ref), Error::kNone);
}

TEST_F(ArenaTest, MetadataCostsAtMostFourPercentAt256BytesAndOneAndAHalfFrom1KiB) {
  const auto percent = [&](std::uint64_t size) {
    heaps_.clear();
    make(64 * kMiB);
    const std::uint64_t before = system_bytes(arena().control_fd());
    take_all(size);
    return 100.0 * static_cast<double>(system_bytes(arena().control_fd()) - before) /
           static_cast<double>(arena().capacity_bytes());
  };
  EXPECT_LE(percent(256), 4.0);
  for (const std::uint64_t size : {1024, 4096, 65536}) EXPECT_LE(percent(size), 1.5) << size;
}

TEST(ErrorTest, EveryErrorHasANameACodeAndAdvice) {
  std::set<std::string> names;
  for (int i = 1; i <= static_cast<int>(kLastError); ++i) {
    const auto e = static_cast<Error>(i);
    EXPECT_TRUE(names.insert(error_name(e)).second) << error_name(e);
    EXPECT_GE(error_code(e), 1) << error_name(e);
    EXPECT_LE(error_code(e), 16) << error_name(e);
    EXPECT_GT(std::string(error_advice(e)).size(), 10u) << error_name(e);
  }
  EXPECT_EQ(error_code(Error::kNone), 0);
  EXPECT_EQ(error_code(Error::kArenaFull), 8) << "RESOURCE_EXHAUSTED";
  EXPECT_EQ(error_code(Error::kMachineFull), 8);
  EXPECT_EQ(error_code(Error::kDoubleFree), 9) << "FAILED_PRECONDITION";
  EXPECT_EQ(error_code(Error::kStaleRef), 9);
  EXPECT_EQ(error_code(Error::kInvalidSize), 3) << "INVALID_ARGUMENT";
  EXPECT_EQ(error_code(Error::kNotHolder), 7) << "PERMISSION_DENIED";
}

}  // namespace
}  // namespace arenad
