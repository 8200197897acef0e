#include "allocator/format/control_layout.h"

#include "allocator/arena/arena_config.h"
#include "allocator/arena/footprint.h"

namespace arenad {
namespace {
constexpr std::uint64_t page_up(std::uint64_t n) { return (n + kPage - 1) & ~(kPage - 1); }
}  // namespace

// At the largest arena nothing is cut off.
constexpr std::uint64_t kMostUnits = kMaxArenaBytes / kSlabUnitBytes;
constexpr SlabIndex kLastUnit{static_cast<std::uint32_t>(kMostUnits - 1)};
static_assert(kLastUnit.value == kMostUnits - 1);
static_assert(Slot::of(kLastUnit, {kMaxBlocksPerSlab - 1}).slab() == kLastUnit);
static_assert(Slot::of(kLastUnit, {kMaxBlocksPerSlab - 1}).value ==
              (std::uint64_t{1} << Slot::kBits) - 1);
static_assert(overflow_offset(kLastUnit, kReturnedWordsPerUnit - 1) ==
              (kMostUnits * kReturnedWordsPerUnit - 1) * 8);
static_assert(slab_headers_offset(superslab_of(kLastUnit)) ==
              (kMostUnits - kUnitsPerSuperslab) * sizeof(SlabHeader));

static_assert(kWordsPerGroup == std::uint64_t{1} << 16, "Slot puts slab / 8 at bit 16");

std::uint64_t ControlView::lay_out(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  const std::uint64_t superslabs = capacity_bytes / kSuperslabBytes;
  const std::uint64_t units = superslabs * kUnitsPerSuperslab;
  pending_word_count_ = static_cast<std::uint32_t>((superslabs + 63) / 64);
  summary_count_ = (pending_word_count_ + 63) / 64;
  // Padded, so that the words of the pending bits start on a line of their own.
  summary_padded_ = (summary_count_ + 15) / 16 * 16;
  pending_stride_ = (summary_padded_ + (pending_word_count_ + 15) / 16 * 16) * 8;

  sessions_ = kPage;
  footprints_ = sessions_ + page_up(kMaxSessions * sizeof(SessionEntry));
  footprint_words_ =
      static_cast<std::uint32_t>(Footprint(static_cast<std::uint32_t>(units)).words().size());
  // Whole pages, so that the bits of one session are committed by themselves.
  footprint_stride_ = page_up(std::uint64_t{footprint_words_} * 8);
  heaps_ = footprints_ + kMaxSessions * footprint_stride_;
  pending_ = heaps_ + page_up(max_heaps * sizeof(HeapEntry));
  superslabs_ = pending_ + page_up(max_heaps * pending_stride_);
  slabs_ = superslabs_ + page_up(superslabs * sizeof(SuperslabHeader));
  overflow_ = slabs_ + page_up(units * sizeof(SlabHeader));
  words_ = overflow_ + page_up(units * kReturnedWordsPerUnit * 8);
  return words_ + units * kMaxBlocksPerSlab * 8;
}

ControlView::ControlView(std::byte* base, std::uint64_t capacity_bytes, std::uint32_t max_heaps)
    : base_(base) {
  lay_out(capacity_bytes, max_heaps);
}

std::uint64_t ControlView::file_bytes(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  ControlView v;
  return v.lay_out(capacity_bytes, max_heaps);
}

}  // namespace arenad
