#include "allocator/arena/ledger.h"

#include "allocator/base/crash_point.h"
#include "allocator/base/format.h"
#include "allocator/base/unique_fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace arenad {
namespace {

constexpr std::uint64_t page_up(std::uint64_t n) { return (n + kPage - 1) & ~(kPage - 1); }

// header | heap owners | attach modes | runs
struct Sections {
  std::uint64_t heaps = kPage, attached = 0, runs = 0, bytes = 0;
  Sections(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
    attached = page_up(heaps + max_heaps * sizeof(std::uint32_t));
    runs = attached + kMaxSessions;
    bytes = page_up(runs + capacity_bytes / kSlabUnitBytes * sizeof(std::uint64_t));
  }
};
static_assert(sizeof(LedgerHeader) <= kPage);

}  // namespace

Ledger::~Ledger() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
}

void Ledger::swap(Ledger& o) noexcept {
  std::swap(base_, o.base_);
  std::swap(bytes_, o.bytes_);
  std::swap(units_, o.units_);
  std::swap(max_heaps_, o.max_heaps_);
  std::swap(heaps_, o.heaps_);
  std::swap(attached_, o.attached_);
  std::swap(runs_, o.runs_);
}

std::uint64_t Ledger::file_bytes(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  return Sections(capacity_bytes, max_heaps).bytes;
}

// FNV-1a: to tell a damaged header, not an attacker's.
std::uint64_t Ledger::checksum_of(const LedgerHeader& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < offsetof(LedgerHeader, checksum); ++i)
    hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

void Ledger::lay_out(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  const Sections at(capacity_bytes, max_heaps);
  units_ = static_cast<std::uint32_t>(capacity_bytes / kSlabUnitBytes);
  max_heaps_ = max_heaps;
  heaps_ = reinterpret_cast<std::atomic<std::uint32_t>*>(base_ + at.heaps);
  attached_ = reinterpret_cast<std::atomic<std::uint8_t>*>(base_ + at.attached);
  runs_ = reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + at.runs);
}

// fd -1: anonymous.
Result<Ledger, Failure> Ledger::map(int fd, std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  Ledger ledger;
  ledger.bytes_ = file_bytes(capacity_bytes, max_heaps);
  const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
  void* p = ::mmap(nullptr, ledger.bytes_, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (p == MAP_FAILED)
    return system_failure(Error::kMachineFull,
                          fmt::format("mmap of a ledger of {} bytes", ledger.bytes_), errno);
  ::madvise(p, ledger.bytes_, MADV_DONTFORK);
  ledger.base_ = static_cast<std::byte*>(p);
  ledger.lay_out(capacity_bytes, max_heaps);
  return ledger;
}

Result<Ledger, Failure> Ledger::create(std::uint64_t capacity_bytes, std::uint32_t max_heaps) {
  return map(-1, capacity_bytes, max_heaps);
}

Result<Ledger, Failure> Ledger::create_file(const std::string& path, std::uint64_t capacity_bytes,
                                            std::uint32_t max_heaps) {
  const UniqueFd file{
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file) return system_failure(Error::kInvalidOption, "ledger " + path, errno);
  const auto bytes = static_cast<off_t>(file_bytes(capacity_bytes, max_heaps));
  // Committed whole: a store to it must never raise SIGBUS.
  if (const int e = ::posix_fallocate(file.get(), 0, bytes); e != 0) {
    ::unlink(path.c_str());
    return system_failure(Error::kMachineFull, "ledger " + path, e);
  }
  return map(file.get(), capacity_bytes, max_heaps);
}

Result<Ledger, Failure> Ledger::open_file(const std::string& path) {
  const UniqueFd file{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  if (!file) return system_failure(Error::kInvalidOption, "ledger " + path, errno);
  struct stat st;
  LedgerHeader header;
  if (::fstat(file.get(), &st) != 0 ||
      ::pread(file.get(), static_cast<void*>(&header), sizeof header, 0) != sizeof header)
    return Failure{Error::kInvalidOption, "ledger " + path + " is cut short"};
  if (header.magic != kLedgerMagic)
    return Failure{Error::kInvalidOption, "ledger " + path + " does not begin as one"};
  const bool plausible = header.capacity_bytes != 0 &&
                         header.capacity_bytes % kSuperslabBytes == 0 &&
                         header.capacity_bytes <= (std::uint64_t{1} << 42) &&
                         header.max_heaps != 0 && header.max_heaps <= kMaxHeaps;
  if (!plausible ||
      static_cast<std::uint64_t>(st.st_size) != file_bytes(header.capacity_bytes, header.max_heaps))
    return Failure{Error::kInvalidOption,
                   "ledger " + path + " has another size than its header asks for"};
  return map(file.get(), header.capacity_bytes, header.max_heaps);
}

bool Ledger::pass_run(SlabIndex first, RunOwner from, RunOwner to) {
  RunRecord record = run(first);
  while (record && record.owner() == from) {
    const RunRecord passed = RunRecord::of(record.kind(), record.cls(), record.units(), to);
    CRASH_POINT("ledger.pass");
    if (runs_[first.value].compare_exchange_weak(record.bits, passed.bits,
                                                 std::memory_order_acq_rel))
      return true;
  }
  return false;
}

HeapId Ledger::claim_heap(HeapId first, SessionId session) {
  for (std::uint32_t i = first.value; i < max_heaps_; ++i) {
    std::uint32_t nobody = 0;
    if (heaps_[i].load(std::memory_order_relaxed) != 0) continue;
    CRASH_POINT("ledger.heap");
    if (heaps_[i].compare_exchange_strong(nobody, session.value, std::memory_order_acq_rel))
      return {static_cast<std::uint16_t>(i)};
  }
  return kNoHeap;
}

}  // namespace arenad
