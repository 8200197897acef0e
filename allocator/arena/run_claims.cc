#include "allocator/arena/run_claims.h"

#include <algorithm>
#include <iterator>

namespace arenad {

RunClaims::Outcome RunClaims::claim(std::span<const RunWish> wishes) {
  Outcome out;
  {
    const std::lock_guard lock(mutex_);
    out.ticket = ++last_ticket_;
  }
  SuperslabIndex hint{0};
  for (const auto& [shape, count] : wishes) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto run = shape.whole_superslabs()
                           ? units_.claim_superslabs(shape.units / kUnitsPerSuperslab)
                           : units_.claim_run(shape.units, hint);
      if (!run.ok()) {
        out.error = run.error();
        return out;
      }
      hint = superslab_of(*run);
      ++out.runs;
      const std::lock_guard lock(mutex_);
      claims_.push_back({out.ticket, *run, shape.units, shape.whole_superslabs()});
      count_.store(static_cast<std::uint32_t>(claims_.size()), std::memory_order_relaxed);
    }
  }
  return out;
}

std::optional<SlabIndex> RunClaims::take(const RunShape& shape) {
  if (count_.load(std::memory_order_relaxed) == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(claims_, [&](const Claim& claim) {
    return claim.units == shape.units && claim.whole_superslabs == shape.whole_superslabs();
  });
  if (found == claims_.end()) return std::nullopt;
  const SlabIndex run = found->first;
  claims_.erase(found);
  count_.store(static_cast<std::uint32_t>(claims_.size()), std::memory_order_relaxed);
  units_.take_claimed(shape.units);
  return run;
}

void RunClaims::drop(std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [this, ticket](const Claim& claim) {
    if (claim.ticket != ticket) return false;
    if (claim.whole_superslabs)
      units_.drop_superslabs(claim.first, claim.units / kUnitsPerSuperslab);
    else
      units_.drop_run(claim.first, claim.units);
    return true;
  });
  count_.store(static_cast<std::uint32_t>(claims_.size()), std::memory_order_relaxed);
}

}  // namespace arenad
