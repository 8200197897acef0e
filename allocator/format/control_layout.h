// ControlView: what lies where in the control file of an arena.
//
// Purpose: the structs below are the file's format. kLayoutVersion grows when one of them changes.
// The sections lie in this order. Each begins at a page, and takes no memory until it is used:
//   ArenaHeader and sharers | sessions | footprints | heaps | pending bits of each heap |
//   superslab headers | slab headers | returned words of slabs with small blocks | block words
// Invariants:
// * The file has indices and offsets, and no pointers.
// * Fields that the owner writes and fields that others write lie on different 128-byte lines. That
//   is two cache lines, because the processor prefetches lines in pairs.
// * Each atomic names its partner.
// Threads: any, by atomics. The comment at a field says who may write it.
// Crash: block words are the truth. Every other field is a hint.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../base/export.h"
#include "block_word.h"
#include "geometry.h"
#include "ids.h"

namespace arenad {

inline constexpr std::uint64_t kControlMagic = 0x314c544344415241;  // "ARADCTL1"
inline constexpr std::uint32_t kLayoutVersion = 5;
inline constexpr std::uint32_t kMaxSessions = 65536;
inline constexpr std::uint32_t kMaxHeaps = 4096;
inline constexpr std::uint32_t kMaxSharers = 40;
// A slab's header has the returned words of 1024 blocks. Slabs with more blocks have the rest in
// the overflow section.
inline constexpr std::uint32_t kInlineReturnedWords = 16;
inline constexpr std::uint32_t kReturnedWordsPerUnit = kMaxBlocksPerSlab / 64;
inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kWordsPerPage = kPage / 8;
inline constexpr std::uint32_t kUnitsPerGroup = 8;  // units whose words interleave
inline constexpr std::uint64_t kWordsPerGroup =
    kUnitsPerGroup * kMaxBlocksPerSlab;  // = 1 << 16, see Slot

struct ArenaHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t arena_id;
  std::uint64_t capacity_bytes;
  std::uint32_t header_bytes;
  std::uint32_t trailer_bytes;
  std::uint32_t stride_align;
  std::uint32_t max_heaps;
  std::uint32_t options;  // bits, see option_bits in arena_config.h
};

// The session for which each sharer bit of a SHARED word stands; 0 when the bit is nobody's. A
// session claims its bit with a CAS from 0 to its id, before it shares its first block. The reaper
// releases the bit after it has cleared the bit in all words.
struct alignas(128) SharerTable {
  std::atomic<std::uint32_t> sessions[kMaxSharers];
};
inline constexpr std::uint64_t kSharersAt = 1024;  // in the header's page
static_assert(sizeof(ArenaHeader) <= kSharersAt);

// What the debug flags of the arena have found, in the daemon and in peers. Relaxed: a count for
// people, and nothing is decided by it.
struct alignas(128) DebugFindings {
  std::atomic<std::uint64_t> count;
};
inline constexpr std::uint64_t kFindingsAt = 2048;  // in the header's page
static_assert(kSharersAt + sizeof(SharerTable) <= kFindingsAt &&
              kFindingsAt + sizeof(DebugFindings) <= kPage);

// One for each session id. The daemon writes it, and recovery reads it.
struct alignas(64) SessionEntry {
  enum State : std::uint32_t { kNone = 0, kLive = 1, kReaping = 2 };
  std::atomic<std::uint32_t> state;
  std::atomic<std::int32_t> pid;
  // Of the process, in clock ticks since boot. It tells two processes with the same pid apart.
  std::atomic<std::uint64_t> start_time;
};

// One for each heap. The daemon writes `owner` when the heap is made or adopted.
struct alignas(128) HeapEntry {
  std::atomic<std::uint32_t> state;  // 0 none, 1 in use
  std::atomic<std::uint32_t> owner;  // session id
};

struct SuperslabHeader {
  alignas(128) std::atomic<std::uint32_t> committed;  // written by the daemon
  // Bit u: a returned word of the slab that starts at unit u went from 0 to another value. A freer
  // sets the bit after the returned word. The owner clears the bit first, and reads the returned
  // words afterwards. Pairs: the fetch_or in ArenaView::publish_returned and the fetch_and in
  // Drainer::collect_superslab.
  alignas(128) std::atomic<std::uint32_t> pending;
};
static_assert(sizeof(SuperslabHeader) == 256);

// Kind, class, units and capacity of a slab, in one word. So a reader never sees some of them from
// an earlier slab at the same place.
struct SlabShape {
  std::uint64_t bits = 0;
  static constexpr SlabShape of(SlabKind kind, ClassId cls, std::uint32_t units,
                                std::uint32_t capacity) {
    return {std::uint64_t{static_cast<std::uint8_t>(kind)} | std::uint64_t{cls.value} << 8 |
            std::uint64_t{capacity} << 16 | std::uint64_t{units} << 32};
  }
  static constexpr SlabShape of(const RunShape& s) {
    return of(s.kind, s.cls, s.units, s.capacity);
  }
  constexpr SlabKind kind() const { return static_cast<SlabKind>(bits & 0xff); }
  constexpr ClassId cls() const { return {static_cast<std::uint8_t>(bits >> 8)}; }
  constexpr std::uint32_t capacity() const {
    return static_cast<std::uint32_t>(bits >> 16) & 0xffff;
  }
  constexpr std::uint32_t units() const { return static_cast<std::uint32_t>(bits >> 32); }
};

struct SlabHeader {
  // The line that the owner writes.
  // A SlabShape. Pairs: the release in ArenaView::prepare_run and the acquire in
  // PeerArena::shape_of.
  alignas(128) std::atomic<std::uint64_t> shape;
  // Blocks 0 .. carved - 1 have been given out at least once. Pairs: the release in
  // BlockTransfer::carve and the acquire in ArenaView::validate.
  std::atomic<std::uint32_t> carved;
  // A HeapId. The owner stores it before the slab's first block is out. An adopter stores it first,
  // and scans the block words afterwards. A freer reads it after it has set a returned bit. So
  // either the freer sees the adopter, or the adopter sees the freed block. Pairs: the store in
  // Adopter and the load in ArenaView::publish_returned.
  std::atomic<std::uint32_t> owner;
  // The line that freers write. Bit i % 64 of word i / 64 says: look at block i. A freer sets the
  // bit after its CAS to RETURNING (release). The owner takes the bits with exchange(0) (acquire,
  // Drainer::take_returned).
  alignas(128) std::atomic<std::uint64_t> returned[kInlineReturnedWords];
};
static_assert(sizeof(SlabHeader) == 256);

// Offsets in the sections of slab headers and of returned words. Both are 64 bits wide from the
// first factor on: the product of two 32-bit numbers is too large in an arena of some hundred GiB.
constexpr std::uint64_t slab_headers_offset(SuperslabIndex i) {
  return std::uint64_t{i.value} * kUnitsPerSuperslab * sizeof(SlabHeader);
}
constexpr std::uint64_t overflow_offset(SlabIndex i, std::uint32_t word) {
  return (std::uint64_t{i.value} * kReturnedWordsPerUnit + word) * 8;
}

// Addresses in a mapped control file. It checks no bounds: the caller's indices come from private
// memory, or were checked.
class ARENAD_API ControlView {
 public:
  ControlView() = default;
  ControlView(std::byte* base, std::uint64_t capacity_bytes, std::uint32_t max_heaps);

  static std::uint64_t file_bytes(std::uint64_t capacity_bytes, std::uint32_t max_heaps);

  const std::byte* base() const { return base_; }
  ArenaHeader& header() const { return *reinterpret_cast<ArenaHeader*>(base_); }
  SessionEntry& session(SessionId id) const {
    return reinterpret_cast<SessionEntry*>(base_ + sessions_)[id.value];
  }
  SharerTable& sharers() const { return *reinterpret_cast<SharerTable*>(base_ + kSharersAt); }
  DebugFindings& findings() const { return *reinterpret_cast<DebugFindings*>(base_ + kFindingsAt); }
  // A session's footprint. The session sets a bit before it changes a block word of a slab that is
  // not its own. The reaper reads the bits and clears them when the session does nothing any more.
  // Pairs: the fetch_or in FootprintMarker::mark and the acquire load in Arena::footprint_of.
  std::atomic<std::uint64_t>* footprint(SessionId id) const {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + footprint_at(id));
  }
  std::uint32_t footprint_words() const { return footprint_words_; }
  HeapEntry& heap(HeapId id) const {
    return reinterpret_cast<HeapEntry*>(base_ + heaps_)[id.value];
  }
  // Pending bits of a heap: one for each superslab. The summary has one bit for each word of them.
  // A freer sets the pending bit first, and the summary's bit second. The owner clears the
  // summary's bit first. Pairs: the fetch_or in ArenaView::publish_returned and the exchange in
  // Drainer::collect.
  std::atomic<std::uint64_t>* pending_summary(HeapId id) const {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + pending_ +
                                                         id.value * pending_stride_);
  }
  std::atomic<std::uint64_t>* pending_words(HeapId id) const {
    return pending_summary(id) + summary_padded_;
  }
  std::uint32_t pending_summary_count() const { return summary_count_; }
  std::uint32_t pending_word_count() const { return pending_word_count_; }
  SuperslabHeader& superslab(SuperslabIndex i) const {
    return reinterpret_cast<SuperslabHeader*>(base_ + superslabs_)[i.value];
  }
  SlabHeader& slab(SlabIndex i) const {
    return reinterpret_cast<SlabHeader*>(base_ + slabs_)[i.value];
  }
  std::atomic<std::uint64_t>& returned(SlabIndex i, std::uint32_t word) const {
    if (word < kInlineReturnedWords) return slab(i).returned[word];
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + overflow_at(i, word));
  }
  AtomicWord* words() const { return reinterpret_cast<AtomicWord*>(base_ + words_); }

  // Where parts begin in the file. They must be committed before they are used.
  std::uint64_t slab_headers_at(SuperslabIndex i) const { return slabs_ + slab_headers_offset(i); }
  std::uint64_t superslab_header_page(SuperslabIndex i) const {
    return (superslabs_ + i.value * sizeof(SuperslabHeader)) & ~(kPage - 1);
  }
  std::uint64_t overflow_page(SlabIndex i) const { return overflow_at(i, 0) & ~(kPage - 1); }
  std::uint64_t word_page(std::uint32_t group, std::uint32_t page) const {
    return words_ + group * kWordsPerGroup * 8 + page * kPage;
  }
  std::uint64_t session_at(SessionId id) const {
    return sessions_ + id.value * sizeof(SessionEntry);
  }
  std::uint64_t footprint_at(SessionId id) const {
    return footprints_ + id.value * footprint_stride_;
  }
  std::uint64_t footprint_stride() const { return footprint_stride_; }
  std::uint64_t heap_bytes_at(HeapId id) const { return heaps_ + id.value * sizeof(HeapEntry); }
  std::uint64_t pending_at(HeapId id) const { return pending_ + id.value * pending_stride_; }
  std::uint64_t pending_stride() const { return pending_stride_; }

 private:
  std::uint64_t overflow_at(SlabIndex i, std::uint32_t word) const {
    return overflow_ + overflow_offset(i, word);
  }
  std::uint64_t lay_out(std::uint64_t capacity_bytes, std::uint32_t max_heaps);

  std::byte* base_ = nullptr;
  std::uint64_t sessions_ = 0, footprints_ = 0, footprint_stride_ = 0, heaps_ = 0, pending_ = 0,
                superslabs_ = 0, slabs_ = 0, overflow_ = 0, words_ = 0;
  std::uint64_t pending_stride_ = 0;
  std::uint32_t footprint_words_ = 0, summary_count_ = 0, summary_padded_ = 0,
                pending_word_count_ = 0;
};

}  // namespace arenad
