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
    : daemon_limit_bytes_(daemon_limit_bytes), user_limit_(kMost), entries_(65536) {}

void Account::open(SessionId session, std::uint64_t limit_bytes) {
  entry(session).user = nullptr;
  at(entry(session).charged).store(0, std::memory_order_relaxed);
  set_reserve(session, 0);
  set_limit(session, limit_bytes);
}

void Account::open(SessionId session, std::uint64_t limit_bytes, std::uint32_t uid) {
  open(session, limit_bytes);
  User& user = users_[uid];
  ++user.sessions;
  entry(session).user = &user;
}

void Account::close(SessionId session) {
  Entry& e = entry(session);
  if (e.user != nullptr) {
    at(e.user->charged).fetch_sub(load(e.charged), std::memory_order_relaxed);
    --e.user->sessions;
  }
  e.user = nullptr;
}

void Account::set_heir(SessionId session, SessionId heir) {
  User* const user = entry(session).user;
  user->heir = heir;
  open(heir, 0);
  entry(heir).user = user;
}

std::vector<SessionId> Account::forget_idle_users() {
  std::vector<SessionId> heirs;
  std::erase_if(users_, [&](const auto& of_uid) {
    const User& user = of_uid.second;
    if (user.sessions != 0 || load(user.charged) != 0) return false;
    if (user.heir != kNoSession) {
      entry(user.heir).user = nullptr;
      heirs.push_back(user.heir);
    }
    return true;
  });
  return heirs;
}

void Account::set_limit(SessionId session, std::uint64_t limit_bytes) {
  at(entry(session).limit).store(limit_for(limit_bytes), std::memory_order_relaxed);
}

void Account::set_reserve(SessionId session, std::uint64_t bytes) {
  Entry& e = entry(session);
  at(e.begun).store(0, std::memory_order_relaxed);
  at(e.settled).store(0, std::memory_order_relaxed);
  at(e.reserve).store(clamped(bytes), std::memory_order_relaxed);
}

// The order of the three reads: a charge that the second one sees was begun before the third, and
// is not settled by the first unless its credit was seen, too. So no more seems to be used than is.
std::uint64_t Account::unused_reserve(SessionId session) const {
  const Entry& e = entry(session);
  const std::int64_t settled = at(e.settled).load(std::memory_order_acquire);
  const std::int64_t charged = at(e.charged).load(std::memory_order_acquire);
  const std::int64_t open = load(e.begun) - settled;
  const std::int64_t used = std::max<std::int64_t>(charged - open, 0);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(load(e.reserve) - used, 0));
}

std::int64_t Account::clamped(std::uint64_t bytes) {
  return static_cast<std::int64_t>(std::min(bytes, kMost));
}

std::int64_t Account::limit_for(std::uint64_t limit_bytes) const {
  return clamped(smaller_limit(limit_bytes, daemon_limit_bytes_));
}

std::uint64_t Account::limit_bytes(SessionId session) const {
  return static_cast<std::uint64_t>(load(entry(session).limit));
}

// Shards charge and credit at once, so a sum may be below 0 for a moment.
std::uint64_t Account::charged_bytes(SessionId session) const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(load(entry(session).charged), 0));
}

std::uint64_t Account::user_bytes(SessionId session) const {
  const User* const user = entry(session).user;
  if (user == nullptr) return 0;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(load(user->charged), 0));
}

bool Account::charge_up_to(std::int64_t limit, std::int64_t& charged, std::int64_t bytes) {
  std::atomic_ref<std::int64_t> sum = at(charged);
  std::int64_t before = sum.load(std::memory_order_relaxed);
  do {
    if (before > limit - bytes) return false;
    // release: pairs with the load in unused_reserve, which sees that the charge has begun then.
  } while (!sum.compare_exchange_weak(before, before + bytes, std::memory_order_release,
                                      std::memory_order_relaxed));
  return true;
}

Error Account::charge_unsettled(SessionId session, std::uint64_t bytes) {
  at(entry(session).begun).fetch_add(clamped(bytes), std::memory_order_relaxed);
  const Error e = charge_both(entry(session), bytes);
  if (e != Error::kNone) settled(session, bytes);
  return e;
}

Error Account::charge_both(Entry& e, std::uint64_t bytes) {
  const std::int64_t more = clamped(bytes);
  if (e.user != nullptr &&
      !charge_up_to(user_limit_.load(std::memory_order_relaxed), e.user->charged, more))
    return Error::kQuotaUser;
  const std::int64_t limit = load(e.limit);
  if (charge_up_to(limit == 0 ? clamped(kMost) : limit, e.charged, more)) return Error::kNone;
  if (e.user != nullptr) at(e.user->charged).fetch_sub(more, std::memory_order_relaxed);
  return Error::kQuotaSession;
}

}  // namespace arenad::server
