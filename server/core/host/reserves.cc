#include "server/core/host/reserves.h"

#include <algorithm>

namespace arenad::server {

void Reserves::begin(SessionId session, std::uint64_t bytes) {
  Reserve reserve;
  reserve.serial = ++last_serial_;
  reserve.bytes = bytes;
  reserves_[session] = reserve;
}

void Reserves::end(SessionId session) { reserves_.erase(session); }

std::uint64_t Reserves::reserved_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [session, reserve] : reserves_) sum += reserve.bytes;
  return sum;
}

std::uint64_t Reserves::set_aside_but(SessionId session) const {
  std::uint64_t sum = 0;
  for (const auto& [other, reserve] : reserves_)
    if (other != session) sum += set_aside_for(other, reserve);
  return sum;
}

std::uint64_t Reserves::set_aside_for(SessionId session) const {
  const auto found = reserves_.find(session);
  return found == reserves_.end() ? 0 : set_aside_for(session, found->second);
}

std::uint64_t Reserves::set_aside_for(SessionId session, const Reserve& reserve) const {
  const std::uint64_t unused = unused_(session);
  return unused - std::min(unused, reserve.committed);
}

Reserves::Reserve* Reserves::find(const Drawer& drawer) {
  const auto found = reserves_.find(drawer.session);
  const bool same = found != reserves_.end() && found->second.serial == drawer.serial;
  return same ? &found->second : nullptr;
}

std::uint32_t Reserves::draw(SessionId session, std::uint64_t bytes, std::uint32_t times,
                             Drawer& drawer) {
  const auto found = reserves_.find(session);
  if (found == reserves_.end() || bytes == 0) return 0;
  Reserve& reserve = found->second;
  const std::uint64_t unused = unused_(session);
  const std::uint64_t left = unused - std::min(unused, reserve.drawn);
  const auto fit = static_cast<std::uint32_t>(std::min<std::uint64_t>(left / bytes, times));
  if (fit == 0) return 0;
  reserve.drawn += fit * bytes;
  drawer = {session, reserve.serial};
  return fit;
}

void Reserves::draw_over(const Drawer& drawer, std::uint64_t bytes) {
  if (Reserve* const reserve = find(drawer)) reserve->drawn -= bytes;
}

void Reserves::committed(const Drawer& drawer, std::int64_t bytes) {
  if (Reserve* const reserve = find(drawer))
    reserve->committed += static_cast<std::uint64_t>(bytes);  // wraps as it must
}

bool Reserves::exceed(const Drawer& drawer, std::uint64_t bytes, int fd) {
  Reserve* const reserve = find(drawer);
  if (reserve == nullptr) return false;
  std::uint64_t excess = 0;
  for (const auto& [file, of_file] : reserve->excess) excess += of_file;
  if (bytes > 2 * reserve->bytes - excess) return false;
  reserve->excess[fd] += bytes;
  return true;
}

void Reserves::given_back(std::uint64_t bytes, int fd) {
  for (auto& [session, reserve] : reserves_) {
    const auto excess = reserve.excess.find(fd);
    if (excess == reserve.excess.end()) continue;
    const std::uint64_t less = std::min(bytes, excess->second);
    bytes -= less;
    excess->second -= less;
    if (excess->second == 0) reserve.excess.erase(excess);
  }
}

}  // namespace arenad::server
