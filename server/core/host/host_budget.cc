#include "server/core/host/host_budget.h"

#include <algorithm>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kCreditNs = 10 * kNsPerMs;  // how long what was read is believed
constexpr std::uint64_t kMostReserveBytes = 256 << 20;

std::uint64_t reserve_of(const MemoryBound& bound) {
  return std::min(bound.limit_bytes / 16, kMostReserveBytes);
}

Failure exhausted(const MemoryBound& bound, std::uint64_t left, std::uint64_t reserve,
                  std::uint64_t wanted) {
  return {Error::kMachineFull,
          fmt::format("{} is {}, of which {} are left{}; {} were needed", bound.name,
                      bytes_text(bound.limit_bytes), bytes_text(left),
                      reserve == 0 ? std::string()
                                   : fmt::format(" and {} must stay free", bytes_text(reserve)),
                      bytes_text(wanted))};
}

}  // namespace

std::string HostBudget::take_limit(std::uint64_t max_total_bytes, int directory) {
  if (max_total_bytes != 0) {
    most_.store(max_total_bytes, std::memory_order_relaxed);
    return fmt::format("max_total_bytes is {}, as configured", bytes_text(max_total_bytes));
  }
  std::vector<MemoryBound> bounds = host_.bounds();
  if (const MemoryBound files = file_system_bound(directory); files.limit_bytes != 0)
    bounds.push_back(files);
  const auto tightest = std::ranges::min_element(bounds, {}, &MemoryBound::free_bytes);
  if (tightest == bounds.end())
    return "max_total_bytes is not set, and what this machine can give cannot be read: no limit";
  const std::uint64_t have = total_.load(std::memory_order_relaxed);
  const std::uint64_t can_have = have + tightest->free_bytes;
  const std::uint64_t most = can_have / 5 * 4;
  most_.store(most, std::memory_order_relaxed);
  const std::string origin =
      fmt::format("80 % of {}, which {} left at the start", bytes_text(can_have), tightest->name);
  const std::lock_guard lock(mutex_);
  origin_ = fmt::format(" ({})", origin);
  return fmt::format("max_total_bytes is {}, chosen by arenad: {}", bytes_text(most), origin);
}

Failure HostBudget::request(Use use, std::uint64_t bytes, int fd) {
  if (use == Use::kPayload)
    if (Failure full = ask_total(bytes); full.error != Error::kNone) return full;
  Failure full;
  if (const MemoryBound files = file_system_bound(fd);
      files.limit_bytes != 0 && files.free_bytes < bytes)
    full = exhausted(files, files.free_bytes, 0, bytes);
  if (full.error == Error::kNone) full = ask_host(bytes);
  if (full.error != Error::kNone && use == Use::kPayload) give_back(bytes);
  return full;
}

Failure HostBudget::ask_total(std::uint64_t bytes) {
  const std::uint64_t most = most_.load(std::memory_order_relaxed);
  const std::uint64_t before = total_.fetch_add(bytes, std::memory_order_relaxed);
  if (before <= most && bytes <= most - before) return {};
  total_.fetch_sub(bytes, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  return exhausted(
      {fmt::format("max_total_bytes{}, the limit of all arenas together,", origin_), most, 0},
      most - std::min(most, before), 0, bytes);
}

Failure HostBudget::ask_host(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (credit_ < bytes || now_ns() >= credit_until_ns_) {
    std::uint64_t room = ~std::uint64_t{0} >> 1;
    for (const MemoryBound& bound : host_.bounds()) {
      const std::uint64_t reserve = reserve_of(bound);
      const std::uint64_t left = bound.free_bytes - std::min(bound.free_bytes, on_the_way_);
      if (left < reserve || left - reserve < bytes) return exhausted(bound, left, reserve, bytes);
      room = std::min(room, left - reserve);
    }
    credit_ = bytes + (room - bytes) / 4;
    credit_until_ns_ = now_ns() + kCreditNs;
  }
  credit_ -= bytes;
  on_the_way_ += bytes;
  return {};
}

void HostBudget::arrived(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  on_the_way_ -= bytes;
}

void HostBudget::give_back(std::uint64_t bytes) {
  total_.fetch_sub(bytes, std::memory_order_relaxed);
}

void HostBudget::adopt(std::uint64_t bytes) { total_.fetch_add(bytes, std::memory_order_relaxed); }

}  // namespace arenad::server
