#include "allocator/arena/committer.h"

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "allocator/base/crash_point.h"
#include "allocator/base/format.h"
#include "allocator/format/block_word.h"

namespace arenad {
namespace {

// What one call to the kernel commits or locks. It takes some 10 ms.
constexpr std::uint64_t kStepBytes = 32 << 20;
constexpr const char* kStopping = "the daemon is stopping";

// Why mlock did not work, and what helps. The kernel says ENOMEM or EPERM when the limit does not
// allow it.
std::string why_not_locked(int system_errno) {
  std::string why = fmt::format("mlock: {}", std::strerror(system_errno));
  rlimit limit{};
  if ((system_errno == ENOMEM || system_errno == EPERM || system_errno == EAGAIN) &&
      ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    why += fmt::format(
        "; RLIMIT_MEMLOCK of this process is {}: raise it (LimitMEMLOCK= of the unit, ulimit -l, "
        "--ulimit memlock= of the container), or do without lock",
        bytes_text(limit.rlim_cur));
  return why;
}

bool on_hugetlbfs(const MemoryFile& file) {
  struct statfs fs;
  return ::fstatfs(file.fd(), &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
}

}  // namespace

Committer::Committer(const MemoryFile& data, const MemoryFile& control, const ControlView& view,
                     std::uint32_t unit_count, std::uint64_t first_word, MemoryBudget* budget,
                     bool huge_pages)
    : data_(data),
      control_(control),
      view_(view),
      control_pages_(control),
      first_word_(first_word),
      budget_(budget),
      data_budget_(on_hugetlbfs(data) ? nullptr : budget),
      huge_(data, huge_pages, on_hugetlbfs(data)),
      word_pages_(unit_count / kUnitsPerGroup) {}

Committer::~Committer() {
  if (data_budget_ != nullptr)
    data_budget_->give_back(counted_.load(std::memory_order_relaxed), data_.fd());
}

std::string Committer::refusal() const {
  const std::lock_guard lock(refusal_mutex_);
  return refusal_;
}

Error Committer::refused(std::string why) {
  const std::lock_guard lock(refusal_mutex_);
  refusal_ = std::move(why);
  return Error::kMachineFull;
}

Error Committer::back(std::uint64_t at, std::uint64_t bytes) {
  huge_.make(at, bytes);
  return data_.commit(at, bytes);
}

void Committer::unback(std::uint64_t at, std::uint64_t bytes) {
  data_.give_back(at, bytes);
  huge_.gone(at, bytes);
}

Error Committer::commit_data(std::uint64_t at, std::uint64_t bytes) {
  if (data_budget_ != nullptr)
    if (Failure full = data_budget_->request(MemoryBudget::Use::kPayload, bytes, data_.fd());
        full.error != Error::kNone)
      return refused(std::move(full.message));
  // In steps, so that stop() is heard, and so that the budget learns what has arrived.
  std::uint64_t done = 0;
  std::string why;
  while (done < bytes && why.empty()) {
    const std::uint64_t step = std::min(bytes - done, kStepBytes);
    if (stopped_.load(std::memory_order_relaxed)) {
      why = kStopping;
    } else if (back(at + done, step) != Error::kNone) {
      why =
          fmt::format("the kernel gave no {} for data: {}", bytes_text(step), std::strerror(errno));
    } else {
      if (data_budget_ != nullptr) data_budget_->arrived(step);
      done += step;
    }
  }
  if (done == bytes) {
    counted_.fetch_add(bytes, std::memory_order_relaxed);
    return Error::kNone;
  }
  unback(at, bytes);  // also what came of the step that failed
  if (data_budget_ != nullptr) {
    data_budget_->arrived(bytes - done);
    data_budget_->give_back(bytes, data_.fd());
  }
  return refused(std::move(why));
}

Error Committer::commit_control(std::uint64_t at, std::uint64_t bytes) {
  if (budget_ != nullptr)
    if (Failure full = budget_->request(MemoryBudget::Use::kControl, bytes, control_.fd());
        full.error != Error::kNone)
      return refused(std::move(full.message));
  control_pages_.add(at, bytes);
  const Error e = control_.commit(at, bytes);
  const int system_errno = errno;
  if (budget_ != nullptr) budget_->arrived(bytes);
  if (e == Error::kNone) return e;
  return refused(fmt::format("the kernel gave no {} for control memory: {}", bytes_text(bytes),
                             std::strerror(system_errno)));
}

Error Committer::commit_headers(SuperslabIndex first, std::uint32_t count) {
  const std::uint64_t headers = view_.superslab_header_page(first);
  const std::uint64_t headers_end = view_.superslab_header_page({first.value + count - 1}) + kPage;
  if (const Error e = commit_control(headers, headers_end - headers); e != Error::kNone) return e;
  return commit_control(view_.slab_headers_at(first),
                        count * kUnitsPerSuperslab * sizeof(SlabHeader));
}

void Committer::say_committed(SuperslabIndex first, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) {
    CRASH_POINT("arena.superslab_committed");
    // release: pairs with the acquire in PeerArena::committed.
    view_.superslab({first.value + i}).committed.store(1, std::memory_order_release);
  }
}

Error Committer::commit_superslabs(SuperslabIndex first, std::uint32_t count) {
  const std::uint64_t at = first.value * kSuperslabBytes, bytes = count * kSuperslabBytes;
  if (const Error e = commit_data(at, bytes); e != Error::kNone) return e;
  if (const Error e = commit_headers(first, count); e != Error::kNone) {
    unback(at, bytes);
    no_longer_counts(bytes);
    return e;
  }
  say_committed(first, count);
  return Error::kNone;
}

void Committer::no_longer_counts(std::uint64_t bytes) {
  if (data_budget_ == nullptr) return;
  counted_.fetch_sub(bytes, std::memory_order_relaxed);
  data_budget_->give_back(bytes, data_.fd());
}

Error Committer::adopt_superslabs(std::uint32_t count) {
  if (data_budget_ == nullptr) return Error::kNone;
  const std::uint64_t bytes = count * kSuperslabBytes;
  data_budget_->adopt(bytes);
  counted_.fetch_add(bytes, std::memory_order_relaxed);
  struct stat st;
  const std::uint64_t there =
      ::fstat(data_.fd(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : 0;
  if (there >= bytes) return Error::kNone;
  // A client has punched holes into its blocks.
  Failure full = data_budget_->request(MemoryBudget::Use::kControl, bytes - there, data_.fd());
  if (full.error != Error::kNone) return refused(std::move(full.message));
  data_budget_->arrived(bytes - there);
  return Error::kNone;
}

Error Committer::back_superslab(SuperslabIndex i) {
  if (const Error e = back(i.value * kSuperslabBytes, kSuperslabBytes); e != Error::kNone)
    return refused(fmt::format("the kernel gave no {} for data: {}", bytes_text(kSuperslabBytes),
                               std::strerror(errno)));
  return restore_superslab(i);
}

Error Committer::restore_superslab(SuperslabIndex i) {
  if (const Error e = commit_headers(i, 1); e != Error::kNone) return e;
  say_committed(i, 1);
  return Error::kNone;
}

void Committer::decommit_superslab(SuperslabIndex i) {
  CRASH_POINT("arena.superslab_decommitted");
  view_.superslab(i).committed.store(0, std::memory_order_release);
  give_back_superslab(i);
  no_longer_counts(kSuperslabBytes);
}

void Committer::give_back_superslab(SuperslabIndex i) {
  unback(i.value * kSuperslabBytes, kSuperslabBytes);
}

std::uint64_t Committer::data_bytes() const {
  struct stat status {};
  if (on_hugetlbfs(data_) || ::fstat(data_.fd(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

void Committer::give_back_data(SuperslabIndex first, std::uint32_t count) {
  unback(first.value * kSuperslabBytes, count * kSuperslabBytes);
}

Error Committer::lock_data() {
  for (std::uint64_t at = 0; at < data_.bytes(); at += kStepBytes) {
    if (stopped_.load(std::memory_order_relaxed)) return refused(kStopping);
    if (data_.lock(at, std::min(data_.bytes() - at, kStepBytes)) != Error::kNone)
      return refused(why_not_locked(errno));
  }
  return Error::kNone;
}

Error Committer::commit_run(SlabIndex first, std::uint32_t capacity) {
  const std::uint32_t group = first.value / kUnitsPerGroup;
  const auto pages = static_cast<std::uint8_t>((capacity + 63) / 64);
  std::uint8_t have = word_pages_[group].load(std::memory_order_acquire);
  if (have < pages) {
    // The pages of a group follow each other in the file. Two heaps may commit the same pages.
    if (const Error e = commit_control(view_.word_page(group, have), (pages - have) * kPage);
        e != Error::kNone)
      return e;
    CRASH_POINT("commit.words");
    begin_words(group, have, pages);
    while (have < pages &&
           !word_pages_[group].compare_exchange_weak(have, pages, std::memory_order_acq_rel)) {}
  }
  if (capacity > kInlineReturnedWords * 64)
    return commit_control(view_.overflow_page(first), kPage);
  return Error::kNone;
}

void Committer::begin_words(std::uint32_t group, std::uint32_t first_page, std::uint32_t end_page) {
  AtomicWord* const words = view_.words() + group * kWordsPerGroup;
  for (std::uint64_t i = first_page * kWordsPerPage; i < end_page * kWordsPerPage; ++i) {
    std::uint64_t fresh = 0;
    // relaxed: who may use the run learns of it later, by the release in prepare_run.
    if (words[i].load(std::memory_order_relaxed) == fresh)
      words[i].compare_exchange_strong(fresh, first_word_, std::memory_order_relaxed);
  }
}

Error Committer::commit_heap(HeapId id) {
  if (const Error e = commit_control(view_.heap_bytes_at(id) & ~(kPage - 1), kPage);
      e != Error::kNone)
    return e;
  const std::uint64_t from = view_.pending_at(id) & ~(kPage - 1);
  const std::uint64_t to = view_.pending_at(id) + view_.pending_stride();
  return commit_control(from, (to + kPage - 1 - from) & ~(kPage - 1));
}

Error Committer::commit_session(SessionId session, bool live) {
  if (const Error e = commit_control(view_.session_at(session) & ~(kPage - 1), kPage);
      e != Error::kNone)
    return e;
  return live ? commit_control(view_.footprint_at(session), view_.footprint_stride())
              : Error::kNone;
}

}  // namespace arenad
