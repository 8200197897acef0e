// sessions.table with changed bytes, and the marks beside it.
//
// Purpose: a former daemon has written down some sessions. The input changes bytes and the size of
// the file, and writes names, processes and sums into records. Then the file is opened as a restart
// opens it, and used. The input also sets attach marks, and changes the file `lock`.
// What must hold:
// * No crash, no report of a sanitizer, no descriptor left.
// * A table that cannot be used says why, and can be moved away. Then there is a new table.
// * A session that is not called damaged has a valid name, a limit in bounds and the id of its
//   record.
// * A process that is called alive has a pidfd.
// * What is put into a table with damage is read back as it was put. The other records stay.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "allocator/base/unique_fd.h"
#include "server/core/api/text.h"
#include "server/core/state/attach_mark.h"
#include "server/core/state/file_lock.h"
#include "server/core/state/session_store.h"
#include "server/core/state/state_directory.h"
#include "tests/fuzz/descriptors.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using namespace server;  // NOLINT: all that is fuzzed is there

constexpr int kDescriptorsEnd = 64;
constexpr std::uint64_t kPageBytes = 4096, kRecordBytes = 256;
constexpr std::uint64_t kTableBytes = kPageBytes + 65536 * kRecordBytes;
constexpr std::uint16_t kIds[] = {1, 2, 15, 16, 4000, 65534};
// Where fields of a record begin; session_store.cc has the struct.
constexpr std::uint64_t kSecret = 16, kName = 40, kSum = 112, kProcess = 120, kProcessSum = 176;

std::uint64_t record_at(std::uint16_t id) { return kPageBytes + id * kRecordBytes; }

std::uint64_t fnv(const std::uint8_t* from, const std::uint8_t* to) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (; from != to; ++from) hash = (hash ^ *from) * 0x100000001b3;
  return hash;
}

KeptSession session(std::uint16_t id) {
  KeptSession kept;
  kept.key = {{id}, 0x1234567890abcdefu + id};
  kept.name = fmt::format("session-{}", id);
  kept.limit_bytes = std::uint64_t{id} << 20;
  kept.reserve_bytes = id;
  kept.opened_ns = 42;
  kept.owner_uid = kept.owner_gid = 1000;
  return kept;
}

bool same(const ProcessMark& a, const ProcessMark& b) {
  return std::ranges::equal(a.boot, b.boot) && a.pid_namespace == b.pid_namespace &&
         a.pidfs_inode == b.pidfs_inode && a.start_time == b.start_time && a.pid == b.pid;
}

// What is written of a process means nothing until it is bound.
bool same(const KeptSession& a, const KeptSession& b) {
  const bool same_process = a.uid == b.uid && a.gid == b.gid && same(a.process, b.process);
  return a.key == b.key && a.name == b.name && a.limit_bytes == b.limit_bytes &&
         a.reserve_bytes == b.reserve_bytes && a.opened_ns == b.opened_ns &&
         a.owner_uid == b.owner_uid && a.owner_gid == b.owner_gid && a.ending == b.ending &&
         a.bound == b.bound && a.damaged == b.damaged && (!a.bound || same_process);
}

// This process, as it is written down.
ProcessMark own_mark() {
  static const ProcessMark mark = [] {
    int pair[2];
    FUZZ_EXPECT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "a socket pair");
    const UniqueFd one(pair[0]), other(pair[1]);
    return mark_of(*peer_process(one.get()));
  }();
  return mark;
}

// The bytes of the table that a former daemon has left, by page.
class Image {
 public:
  explicit Image(const std::string& path) {
    {
      auto store = SessionStore::open(path);
      FUZZ_EXPECT(store.ok(), "a table can be made");
      for (const std::uint16_t id : kIds) {
        FUZZ_EXPECT(store->put(session(id)).ok(), "a session is written down");
        if (id % 2 == 0) store->bind({id}, own_mark(), 1000, 1000);
      }
      store->mark_ending({15});
    }
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    for (const std::uint16_t id : kIds) read_page(fd.get(), record_at(id) & ~(kPageBytes - 1));
    read_page(fd.get(), 0);
    ::unlink(path.c_str());
  }
  void write(int fd) const {
    for (const auto& [at, page] : pages_)
      FUZZ_EXPECT(::pwrite(fd, page.data(), page.size(), at) == kPageBytes, "a page is written");
  }

 private:
  void read_page(int fd, std::uint64_t at) {
    auto& page = pages_[static_cast<off_t>(at)];
    FUZZ_EXPECT(::pread(fd, page.data(), page.size(), static_cast<off_t>(at)) == kPageBytes,
                "a page is read");
  }
  std::map<off_t, std::array<std::uint8_t, kPageBytes>> pages_;
};

class Run {
 public:
  explicit Run(Input& input) : input_(input) {}

  void run() {
    const int before = open_descriptors(kDescriptorsEnd);
    {
      const test::TemporaryDirectory directory(test::kMemoryFiles);
      path_ = directory.path() + "/sessions.table";
      write_table();
      if (input_.u8() % 8 == 0) check_lock(directory);
      check_marks();
      auto state = StateDirectory::open(directory.path(), "", [](LogLevel, const std::string&) {});
      if (state.ok()) use_table(*state);
    }
    FUZZ_EXPECT(open_descriptors(kDescriptorsEnd) == before, "no descriptor is left");
  }

 private:
  // --- damage

  void write_table() {
    static const Image image(path_);
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    fd_ = fd.get();
    image.write(fd_);
    resize(kTableBytes);
    for (int changes = 1 + input_.u8() % 8; changes != 0 && !input_.ended(); --changes) damage();
  }
  void damage() {
    const std::uint64_t record = record_at(kIds[input_.u8() % std::size(kIds)]);
    switch (input_.u8() % 8) {
      case 0: return poke(input_.u8() % 16, 1 + input_.u8() % 8);
      case 1: return poke(record + input_.u8(), 1 + input_.u8() % 8);
      case 2: return poke(kPageBytes + input_.u16() * kRecordBytes + input_.u8(), 4);
      case 3:
        return resize(input_.u8() % 2 != 0 ? kTableBytes + input_.u8() - 128 : input_.u64() >> 39);
      case 4: return name(record);
      case 5: return process(record);
      case 6: return seal(record);
      default:
        ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(record & ~(kPageBytes - 1)), kPageBytes);
    }
  }
  void write(std::uint64_t at, const void* bytes, std::size_t count) const {
    [[maybe_unused]] const auto written = ::pwrite(fd_, bytes, count, static_cast<off_t>(at));
  }
  void poke(std::uint64_t at, std::size_t count) {
    std::array<std::uint8_t, 8> bytes;
    for (std::size_t i = 0; i < count; ++i) bytes[i] = input_.u8();
    write(at, bytes.data(), count);
  }
  void resize(std::uint64_t bytes) const {
    FUZZ_EXPECT(::ftruncate(fd_, static_cast<off_t>(bytes)) == 0, "a table has a size");
  }
  void name(std::uint64_t record) {
    for (std::size_t at = 0, count = input_.u8() % 80; at < count; at += 8)
      poke(record + kName + at, std::min<std::size_t>(8, count - at));
    seal(record);
  }
  // A process that may be any, of this boot and this namespace.
  void process(std::uint64_t record) {
    ProcessMark mark = own_mark();
    const std::uint8_t how = input_.u8();
    if (how % 2 != 0) mark.pid = static_cast<std::int32_t>(input_.u64());
    if (how % 4 >= 2) mark.start_time += input_.u8();
    if (how % 8 >= 4) mark.pidfs_inode = input_.u16();
    if (how % 16 >= 8) mark.boot[0] ^= input_.u8();
    write(record + kProcess, &mark, sizeof mark);
    const std::uint32_t bound = 1;
    write(record + 4, &bound, sizeof bound);
    seal(record);
  }
  // Makes the sums of a record true.
  void seal(std::uint64_t record) const {
    std::array<std::uint8_t, kRecordBytes> r{};
    if (::pread(fd_, r.data(), r.size(), static_cast<off_t>(record)) != kRecordBytes) return;
    const std::uint64_t sum = fnv(&r[kSecret], &r[kSum]);
    const std::uint64_t process_sum = fnv(&r[kProcess], &r[kProcessSum]);
    write(record + kSum, &sum, sizeof sum);
    write(record + kProcessSum, &process_sum, sizeof process_sum);
  }

  // --- use

  void use_table(StateDirectory& state) {
    auto store = SessionStore::open(path_);
    if (!store.ok()) {
      FUZZ_EXPECT(store.error().message.find(path_) != std::string::npos,
                  "a refusal names the file");
      if (store.error().error == Error::kModeUnavailable) return;  // left alone
      FUZZ_EXPECT(store.error().error == Error::kInvalidOption, "damage is told from no memory");
      state.quarantine_sessions(store.error().message);
      FUZZ_EXPECT(::access(path_.c_str(), F_OK) != 0, "a damaged table is moved away");
      store = SessionStore::open(path_);
      FUZZ_EXPECT(store.ok() && store->is_new() && store->all().empty(), "there is a new table");
    }
    std::map<SessionId, KeptSession> kept = store->all();
    for (const auto& [id, one] : kept) check(id, one);
    for (int changes = 1 + input_.u8() % 4; changes != 0; --changes) change(*store, kept);
    store = SessionStore::open(path_);
    FUZZ_EXPECT(store.ok(), "a table that was open can be opened again");
    expect_all(*store, kept);
  }
  static void check(SessionId id, const KeptSession& kept) {
    FUZZ_EXPECT(kept.key.id == id, "a session has the id of its record");
    if (kept.damaged) return;
    FUZZ_EXPECT(valid_name(kept.name), "a session has a valid name");
    FUZZ_EXPECT(kept.limit_bytes < std::uint64_t{1} << 48, "a limit is in bounds");
    if (!kept.bound) return;
    const FoundProcess found = find_again(kept.process);
    FUZZ_EXPECT((found.life == Life::kAlive) == static_cast<bool>(found.pidfd),
                "a process that lives can be watched");
    FUZZ_EXPECT(found.life != Life::kAlive || found.identity.known(), "a process has an identity");
  }
  void change(SessionStore& store, std::map<SessionId, KeptSession>& kept) {
    const std::uint16_t id = kIds[input_.u8() % std::size(kIds)];
    const std::uint8_t what = input_.u8();
    if (what % 4 == 0 || !kept.contains({id}) || kept[{id}].damaged) {
      FUZZ_EXPECT(store.put(session(id)).ok(), "a session is written down");
      kept[{id}] = session(id);
    } else if (what % 4 == 1) {
      store.bind({id}, own_mark(), what, 7);
      KeptSession& now = kept[{id}];
      now.bound = true;
      now.process = own_mark();
      now.uid = what;
      now.gid = 7;
    } else if (what % 4 == 2) {
      store.set_limit({id}, what);
      kept[{id}].limit_bytes = what;
    } else {
      store.clear({id});
      kept.erase({id});
    }
    expect_all(store, kept);
  }
  static void expect_all(const SessionStore& store, const std::map<SessionId, KeptSession>& kept) {
    const auto all = store.all();
    FUZZ_EXPECT(all.size() == kept.size(), "no session comes or goes by itself");
    for (const auto& [id, one] : kept) {
      const auto found = all.find(id);
      FUZZ_EXPECT(found != all.end() && same(found->second, one), "a record is as it was put");
    }
  }

  // --- the files beside it

  void check_marks() {
    const UniqueFd file(::memfd_create("data", MFD_CLOEXEC));
    const std::string path = fmt::format("/proc/self/fd/{}", file.get());
    std::set<std::uint16_t> marked;
    std::vector<UniqueFd> handed_out;
    for (int marks = input_.u8() % 4; marks != 0; --marks) {
      handed_out.emplace_back(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      const std::uint16_t id = input_.u16();
      FUZZ_EXPECT(set_attach_mark(handed_out.back().get(), {id}), "a mark can be set");
      marked.insert(id);
    }
    for (const std::uint16_t id : {kIds[0], kIds[5], input_.u16()})
      FUZZ_EXPECT(has_attach_mark(file.get(), {id}) == marked.contains(id), "marks are told apart");
    FUZZ_EXPECT(has_attach_marks(file.get()) == !marked.empty(), "all marks are seen together");
    for (const std::uint16_t id : marked)
      FUZZ_EXPECT(has_attach_mark(file.get(), {id}), "a mark stands");
    handed_out.clear();
    for (const std::uint16_t id : marked)
      FUZZ_EXPECT(!has_attach_mark(file.get(), {id}), "a mark goes with its descriptor");
  }
  // Whatever the file `lock` says, the directory is one daemon's at a time.
  void check_lock(const test::TemporaryDirectory& directory) {
    std::string text;
    for (int count = input_.u8() % 32; count != 0; --count) text += static_cast<char>(input_.u8());
    const std::string path = directory.file("lock", text);
    ::chmod(path.c_str(), 0600);
    const auto first = FileLock::take_directory(directory.path(), "state directory", "--state-dir");
    FUZZ_EXPECT(first.ok(), "a lock that nobody holds is free");
    const auto second =
        FileLock::take_directory(directory.path(), "state directory", "--state-dir");
    FUZZ_EXPECT(!second.ok() && second.error().message.find("--state-dir") != std::string::npos,
                "a second daemon is told what to do");
  }

  Input& input_;
  std::string path_;
  int fd_ = -1;
};

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  arenad::fuzz::Input input({data, size});
  arenad::fuzz::Run(input).run();
  return 0;
}
