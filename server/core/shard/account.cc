#include "server/core/shard/account.h"

#include <algorithm>
#include <limits>

namespace arenad::server {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();

std::uint64_t smaller_limit(std::uint64_t a, std::uint64_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

}  // namespace

Account::Account(std::uint64_t daemon_limit_bytes)
    : daemon_limit_bytes_(daemon_limit_bytes), entries_(65536) {}

void Account::open(SessionId session, std::uint64_t limit_bytes) {
  at(entry(session).charged).store(0, std::memory_order_relaxed);
  at(entry(session).limit).store(limit_for(limit_bytes), std::memory_order_relaxed);
}

void Account::set_limit(SessionId session, std::uint64_t limit_bytes) {
  if (!has_limit(session)) return open(session, limit_bytes);
  at(entry(session).limit).store(limit_for(limit_bytes), std::memory_order_relaxed);
}

std::int64_t Account::limit_for(std::uint64_t limit_bytes) const {
  return static_cast<std::int64_t>(
      std::min(smaller_limit(limit_bytes, daemon_limit_bytes_), kMost));
}

std::uint64_t Account::limit_bytes(SessionId session) const {
  return static_cast<std::uint64_t>(load(entry(session).limit));
}

std::uint64_t Account::charged_bytes(SessionId session) const {
  // Shards charge and credit at once, so the sum may be below 0 for a moment.
  return static_cast<std::uint64_t>(std::max<std::int64_t>(load(entry(session).charged), 0));
}

bool Account::charge_slow(SessionId session, std::uint64_t bytes, std::int64_t limit) {
  const auto more = static_cast<std::int64_t>(bytes);
  std::atomic_ref<std::int64_t> charged = at(entry(session).charged);
  // Not add and take back: a recount that began between the two would lose the difference.
  std::int64_t before = charged.load(std::memory_order_relaxed);
  do {
    if (before > limit - more) return false;
  } while (!charged.compare_exchange_weak(before, before + more, std::memory_order_relaxed));
  return true;
}

}  // namespace arenad::server
