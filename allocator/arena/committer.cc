#include "allocator/arena/committer.h"

#include "allocator/base/crash_point.h"
#include "allocator/format/block_word.h"

namespace arenad {

Committer::Committer(const MemoryFile& data, const MemoryFile& control, const ControlView& view,
                     std::uint32_t unit_count, std::uint64_t first_word)
    : data_(data),
      control_(control),
      view_(view),
      first_word_(first_word),
      word_pages_(std::make_unique<std::atomic<std::uint8_t>[]>(unit_count / kUnitsPerGroup)) {}

Error Committer::commit_superslabs(SuperslabIndex first, std::uint32_t count) {
  const std::uint64_t at = first.value * kSuperslabBytes, bytes = count * kSuperslabBytes;
  if (const Error e = data_.commit(at, bytes); e != Error::kNone) return e;
  const std::uint64_t headers = view_.superslab_header_page(first);
  const std::uint64_t headers_end = view_.superslab_header_page({first.value + count - 1}) + kPage;
  Error e = control_.commit(headers, headers_end - headers);
  if (e == Error::kNone)
    e = control_.commit(view_.slab_headers_at(first),
                        count * kUnitsPerSuperslab * sizeof(SlabHeader));
  if (e != Error::kNone) {
    data_.give_back(at, bytes);
    return e;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    CRASH_POINT("arena.superslab_committed");
    // release: pairs with the acquire in PeerArena::committed.
    view_.superslab({first.value + i}).committed.store(1, std::memory_order_release);
  }
  return Error::kNone;
}

void Committer::decommit_superslab(SuperslabIndex i) {
  CRASH_POINT("arena.superslab_decommitted");
  view_.superslab(i).committed.store(0, std::memory_order_release);
  give_back_superslab(i);
}

void Committer::give_back_superslab(SuperslabIndex i) {
  data_.give_back(i.value * kSuperslabBytes, kSuperslabBytes);
}

Error Committer::commit_run(SlabIndex first, std::uint32_t capacity) {
  const std::uint32_t group = first.value / kUnitsPerGroup;
  const auto pages = static_cast<std::uint8_t>((capacity + 63) / 64);
  std::uint8_t have = word_pages_[group].load(std::memory_order_acquire);
  if (have < pages) {
    // The pages of a group follow each other in the file. Two heaps may commit the same pages.
    if (const Error e = control_.commit(view_.word_page(group, have), (pages - have) * kPage);
        e != Error::kNone)
      return e;
    CRASH_POINT("commit.words");
    begin_words(group, have, pages);
    while (have < pages &&
           !word_pages_[group].compare_exchange_weak(have, pages, std::memory_order_acq_rel)) {}
  }
  if (capacity > kInlineReturnedWords * 64)
    return control_.commit(view_.overflow_page(first), kPage);
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

void Committer::commit_heap(HeapId id) {
  (void)control_.commit(view_.heap_bytes_at(id) & ~(kPage - 1), kPage);
  const std::uint64_t from = view_.pending_at(id) & ~(kPage - 1);
  const std::uint64_t to = view_.pending_at(id) + view_.pending_stride();
  (void)control_.commit(from, (to + kPage - 1 - from) & ~(kPage - 1));
}

Error Committer::commit_session(SessionId session, bool live) {
  if (const Error e = control_.commit(view_.session_at(session) & ~(kPage - 1), kPage);
      e != Error::kNone)
    return e;
  if (live) (void)control_.commit(view_.footprint_at(session), view_.footprint_stride());
  return Error::kNone;
}

}  // namespace arenad
