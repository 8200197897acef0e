#include "allocator/arena/control_pages.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "allocator/format/control_layout.h"

namespace arenad {

ControlPages::ControlPages(const MemoryFile& control)
    : control_(control), bits_(control.bytes() / kPage / 64 + 1) {
  add(0, kPage);
}

void ControlPages::add_page(std::uint64_t page) {
  if (has(page)) return;
  bits_[page / 64] |= std::uint64_t{1} << (page % 64);
  ++count_;
}

void ControlPages::add(std::uint64_t at, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t page = at / kPage; page < (at + bytes + kPage - 1) / kPage; ++page)
    add_page(page);
}

template <class F>
void ControlPages::for_each_present(F&& f) const {
  for (off_t at = 0; (at = ::lseek(control_.fd(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(control_.fd(), at, SEEK_HOLE);
    if (end <= at) return;
    f(static_cast<std::uint64_t>(at) / kPage,
      (static_cast<std::uint64_t>(end) + kPage - 1) / kPage);
    at = end;
  }
}

void ControlPages::add_all_present() {
  const std::lock_guard lock(mutex_);
  for_each_present([this](std::uint64_t page, std::uint64_t end) {
    for (; page < end; ++page) add_page(page);
  });
}

std::uint64_t ControlPages::touched_bytes() const {
  struct stat status {};
  const std::lock_guard lock(mutex_);
  if (::fstat(control_.fd(), &status) != 0) return 0;
  const std::uint64_t has = static_cast<std::uint64_t>(status.st_blocks) * 512;
  return has - std::min(has, count_ * kPage);
}

void ControlPages::give_back_touched() {
  for_each_present([this](std::uint64_t page, std::uint64_t end) {
    for (; page < end; page += kChunkPages) give_back(page, std::min(page + kChunkPages, end));
  });
}

void ControlPages::give_back(std::uint64_t page, std::uint64_t end) {
  const std::lock_guard lock(mutex_);
  while (page < end) {
    if (has(page)) {
      ++page;
      continue;
    }
    std::uint64_t after = page + 1;
    while (after < end && !has(after)) ++after;
    control_.give_back(page * kPage, (after - page) * kPage);
    page = after;
  }
}

}  // namespace arenad
