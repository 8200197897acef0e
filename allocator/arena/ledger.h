// Ledger: the daemon's own record of an arena. It says what the arena is, who owns each run and
// each heap id, and who is attached in which mode.
//
// Purpose: peers write control memory, so the daemon does not believe it. The ledger has what the
// daemon must be sure of, and what it needs to find the arena again after its own death.
// Invariants: nobody else maps the ledger. The record of a run is at its first unit; all other
// units of the run have record 0. A run is recorded before its header is written, and until after
// its header was cleared.
// Threads: any, by atomics. Only whoever claimed the units of a run, or adopts the run, changes its
// record.
// Crash: anonymous memory vanishes. A ledger file keeps what was stored, because stores to a shared
// mapping survive SIGKILL. ArenaRecovery completes or takes back what was half done.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/control_layout.h"
#include "../format/ids.h"

namespace arenad {

inline constexpr std::uint64_t kLedgerMagic = 0x3152474c44415241;  // "ARADLGR1"
inline constexpr std::uint32_t kMaxNameBytes = 64;

// What an arena is. Written once, before `life` turns to kLive.
struct LedgerHeader {
  enum Life : std::uint32_t { kCreating = 0x11, kLive = 0x22, kDeleting = 0x33 };
  std::uint64_t magic;
  std::uint32_t version;  // kLayoutVersion
  std::uint32_t arena_id;
  std::uint64_t capacity_bytes;
  std::uint32_t header_bytes;
  std::uint32_t trailer_bytes;
  std::uint32_t stride_align;
  std::uint32_t max_heaps;
  std::uint32_t options;  // bits, see option_bits in arena_config.h
  std::uint32_t access_uid;
  std::uint32_t access_gid;
  std::uint32_t access_mode;
  char name[kMaxNameBytes + 1];
  std::uint64_t checksum;  // of all above
  std::atomic<std::uint32_t> life;
};

// Who owns a run: a heap of the daemon, or the session of a peer.
class RunOwner {
 public:
  static constexpr RunOwner heap(HeapId h) { return RunOwner(false, h.value); }
  static constexpr RunOwner leased_to(SessionId s) { return RunOwner(true, s.value); }

  // The session that leased the run; kNoSession when a heap owns the run.
  constexpr SessionId lessee() const { return leased_ ? SessionId{number_} : kNoSession; }
  // The heap that owns the run; kNoHeap when the run is leased.
  constexpr HeapId heap_id() const { return leased_ ? kNoHeap : HeapId{number_}; }
  friend constexpr bool operator==(RunOwner, RunOwner) = default;

 private:
  friend struct RunRecord;
  constexpr RunOwner(bool leased, std::uint16_t number) : leased_(leased), number_(number) {}

  bool leased_;
  std::uint16_t number_;  // of the session, or of the heap
};

struct RunRecord {
  std::uint64_t bits = 0;  // 0: no run starts here
  static constexpr RunRecord of(SlabKind kind, ClassId cls, std::uint32_t units, RunOwner owner) {
    return {std::uint64_t{static_cast<std::uint8_t>(kind)} | std::uint64_t{cls.value} << 8 |
            std::uint64_t{owner.number_} << 16 | std::uint64_t{units} << 32 |
            std::uint64_t{owner.leased_} << 63};
  }
  static constexpr RunRecord of(const RunShape& s, RunOwner owner) {
    return of(s.kind, s.cls, s.units, owner);
  }
  constexpr explicit operator bool() const { return bits != 0; }
  constexpr SlabKind kind() const { return static_cast<SlabKind>(bits & 0xff); }
  constexpr ClassId cls() const { return {static_cast<std::uint8_t>(bits >> 8)}; }
  constexpr std::uint32_t units() const {
    return static_cast<std::uint32_t>(bits >> 32) & 0x7fffffff;
  }
  constexpr std::uint64_t bytes() const { return bytes_of_units(units()); }
  constexpr RunOwner owner() const {
    return RunOwner((bits >> 63) != 0, static_cast<std::uint16_t>(bits >> 16));
  }
};

class ARENAD_API Ledger {
 public:
  Ledger() = default;
  Ledger(Ledger&& o) noexcept { swap(o); }
  Ledger& operator=(Ledger&& o) noexcept {
    swap(o);
    return *this;
  }
  ~Ledger();

  // Anonymous memory. Errors: kMachineFull.
  static Result<Ledger, Failure> create(std::uint64_t capacity_bytes, std::uint32_t max_heaps);
  // A new file, committed whole, mode 0600; fails when it exists. Errors: kMachineFull,
  // kInvalidOption (the system's words).
  static Result<Ledger, Failure> create_file(const std::string& path, std::uint64_t capacity_bytes,
                                             std::uint32_t max_heaps);
  // A file that is there, of the size that its header asks for. Errors: kInvalidOption: no ledger,
  // or cut short; the caller must still check the header.
  static Result<Ledger, Failure> open_file(const std::string& path);

  static std::uint64_t file_bytes(std::uint64_t capacity_bytes, std::uint32_t max_heaps);
  static std::uint64_t checksum_of(const LedgerHeader& header);

  LedgerHeader& header() const { return *reinterpret_cast<LedgerHeader*>(base_); }
  const std::byte* base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t unit_count() const { return units_; }
  std::uint32_t max_heaps() const { return max_heaps_; }

  RunRecord run(SlabIndex first) const {
    return {runs_[first.value].load(std::memory_order_acquire)};
  }
  void set_run(SlabIndex first, RunRecord record) {
    runs_[first.value].store(record.bits, std::memory_order_release);
  }
  // Makes `to` the owner of the run that starts there, if it is `from`'s still. False when it is
  // not.
  bool pass_run(SlabIndex first, RunOwner from, RunOwner to);

  // A heap id in [first, max_heaps) for the session; kNoHeap when there is none left. Lock-free.
  HeapId claim_heap(HeapId first, SessionId session);
  // The session that owns the heap id; kNoSession when nobody does. Shards' ids are never claimed
  // here.
  SessionId heap_owner(HeapId id) const {
    return {static_cast<std::uint16_t>(heaps_[id.value].load(std::memory_order_acquire))};
  }
  void release_heap(HeapId id) { heaps_[id.value].store(0, std::memory_order_release); }

  // By session: an AttachMode as the daemon numbers them; 0: not attached.
  std::uint8_t attach_mode(SessionId s) const {
    return attached_[s.value].load(std::memory_order_relaxed);
  }
  void set_attach_mode(SessionId s, std::uint8_t mode) {
    attached_[s.value].store(mode, std::memory_order_relaxed);
  }

 private:
  void lay_out(std::uint64_t capacity_bytes, std::uint32_t max_heaps);
  static Result<Ledger, Failure> map(int fd, std::uint64_t capacity_bytes, std::uint32_t max_heaps);
  void swap(Ledger& o) noexcept;

  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint32_t units_ = 0;
  std::uint32_t max_heaps_ = 0;
  std::atomic<std::uint32_t>* heaps_ = nullptr;
  std::atomic<std::uint8_t>* attached_ = nullptr;
  std::atomic<std::uint64_t>* runs_ = nullptr;
};

}  // namespace arenad
