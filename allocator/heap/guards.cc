#include "allocator/heap/guards.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "allocator/base/log.h"
#include "allocator/base/tunables.h"

namespace arenad {
namespace {

std::string format(const char* f, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* f, ...) {
  char buffer[256];
  va_list args;
  va_start(args, f);
  std::vsnprintf(buffer, sizeof buffer, f, args);
  va_end(args);
  return buffer;
}

using ull = unsigned long long;

}  // namespace

const char* verdict_name(GuardVerdict v) {
  switch (v) {
    case GuardVerdict::kOk: return "ok";
    case GuardVerdict::kMisaligned: return "misaligned";
    case GuardVerdict::kBeyondCarved: return "beyond carved";
    case GuardVerdict::kOtherSlab: return "of another slab";
    case GuardVerdict::kTwiceInBatch: return "twice in one batch";
    case GuardVerdict::kBadCapacity: return "capacity is not floor(slab bytes / stride)";
    case GuardVerdict::kBeyondCapacity: return "beyond capacity";
    case GuardVerdict::kWordNotFree: return "word not free";
  }
  return "?";
}

GuardVerdict check_slab(const SlabView& s) {
  if (s.stride == 0 || s.capacity != s.slab_bytes / s.stride) return GuardVerdict::kBadCapacity;
  return s.carved <= s.capacity ? GuardVerdict::kOk : GuardVerdict::kBeyondCapacity;
}

GuardVerdict check_block(const SlabView& s, std::uint64_t address) {
  if (const GuardVerdict v = check_slab(s); v != GuardVerdict::kOk) return v;
  if (address < s.base || address - s.base >= s.slab_bytes) return GuardVerdict::kOtherSlab;
  const std::uint64_t offset = address - s.base;
  if (offset % s.stride != 0) return GuardVerdict::kMisaligned;
  return offset / s.stride < s.carved ? GuardVerdict::kOk : GuardVerdict::kBeyondCarved;
}

GuardVerdict check_carve(const SlabView& s, std::uint32_t batch) {
  if (const GuardVerdict v = check_slab(s); v != GuardVerdict::kOk) return v;
  return batch <= s.capacity - s.carved ? GuardVerdict::kOk : GuardVerdict::kBeyondCapacity;
}

GuardVerdict check_splice(const SlabView& s, std::span<const std::uint64_t> addresses,
                          std::uint64_t* offender) {
  for (const std::uint64_t a : addresses) {
    *offender = a;
    if (const GuardVerdict v = check_block(s, a); v != GuardVerdict::kOk) return v;
  }
  std::vector<std::uint64_t> sorted(addresses.begin(), addresses.end());
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice == sorted.end()) return GuardVerdict::kOk;
  *offender = *twice;
  return GuardVerdict::kTwiceInBatch;
}

std::string batch_carve_line(const SlabView& s, std::uint32_t batch) {
  return format("[BATCH_CARVE] cls=%u slab=%u used=%u cap=%u batch=%u base=%#llx bs=%u",
                s.cls.value, s.slab.value, s.used, s.capacity, batch, ull{s.base}, s.stride);
}

std::string linear_carve_line(const SlabView& s, std::uint32_t batch) {
  return format("[LINEAR_CARVE] base=%#llx carved=%u batch=%u cursor=%#llx", ull{s.base}, s.carved,
                batch, ull{s.base} + ull{s.carved} * s.stride);
}

std::string splice_line(const SlabView& s, std::uint64_t head, std::uint64_t tail,
                        std::uint32_t count) {
  return format("[SPLICE_TO_SLL] cls=%u head=%#llx tail=%#llx count=%u", s.cls.value, ull{head},
                ull{tail}, count);
}

std::string splice_corrupt_line(const SlabView& s, std::uint64_t address, GuardVerdict v) {
  return format("[SPLICE_CORRUPT] Chain head %#llx %s (blk=%u offset=%lld carved=%u)!",
                ull{address}, verdict_name(v), s.stride, static_cast<long long>(address - s.base),
                s.carved);
}

std::string guard_mode_line() {
#ifdef NDEBUG
  const char* mode = "release";
#else
  const char* mode = "debug";
#endif
  return format("[TRC_GUARD] failfast=1 env=%d mode=%s",
                tunables().guards_private.load(std::memory_order_relaxed) ? 1 : 0, mode);
}

void guard_abort(const SlabView& slab, const std::string& what, std::uint64_t address,
                 GuardVerdict v) {
  log_line(what);
  log_line(guard_mode_line());
  log_line(splice_corrupt_line(slab, address, v));
  std::abort();
}

}  // namespace arenad
