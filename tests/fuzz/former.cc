#include "tests/fuzz/former.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "allocator/base/unique_fd.h"
#include "allocator/heap/heap.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using server::StateDirectory;

constexpr HeapId kFormer{0}, kPeerHeap{40};

std::unique_ptr<Arena> make(StateDirectory& state, const char* name, std::uint16_t id,
                            std::uint32_t superslabs, Layout layout) {
  ArenaConfig config;
  config.id = {id};
  config.name = name;
  config.capacity_bytes = superslabs * kSuperslabBytes;
  config.debug.redzones = layout == Layout::redzoned();
  config.max_heaps = kFormerHeaps;
  config.first_generation = 1;
  auto made = state.create(config, {1000, 1000, 0660});
  FUZZ_EXPECT(made.ok(), "an arena can be made");
  return std::move(*made);
}

// Blocks that are held, shared, free and on their way.
void fill(Arena& arena) {
  for (const SessionId session : {kLiving, kDead, kPeer}) {
    arena.mark_session(session, SessionEntry::kLive);
    arena.ledger().set_attach_mode(session, session == kPeer ? 4 : 1);
  }
  Heap heap(arena, kFormer, kReaperSession, HeapUse::kServesOthers);
  std::vector<Ref> refs;
  for (const std::uint64_t size : {48, 256, 1500, 100000, 200000})
    for (const SessionId session : {kLiving, kDead, kLiving, kDead})
      if (const auto got = heap.allocate(size, Holder(session, 3)); got.ok())
        refs.push_back(got->ref);
  for (std::size_t i = 0; i < refs.size(); i += 4) {
    FUZZ_EXPECT(arena.share({refs[i].value}, kLiving) == Error::kNone, "a block is shared");
    FUZZ_EXPECT(arena.share({refs[i].value}, kPeer) == Error::kNone, "a block is shared");
    if (i % 8 == 0) FUZZ_EXPECT(heap.free(refs[i + 1]) == Error::kNone, "a block is freed");
  }
  heap.publish();
}

void lease(Arena& arena) {
  arena.enlist_heap(kPeerHeap, kPeer);
  FUZZ_EXPECT(arena.ledger().claim_heap(kPeerHeap, kPeer) == kPeerHeap, "a peer gets a heap id");
  const RunShape slab = arena.geometry().slab_shape(arena.geometry().class_of(256));
  for (int i = 0; i < 2; ++i)
    FUZZ_EXPECT(arena.grant(kPeerHeap, RunOwner::leased_to(kPeer), slab, {0}).ok(),
                "a peer gets leases");
}

}  // namespace

FileImage::FileImage(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  bytes_ = static_cast<std::uint64_t>(::lseek(fd.get(), 0, SEEK_END));
  for (off_t at = ::lseek(fd.get(), 0, SEEK_DATA); at >= 0;
       at = ::lseek(fd.get(), at + static_cast<off_t>(kPage), SEEK_DATA)) {
    Page page{};
    FUZZ_EXPECT(::pread(fd.get(), page.data(), page.size(), at) > 0, "a page is read");
    if (page != Page{}) pages_.emplace_back(static_cast<std::uint64_t>(at), page);
  }
}

void FileImage::write(const std::string& path) const {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  FUZZ_EXPECT(fd && ::ftruncate(fd.get(), static_cast<off_t>(bytes_)) == 0, "a file is made");
  for (const auto& [at, page] : pages_)
    FUZZ_EXPECT(::pwrite(fd.get(), page.data(), page.size(), static_cast<off_t>(at)) ==
                    static_cast<ssize_t>(page.size()),
                "a page is written");
}

bool FileImage::is_same(const std::byte* mapped) const {
  for (const auto& [at, page] : pages_)
    if (std::memcmp(mapped + at, page.data(), page.size()) != 0) return false;
  return true;
}

StateDirectory open_directory(const std::string& path) {
  auto state = StateDirectory::open(path, "", [](server::LogLevel, const std::string&) {});
  FUZZ_EXPECT(state.ok(), "the directory opens");
  return std::move(*state);
}

Former::Former(Layout layout) {
  const test::TemporaryDirectory directory(test::kMemoryFiles);
  StateDirectory state = open_directory(directory.path());
  fill(*make(state, "other", 2, 1, Layout::plain()));
  {
    const auto pool = make(state, "pool", 1, 2, layout);
    fill(*pool);
    lease(*pool);
  }
  pool_ = std::make_unique<ArenaImage>(state.files_of("pool"));
  other_ = std::make_unique<ArenaImage>(state.files_of("other"));
}

}  // namespace arenad::fuzz
