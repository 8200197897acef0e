// What lies where in the control file. These structs are the format: kLayoutVersion grows when one
// changes.
//
// Sections, in order, each page aligned, all sparse until used:
//   ArenaHeader, sharers | sessions | touched | heaps | pending bits per heap | superslab headers |
//   slab headers | returned overflow | words
// Owner-written and remotely written fields stand on separate 128-byte lines (two cache lines: the
// adjacent-line prefetcher pulls pairs). Everything is an index or an offset; nothing is a pointer.
// Invariants: said at the fields. Every atomic names its partner.
// Threads: atomics; who may write which is said at the field. Crash: each field is a hint but the
// block words.
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
inline constexpr std::uint32_t kLayoutVersion = 2;
inline constexpr std::uint32_t kMaxSessions = 65536;
inline constexpr std::uint32_t kMaxHeaps = 4096;
inline constexpr std::uint32_t kMaxSharers = 48;
inline constexpr std::uint32_t kInlineReturnedWords =
    16;  // 1024 blocks; smaller classes use the overflow section
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
  std::uint32_t canary_bytes;
  std::uint32_t stride_align;
  std::uint32_t max_heaps;
  std::uint32_t holder_only;
};

// Which session a sharer bit of a SHARED word means: 0 none, else a session id. Claimed by a
// session's CAS 0 -> id before its first share, given back by the reaper after the last of its bits
// was cleared.
struct alignas(128) SharerTable {
  std::atomic<std::uint32_t> sessions[kMaxSharers];
};
inline constexpr std::uint64_t kSharersAt = 1024;  // in the header's page
static_assert(sizeof(ArenaHeader) <= kSharersAt && kSharersAt + sizeof(SharerTable) <= 4096);

// One a session id. Written by the daemon; read by recovery.
struct alignas(64) SessionEntry {
  enum State : std::uint32_t { kNone = 0, kLive = 1, kReaping = 2 };
  std::atomic<std::uint32_t> state;
  std::atomic<std::int32_t> pid;
  std::atomic<std::uint64_t>
      start_time;  // of the process, clock ticks since boot: pid reuse is told apart by it
};

// One a heap. `owner` is written by the daemon when a heap is made or adopted.
struct alignas(128) HeapEntry {
  std::atomic<std::uint32_t> state;  // 0 none, 1 in use
  std::atomic<std::uint32_t> owner;  // session id
};

struct SuperslabHeader {
  alignas(128) std::atomic<std::uint32_t> committed;  // written by the daemon
  // Bit u: some returned word of the slab that starts at unit u went from 0 to non-0. Set by freers
  // (pairs with the owner's fetch_and in drain: the owner clears the bit first and reads the words
  // after).
  alignas(128) std::atomic<std::uint32_t> pending;
};
static_assert(sizeof(SuperslabHeader) == 256);

// class, kind, units and capacity in one word, so that a reader never sees a mixture of two lives.
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
  // Owner-written line.
  alignas(128) std::atomic<std::uint64_t> shape;  // SlabShape
  std::atomic<std::uint32_t> carved;  // blocks 0..carved-1 have been given out at least once
  // HeapId. Written before the slab's first block is out, and first thing at an adoption. Freers
  // read it after they set a returned bit (pairs with the adopter's store followed by its scan of
  // the words).
  std::atomic<std::uint32_t> owner;
  // Remotely written line. Bit i of word i / 64: look at block i. Set by freers after their CAS to
  // RETURNING (release); taken by the owner's exchange(0) (acquire).
  alignas(128) std::atomic<std::uint64_t> returned[kInlineReturnedWords];
};
static_assert(sizeof(SlabHeader) == 256);

// Addresses in a mapped control file. Bounds are the caller's business; all indices come from
// private memory or were validated.
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
  // A session's footprint: see footprint_marker.h. The session sets a bit before it changes a block
  // word of a foreign slab. The reaper reads and clears the bits when the session does nothing any
  // more (pairs: fetch_or in FootprintMarker::mark, acquire load in Arena::footprint_of).
  std::atomic<std::uint64_t>* touched(SessionId id) const {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + touched_ +
                                                         id.value * footprint_stride_);
  }
  std::uint32_t footprint_words() const { return footprint_words_; }
  HeapEntry& heap(HeapId id) const {
    return reinterpret_cast<HeapEntry*>(base_ + heaps_)[id.value];
  }
  // Pending bits of a heap, one a superslab, and above them one a word of those. Both are set by
  // freers and cleared by the owner from the top down (pairs: owner's exchange, freer's fetch_or).
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
    return reinterpret_cast<std::atomic<std::uint64_t>*>(
        base_ + overflow_)[i.value * kReturnedWordsPerUnit + word];
  }
  AtomicWord* words() const { return reinterpret_cast<AtomicWord*>(base_ + words_); }

  // Byte ranges in the file that must be committed before use.
  std::uint64_t slab_headers_at(SuperslabIndex i) const {
    return slabs_ + i.value * kUnitsPerSuperslab * sizeof(SlabHeader);
  }
  std::uint64_t superslab_header_page(SuperslabIndex i) const {
    return (superslabs_ + i.value * sizeof(SuperslabHeader)) & ~(kPage - 1);
  }
  std::uint64_t overflow_page(SlabIndex i) const {
    return (overflow_ + i.value * kReturnedWordsPerUnit * 8) & ~(kPage - 1);
  }
  std::uint64_t word_page(std::uint32_t group, std::uint32_t page) const {
    return words_ + group * kWordsPerGroup * 8 + page * kPage;
  }
  std::uint64_t session_at(SessionId id) const {
    return sessions_ + id.value * sizeof(SessionEntry);
  }
  std::uint64_t touched_at(SessionId id) const { return touched_ + id.value * footprint_stride_; }
  std::uint64_t footprint_stride() const { return footprint_stride_; }
  std::uint64_t heap_bytes_at(HeapId id) const { return heaps_ + id.value * sizeof(HeapEntry); }
  std::uint64_t pending_at(HeapId id) const { return pending_ + id.value * pending_stride_; }
  std::uint64_t pending_stride() const { return pending_stride_; }

 private:
  std::uint64_t lay_out(std::uint64_t capacity_bytes, std::uint32_t max_heaps);

  std::byte* base_ = nullptr;
  std::uint64_t sessions_ = 0, touched_ = 0, footprint_stride_ = 0, heaps_ = 0, pending_ = 0,
                superslabs_ = 0, slabs_ = 0, overflow_ = 0, words_ = 0;
  std::uint64_t pending_stride_ = 0;
  std::uint32_t footprint_words_ = 0, summary_count_ = 0, summary_padded_ = 0,
                pending_word_count_ = 0;
};

}  // namespace arenad
