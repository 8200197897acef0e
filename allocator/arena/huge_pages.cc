#include "allocator/arena/huge_pages.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "allocator/base/format.h"
#include "allocator/format/control_layout.h"
#include "allocator/format/geometry.h"
#include "allocator/format/numa_policy.h"

namespace arenad {
namespace {

static_assert(kSuperslabBytes == kHugePageBytes);

constexpr const char* kShmemEnabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

// The word in brackets, as in "always within_size advise [never] deny force". Empty: unknown.
std::string shmem_enabled() {
  std::string line;
  std::ifstream file(kShmemEnabled);
  std::getline(file, line);
  const std::size_t open = line.find('['), close = line.find(']');
  return open < close && close != std::string::npos ? line.substr(open + 1, close - open - 1)
                                                    : std::string();
}

std::string why_not_huge(int system_errno) {
  switch (system_errno) {
    case ENOMEM: return "the machine had no 2 MiB of memory in one piece";
    case EBUSY: return "the memory cgroup of arenad had no room for a huge page";
    case EAGAIN: return "pages were in use while the kernel was to make a huge page of them";
    case EINVAL: {
      const std::string set = shmem_enabled();
      return fmt::format(
          "the kernel makes no huge page of this memory (MADV_COLLAPSE): that takes Linux 6.1, a "
          "memfd or a tmpfs, and {} must not be deny (it is {})",
          kShmemEnabled, set.empty() ? "not there" : set);
    }
    default: return fmt::format("the kernel made no huge page: {}", std::strerror(system_errno));
  }
}

}  // namespace

HugePages::HugePages(const MemoryFile& data, bool wanted, bool on_hugetlbfs)
    : data_(data),
      wanted_(wanted),
      on_hugetlbfs_(on_hugetlbfs),
      huge_(wanted ? data.bytes() / kSuperslabBytes : 1) {
  if (!wanted_ || on_hugetlbfs_) return;
  if (!data_.may_be_huge() || shmem_enabled() == "deny")
    last_errno_.store(EINVAL, std::memory_order_relaxed);
  if (const auto numa = numa_state(data_.base()); numa && numa->nodes != 0)
    nodes_ = static_cast<std::uint64_t>(std::popcount(numa->nodes));
}

void HugePages::set(std::uint64_t at, bool huge) {
  const auto now = static_cast<std::uint8_t>(huge);
  if (huge_[at / kSuperslabBytes].exchange(now, std::memory_order_relaxed) == now) return;
  if (huge)
    bytes_.fetch_add(kSuperslabBytes, std::memory_order_relaxed);
  else
    bytes_.fetch_sub(kSuperslabBytes, std::memory_order_relaxed);
}

void HugePages::make(std::uint64_t at, std::uint64_t bytes) {
  if (!wanted_) return;
  const std::uint64_t end = at + bytes;
  // One call for all, because each has the processors empty their lists of pages. Where it fails,
  // calls for one superslab each find those that have a huge page.
  const bool all = on_hugetlbfs_ || (begin(at, end) && data_.make_huge(at, bytes));
  for (; at < end; at += kSuperslabBytes) {
    const bool huge = all || data_.make_huge(at, kSuperslabBytes);
    if (!huge) last_errno_.store(errno, std::memory_order_relaxed);
    set(at, huge);
  }
}

// The kernel makes no huge page of nothing, so each superslab gets a first page.
bool HugePages::begin(std::uint64_t at, std::uint64_t end) const {
  for (; at < end; at += kSuperslabBytes) {
    const std::uint64_t page = first_page_of(at / kSuperslabBytes, nodes_);
    if (data_.commit(at + page * kPage, kPage) != Error::kNone) return false;
  }
  return true;
}

void HugePages::gone(std::uint64_t at, std::uint64_t bytes) {
  if (!wanted_) return;
  for (const std::uint64_t end = at + bytes; at < end; at += kSuperslabBytes) set(at, false);
}

std::string HugePages::refusal() const {
  const int refused = last_errno_.load(std::memory_order_relaxed);
  return refused == 0 ? std::string() : why_not_huge(refused);
}

}  // namespace arenad
