#include "server/core/host/host_budget.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kCreditNs = 10 * kNsPerMs;  // how long what was read is believed
constexpr std::uint64_t kMostMarginBytes = 256 << 20;

constinit thread_local const HostBudget::Asking* asking = nullptr;

// What stays free for the daemon itself and for others.
std::uint64_t margin_of(const MemoryBound& bound) {
  return std::min(bound.limit_bytes / 16, kMostMarginBytes);
}

// A sum that stays at the largest number.
std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return a + std::min(b, ~a); }
std::uint64_t difference(std::uint64_t a, std::uint64_t b) { return a - std::min(a, b); }

Failure exhausted(const MemoryBound& bound, std::uint64_t left, std::uint64_t margin,
                  std::uint64_t set_aside, std::uint64_t wanted) {
  std::string kept;
  if (margin != 0) kept += fmt::format(" and {} must stay free", bytes_text(margin));
  if (set_aside != 0)
    kept += fmt::format(" and {} are reserved for sessions", bytes_text(set_aside));
  return {Error::kMachineFull,
          fmt::format("{} is {}, of which {} are left{}; {} were needed", bound.name,
                      bytes_text(bound.limit_bytes), bytes_text(left), kept, bytes_text(wanted))};
}

}  // namespace

HostBudget::Asking::Asking(SessionId session, Draw* draw)
    : session_(session), draw_(draw), before_(asking) {
  asking = this;
}

HostBudget::Asking::~Asking() { asking = before_; }

SessionId HostBudget::asker() { return asking == nullptr ? kNoSession : asking->session_; }

HostBudget::Draw::~Draw() {
  commits_over();
  const std::lock_guard lock(budget_.sum_mutex_);
  budget_.reserves_.draw_over(drawer_, bytes_ * times_);
}

void HostBudget::Draw::commits_over() {
  const std::lock_guard lock(budget_.sum_mutex_);
  budget_.reserves_.committed(drawer_, -static_cast<std::int64_t>(committed_));
  committed_ = 0;
}

std::shared_ptr<HostBudget::Draw> HostBudget::draw(SessionId session, std::uint64_t bytes,
                                                   std::uint32_t parts) {
  Reserves::Drawer drawer;
  std::uint32_t times = 0;
  {
    const std::lock_guard lock(sum_mutex_);
    times = reserves_.draw(session, bytes, parts, drawer);
  }
  return times == 0 ? nullptr : std::make_shared<Draw>(*this, drawer, bytes, times);
}

std::string HostBudget::take_limit(std::uint64_t max_total_bytes, int directory) {
  directory_ = UniqueFd(directory < 0 ? -1 : ::fcntl(directory, F_DUPFD_CLOEXEC, 0));
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
  origin_ = fmt::format(" ({})", origin);
  return fmt::format("max_total_bytes is {}, chosen by arenad: {}", bytes_text(most), origin);
}

Failure HostBudget::begin_reserve(SessionId session, std::uint64_t bytes) {
  const Asking asks(session);
  {
    const std::lock_guard lock(sum_mutex_);
    const std::uint64_t set_aside = reserves_.set_aside_but(session);
    const std::uint64_t have = sum(total_.load(std::memory_order_relaxed), set_aside);
    if (sum(have, bytes) > most_.load(std::memory_order_relaxed))
      return total_exhausted(set_aside, bytes);
    reserves_.begin(session, bytes);
  }
  // From here on others are held to it, so what the host leaves now cannot be promised twice.
  Failure full = ask_files(bytes, directory_.get());
  if (full.error == Error::kNone) {
    const std::lock_guard lock(mutex_);
    if (const auto room = room_for(bytes, set_aside_for_others()); !room.ok()) full = room.error();
  }
  if (full.error != Error::kNone) end_reserve(session);
  return full;
}

void HostBudget::begin_reserve_again(SessionId session, std::uint64_t bytes) {
  const std::lock_guard lock(sum_mutex_);
  reserves_.begin(session, bytes);
}

void HostBudget::end_reserve(SessionId session) {
  const std::lock_guard lock(sum_mutex_);
  reserves_.end(session);
}

std::uint64_t HostBudget::reserved_bytes() const {
  const std::lock_guard lock(sum_mutex_);
  return reserves_.reserved_bytes();
}

std::uint64_t HostBudget::set_aside_bytes() const {
  const std::lock_guard lock(sum_mutex_);
  return reserves_.set_aside_but(kNoSession);
}

std::string HostBudget::reserved_beyond_limit() const {
  const std::uint64_t most = most_.load(std::memory_order_relaxed), have = total_bytes(),
                      set_aside = set_aside_bytes();
  if (set_aside == 0 || sum(have, set_aside) <= most) return {};
  return fmt::format(
      "max_total_bytes is {}, arenas have {} and {} are set aside for reserves of sessions: nobody "
      "else gets memory before there is less",
      bytes_text(most), bytes_text(have), bytes_text(set_aside));
}

std::uint64_t HostBudget::set_aside_for_others() const {
  const std::lock_guard lock(sum_mutex_);
  return reserves_.set_aside_but(asker());
}

Failure HostBudget::request(Use use, std::uint64_t bytes, int fd) {
  if (use == Use::kPayload)
    if (Failure full = ask_total(bytes, fd); full.error != Error::kNone) return full;
  Failure full = ask_files(bytes, fd);
  if (full.error == Error::kNone) full = ask_host(bytes);
  if (full.error != Error::kNone && use == Use::kPayload) uncount(bytes, fd);
  return full;
}

Failure HostBudget::ask_total(std::uint64_t bytes, int fd) {
  const std::uint64_t most = most_.load(std::memory_order_relaxed);
  const std::lock_guard lock(sum_mutex_);
  const std::uint64_t total = total_.load(std::memory_order_relaxed);
  const std::uint64_t others = reserves_.set_aside_but(asker());
  Draw* const draw = asking == nullptr ? nullptr : asking->draw_;
  Reserves::Drawer drawer;
  std::uint64_t drawn = 0, still_aside = 0;
  if (draw != nullptr) {
    drawer = draw->drawer_;
    drawn = std::min(bytes, draw->bytes_ * draw->times_ - draw->committed_);
    still_aside = difference(reserves_.set_aside_for(asker()), drawn);
  }
  const std::uint64_t after = sum(sum(total, bytes), sum(others, still_aside));
  if (after > most && !reserves_.exceed(drawer, bytes, fd)) return total_exhausted(others, bytes);
  total_.fetch_add(bytes, std::memory_order_relaxed);
  if (draw != nullptr) {
    draw->committed_ += drawn;
    reserves_.committed(drawer, static_cast<std::int64_t>(drawn));
  }
  return {};
}

Failure HostBudget::total_exhausted(std::uint64_t set_aside, std::uint64_t wanted) const {
  const std::uint64_t most = most_.load(std::memory_order_relaxed);
  return exhausted(
      {fmt::format("max_total_bytes{}, the limit of all arenas together,", origin_), most, 0},
      difference(most, total_.load(std::memory_order_relaxed)), 0, set_aside, wanted);
}

// What was counted for a request that is refused after all.
void HostBudget::uncount(std::uint64_t bytes, int fd) {
  give_back(bytes, fd);
  const std::lock_guard lock(sum_mutex_);
  Draw* const draw = asking == nullptr ? nullptr : asking->draw_;
  if (draw == nullptr) return;
  const std::uint64_t drawn = std::min(bytes, draw->committed_);
  draw->committed_ -= drawn;
  reserves_.committed(draw->drawer_, -static_cast<std::int64_t>(drawn));
}

Failure HostBudget::ask_files(std::uint64_t bytes, int fd) const {
  const MemoryBound files = file_system_bound(fd);
  if (files.limit_bytes == 0) return {};
  const std::uint64_t set_aside = set_aside_for_others();
  if (files.free_bytes >= sum(bytes, set_aside)) return {};
  return exhausted(files, files.free_bytes, 0, set_aside, bytes);
}

Failure HostBudget::ask_host(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t set_aside = set_aside_for_others();
  if (credit_ < bytes || set_aside > credit_set_aside_ || now_ns() >= credit_until_ns_) {
    const auto room = room_for(bytes, set_aside);
    if (!room.ok()) return room.error();
    credit_ = bytes + (*room - bytes) / 4;
    credit_until_ns_ = now_ns() + kCreditNs;
    credit_set_aside_ = set_aside;
  }
  credit_ -= bytes;
  on_the_way_ += bytes;
  return {};
}

Result<std::uint64_t, Failure> HostBudget::room_for(std::uint64_t bytes,
                                                    std::uint64_t set_aside) const {
  std::uint64_t room = ~std::uint64_t{0} >> 1;
  for (const MemoryBound& bound : host_.bounds()) {
    const std::uint64_t margin = margin_of(bound);
    const std::uint64_t left = difference(bound.free_bytes, on_the_way_);
    const std::uint64_t free = difference(left, sum(margin, set_aside));
    if (free < bytes) return exhausted(bound, left, margin, set_aside, bytes);
    room = std::min(room, free);
  }
  return room;
}

void HostBudget::arrived(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  on_the_way_ -= bytes;
}

void HostBudget::give_back(std::uint64_t bytes, int fd) {
  const std::lock_guard lock(sum_mutex_);
  reserves_.given_back(bytes, fd);
  total_.fetch_sub(bytes, std::memory_order_relaxed);
}

void HostBudget::adopt(std::uint64_t bytes) { total_.fetch_add(bytes, std::memory_order_relaxed); }

}  // namespace arenad::server
