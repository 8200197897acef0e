// The files of an arena, changed while no daemon ran.
//
// Purpose: a former daemon has left two arenas in a state directory: `pool`, in which sessions hold
// and share blocks and a peer has leases, and `other`. The input changes bytes of pool's ledger and
// control file, forges fields of its headers and records of its runs, changes the sizes of its
// files, removes them, and puts something else in their place. Then the directory is opened as a
// restart opens it (StateDirectory, Arena::open, adoption, reaping), and pool is used.
// What must hold:
// * No crash, no report of a sanitizer, no descriptor left.
// * pool is served, or left alone as another version's, or its files are in quarantine/. Files are
//   removed only when the ledger says that pool was being made or deleted.
// * An arena that is served has a valid name. What its heap gives out lies inside the arena, in a
//   run of that heap.
// * `other` is found, and its ledger and its blocks are as they were.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/log.h"
#include "allocator/base/unique_fd.h"
#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "server/core/api/text.h"
#include "server/core/control/session_traces.h"
#include "server/core/state/state_directory.h"
#include "tests/fuzz/descriptors.h"
#include "tests/fuzz/former.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using server::StateDirectory;

constexpr int kDescriptorsEnd = 64;
constexpr HeapId kServing{1};
constexpr std::uint64_t kMostBytes = 64 << 20;  // of a file whose size is forged
constexpr std::uint64_t kSizes[] = {8, 48, 256, 320, 1500, 10000, 100000, 200000, 3000000};

// In a forged arena every answer is right, as long as nothing breaks.
template <class Answer>
void any_answer(const Answer&) {}

class Run {
 public:
  Run(Input& input, const Former& former)
      : input_(input), former_(former), directory_(test::kMemoryFiles), files_(files_of("pool")) {}

  void run() {
    former_.other().write(files_of("other"));
    former_.pool().write(files_);
    ledger_ = UniqueFd(::open(files_.ledger_path.c_str(), O_RDWR | O_CLOEXEC));
    control_ = UniqueFd(::open(files_.control_path.c_str(), O_RDWR | O_CLOEXEC));
    data_ = UniqueFd(::open(files_.data_path.c_str(), O_RDWR | O_CLOEXEC));
    for (int changes = 1 + input_.u8() % 8; changes != 0 && !input_.ended(); --changes) damage();
    for (UniqueFd* const file : {&ledger_, &control_, &data_}) *file = UniqueFd();
    restart();
  }

 private:
  ArenaFiles files_of(const std::string& name) const {
    const std::string path = directory_.path() + "/" + name;
    return {path + ".data", path + ".control", path + ".ledger"};
  }

  // --- damage

  void damage() {
    switch (input_.u8() % 12) {
      case 0:
      case 1: return poke(ledger_, former_.pool().ledger);
      case 2:
      case 3: return poke(control_, former_.pool().control);
      case 4:
      case 5: return forge_run();
      case 6:
      case 7: return forge_header();
      case 8: return forge_capacity();
      case 9: return resize();
      case 10: return replace();
      default: return rename();
    }
  }
  // Some bytes of a page that is in use, or of any page.
  void poke(const UniqueFd& file, const FileImage& image) {
    const std::uint8_t count = 1 + input_.u8() % 8;
    std::uint64_t at = image.page_at(input_.below(image.count())) + input_.u16() % kPage;
    if (count == 8) at = input_.u64() % image.bytes();
    std::array<std::uint8_t, 8> bytes;
    for (std::size_t i = 0; i < count; ++i) bytes[i] = input_.u8();
    write(file, at, bytes.data(), count);
  }
  static void write(const UniqueFd& file, std::uint64_t at, const void* bytes, std::size_t count) {
    [[maybe_unused]] const auto written =
        ::pwrite(file.get(), bytes, count, static_cast<off_t>(at));
  }
  void forge_run() {
    const std::uint8_t kind = input_.u8() % 4, cls = input_.u8();
    // Spans begin at superslabs, when they have some.
    const std::uint32_t unit = kind < 2 ? input_.below(64) : 32 * input_.below(2);
    const std::uint32_t units = input_.u8() % 4 == 0 ? input_.u16() << 8 : 1 << input_.u8() % 7;
    const std::uint16_t owner = input_.u8() % 2 != 0 ? input_.u16() : kPeer.value;
    const RunRecord run = RunRecord::of(
        static_cast<SlabKind>(kind), kind == 1 ? ClassId{cls} : kSpanClass, units,
        input_.u8() % 2 != 0 ? RunOwner::leased_to({owner}) : RunOwner::heap({owner}));
    const std::uint64_t runs = former_.pool().ledger.bytes() - 64 * sizeof run;
    write(ledger_, (runs & ~(kPage - 1)) + unit * sizeof run, &run, sizeof run);
  }
  // Zeros where the file has nothing.
  static void read_header(const UniqueFd& file, LedgerHeader& h) {
    [[maybe_unused]] const auto got = ::pread(file.get(), static_cast<void*>(&h), sizeof h, 0);
  }
  // Changes the ledger's header by `change` and makes its sum true. The control file's header
  // follows when `both`.
  template <class Change>
  void change_header(bool both, const Change& change) {
    LedgerHeader h{};
    read_header(ledger_, h);
    change(h);
    h.checksum = Ledger::checksum_of(h);
    write(ledger_, 0, &h, sizeof h);
    if (!both) return;
    const ArenaHeader c{kControlMagic,    h.version,      h.arena_id,
                        h.capacity_bytes, h.header_bytes, h.trailer_bytes,
                        h.stride_align,   h.max_heaps,    h.options};
    write(control_, 0, &c, sizeof c);
  }
  void forge_header() {
    const std::uint8_t what = input_.u8();
    const auto value = static_cast<std::uint32_t>(input_.u64() >> input_.u8() % 64);
    std::array<char, kMaxNameBytes> name;
    for (std::size_t i = 0; i < 4; ++i) name[i] = static_cast<char>(input_.u8());
    change_header(what >= 128, [&](LedgerHeader& h) {
      std::uint32_t* const fields[] = {&h.version,       &h.arena_id,     &h.header_bytes,
                                       &h.trailer_bytes, &h.stride_align, &h.max_heaps,
                                       &h.options,       &h.access_uid,   &h.access_mode};
      constexpr std::uint32_t kLives[] = {LedgerHeader::kCreating, LedgerHeader::kDeleting};
      switch (what % 16) {
        case 9: h.capacity_bytes = std::uint64_t{value} << 21; return;
        case 10: std::memcpy(h.name, name.data(), 4); return;
        case 11: std::memset(h.name, 'n', sizeof h.name); return;
        case 12: h.life.store(kLives[value % 2]); return;
        case 13: h.life.store(value); return;
        case 14: h.magic = value; return;
        case 15: h.arena_id = 2; return;
        default: *fields[what % 16] = value;
      }
    });
  }
  // Another capacity or number of heaps, and all files as large as that asks for.
  void forge_capacity() {
    const std::uint64_t capacity = (1 + input_.u8() % 8) * kSuperslabBytes;
    const std::uint32_t heaps = input_.u8() % 2 != 0 ? kFormerHeaps : 1 + input_.u16() % kMaxHeaps;
    change_header(true, [&](LedgerHeader& h) {
      h.capacity_bytes = capacity;
      h.max_heaps = heaps;
    });
    set_size(ledger_, Ledger::file_bytes(capacity, heaps));
    set_size(control_, ControlView::file_bytes(capacity, heaps));
    set_size(data_, capacity);
  }
  static void set_size(const UniqueFd& file, std::uint64_t bytes) {
    FUZZ_EXPECT(::ftruncate(file.get(), static_cast<off_t>(bytes)) == 0, "a file has a size");
  }
  void resize() {
    const UniqueFd* const files[] = {&ledger_, &control_, &data_};
    const std::uint64_t bytes = (input_.u64() >> input_.u8() % 64) % kMostBytes;
    set_size(*files[input_.u8() % 3], bytes);
  }
  const std::string& some_path() {
    const std::string* const paths[] = {&files_.ledger_path, &files_.control_path,
                                        &files_.data_path};
    return *paths[input_.u8() % 3];
  }
  void replace() {
    const std::string& path = some_path();
    ::unlink(path.c_str());
    switch (input_.u8() % 5) {
      case 0: return;
      case 1: ::mkdir(path.c_str(), 0700); return;
      case 2: ::mkfifo(path.c_str(), 0600); return;
      case 3: std::filesystem::create_symlink(files_of("other").ledger_path, path); return;
      default: UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); return;
    }
  }
  // The arena has another name, which may be none, or there is a second one.
  void rename() {
    constexpr const char* kNames[] = {"twin", "a b", "line\nfeed", "\xff\xfe", "..", "-n"};
    const std::string name = kNames[input_.u8() % std::size(kNames)];
    const std::uint8_t how = input_.u8();
    change_header(true, [&](LedgerHeader& h) {
      if (how % 4 == 0) return;
      std::memset(h.name, 0, sizeof h.name);
      name.copy(h.name, kMaxNameBytes);
    });
    const ArenaFiles to = files_of(name);
    if (how % 8 >= 4) {
      if (!std::filesystem::exists(to.ledger_path)) former_.pool().write(to);
      return;
    }
    std::error_code gone;
    std::filesystem::rename(files_.ledger_path, to.ledger_path, gone);
    std::filesystem::rename(files_.control_path, to.control_path, gone);
    std::filesystem::rename(files_.data_path, to.data_path, gone);
    files_ = to;
  }

  // --- restart

  void restart() {
    StateDirectory state = open_directory(directory_.path());
    const std::map<std::string, std::size_t> before = count_files();
    const bool half_way = is_half_way();
    auto found = state.scan();
    FUZZ_EXPECT(found.ok(), "a directory can be read");
    bool is_other_there = false;
    for (StateDirectory::Found& f : *found) {
      const LedgerHeader& h = f.ledger.header();
      const std::string name(h.name, ::strnlen(h.name, kMaxNameBytes));
      FUZZ_EXPECT(server::valid_name(name), "an arena that is served has a valid name");
      auto arena = Arena::open(f.files, std::move(f.ledger), h.trailer_bytes != 0);
      if (!arena.ok()) {
        FUZZ_EXPECT(arena.error().error == Error::kInvalidOption, "damage is told from no memory");
        state.quarantine(name, arena.error().message);
        FUZZ_EXPECT(!std::filesystem::exists(f.files.ledger_path), "a damaged arena is moved away");
      } else if (name == "other") {
        is_other_there = true;
        check_other(**arena);
      } else {
        serve(**arena);
      }
    }
    FUZZ_EXPECT(is_other_there, "the other arena is served");
    const std::map<std::string, std::size_t> after = count_files();
    for (const auto& [kind, count] : before)
      FUZZ_EXPECT(half_way || (after.contains(kind) && after.at(kind) >= count),
                  "no file is removed");
  }
  // Files of arenas by kind, wherever they are below the directory.
  std::map<std::string, std::size_t> count_files() const {
    std::map<std::string, std::size_t> count;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path()))
      for (const char* const kind : {".ledger", ".control", ".data"})
        if (entry.path().extension() == kind) ++count[kind];
    return count;
  }
  // Whether a ledger says that its arena was being made or deleted, or was never written.
  bool is_half_way() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      if (entry.path().extension() != ".ledger" || !entry.is_regular_file()) continue;
      const UniqueFd fd(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
      LedgerHeader h{};
      read_header(fd, h);
      const std::uint32_t life = h.life.load();
      if (h.magic == 0 || life == LedgerHeader::kCreating || life == LedgerHeader::kDeleting)
        return true;
    }
    return false;
  }
  void check_other(Arena& other) const {
    FUZZ_EXPECT(former_.other().ledger.is_same(other.ledger().base()),
                "the other arena's ledger is as it was");
    Heap heap(other, kServing, kReaperSession, HeapUse::kServesOthers);
    adopt_all(other, heap, {});
    const Heap* const heaps[] = {&heap};
    const VerifyReport report = verify(other, heaps);
    FUZZ_EXPECT(report.exact() && !other.quarantined(), "the other arena is exact");
    FUZZ_EXPECT(report.held + report.shared > 10, "the other arena has its blocks");
  }
  // As StateRecovery: what the dead have leased, and what the former daemon's heaps had.
  static void adopt_all(Arena& arena, Heap& heap, const SessionSet& living) {
    std::vector<std::pair<SlabIndex, SessionId>> runs;
    arena.for_each_run([&](SlabIndex first, RunRecord run) {
      const SessionId lessee = run.owner().lessee();
      if (lessee == kNoSession || !living.contains(lessee)) runs.emplace_back(first, lessee);
    });
    ReapResult result;
    for (const auto& [first, lessee] : runs) heap.adopt(arena, first, lessee, result);
  }

  void serve(Arena& arena) {
    const SessionSet named = server::sessions_named_in(arena);
    if (arena.options().max_heaps <= kServing.value) return;
    Heap heap(arena, kServing, kReaperSession, HeapUse::kServesOthers);
    SessionSet living;
    living.insert(kLiving);
    if (input_.u8() % 2 != 0) living.insert(kPeer);
    adopt_all(arena, heap, living);
    any_answer(arena.reap_all_but(living));
    named.for_each([&](SessionId id) {
      if (!living.contains(id)) arena.forget_session(id);
    });
    heap.drain();
    for (int n = 0; n < 32; ++n) use(arena, heap);
    heap.trim();
    arena.decommit_idle(0);
    const Heap* const heaps[] = {&heap};
    any_answer(verify(arena, heaps));
  }
  void use(Arena& arena, Heap& heap) {
    const std::uint64_t size = kSizes[input_.u8() % std::size(kSizes)];
    const std::uint8_t what = input_.u8();
    const UntrustedRef ref{known_.value ^ (what < 64 ? input_.u64() : 0)};
    switch (what % 6) {
      case 0: any_answer(heap.free_checked(ref, kLiving, kNoSession)); return;
      case 1: any_answer(arena.acquire(ref, {kLiving, 1})); return;
      case 2: any_answer(arena.share(ref, kLiving)); return;
      case 3: {
        FUZZ_EXPECT(arena.describe(ref).offset_bytes <= arena.capacity_bytes(),
                    "a look stays inside the arena");
        return;
      }
      default:
        if (const auto got = heap.allocate(size, Holder(kLiving, 3)); got.ok())
          check(arena, heap, *got, size);
    }
  }
  void check(const Arena& arena, const Heap& heap, const Allocation& block, std::uint64_t size) {
    known_ = block.ref;
    const Slot slot = arena.refs().slot_of(block.ref);
    FUZZ_EXPECT(slot.slab().value < arena.unit_count(), "what leaves a heap is of its arena");
    const RunRecord record = arena.ledger().run(slot.slab());
    FUZZ_EXPECT(record && record.owner() == RunOwner::heap(heap.id()),
                "what leaves a heap lies in a run of that heap");
    const RunShape run = arena.geometry().run_shape(record.kind(), record.cls(), record.units());
    FUZZ_EXPECT(run.usable_bytes >= size, "what leaves a heap is large enough");
    FUZZ_EXPECT(slot.block().value < run.capacity, "what leaves a heap is a block of its run");
    FUZZ_EXPECT(block.offset == arena.geometry().payload_offset(run, slot),
                "what leaves a heap lies inside its run");
    FUZZ_EXPECT(block.offset + run.usable_bytes <= arena.capacity_bytes(),
                "what leaves a heap lies inside the arena");
  }

  Input& input_;
  const Former& former_;
  const test::TemporaryDirectory directory_;
  ArenaFiles files_;
  UniqueFd ledger_, control_, data_;
  Ref known_{};
};

void run_one(std::span<const std::uint8_t> bytes) {
  static const bool quiet = [] {
    set_log_sink([](std::string_view) {});
    return true;
  }();
  static const Former plain(Layout::plain()), redzoned(Layout::redzoned());
  const int before = quiet ? open_descriptors(kDescriptorsEnd) : 0;
  Input input(bytes);
  Run(input, input.u8() % 4 == 0 ? redzoned : plain).run();
  FUZZ_EXPECT(open_descriptors(kDescriptorsEnd) == before, "no descriptor is left");
}

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  arenad::fuzz::run_one({data, size});
  return 0;
}
