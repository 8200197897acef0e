#include "server/core/state/session_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kMagic = 0x3154534453455241;  // "ARESDST1"
constexpr std::uint32_t kVersion = 4;
constexpr std::uint32_t kRecords = 65536;
constexpr std::uint32_t kRecordsPerPage = 16;
constexpr std::uint32_t kLive = 0x55, kEnding = 0x66;

struct TableHeader {
  std::atomic<std::uint64_t> magic;  // stored last
  std::uint32_t version;
  std::uint32_t record_bytes;
};

// FNV-1a, as the arenas' ledgers: tells damage, not an attack.
std::uint64_t sum_of(const void* from, const void* to) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto* p = static_cast<const unsigned char*>(from); p != to; ++p)
    hash = (hash ^ *p) * 0x100000001b3;
  return hash;
}

// A limit with a sum of its own in one word, so that a change is whole or has not happened: bytes
// in the upper 48 bits, the sum in the lower 16.
struct SummedLimit {
  static constexpr std::uint64_t kMost = (std::uint64_t{1} << 48) - 1;  // more is never reached

  static std::uint64_t word_of(std::uint64_t bytes) {
    bytes = std::min(bytes, kMost);
    return bytes << 16 | (sum_of(&bytes, &bytes + 1) & 0xffff);
  }
  static std::uint64_t bytes_of(std::uint64_t word) { return word >> 16; }
  static bool is_sound(std::uint64_t word) { return word_of(bytes_of(word)) == word; }
};

}  // namespace

struct SessionStore::Record {
  std::atomic<std::uint32_t> state;  // 0 none, kLive, kEnding
  std::atomic<std::uint32_t> bound;  // 1: the process below is its; stored after it
  std::atomic<std::uint64_t> limit;  // a SummedLimit: changes while the session lives
  std::uint64_t secret;
  std::uint64_t opened_ns;
  std::uint64_t reserve_bytes;
  std::uint32_t owner_uid;
  std::uint32_t owner_gid;
  char name[72];
  std::uint64_t sum;  // secret to name
  ProcessMark process;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint64_t process_sum;  // process to gid
  char room[64];

  std::uint64_t sum_now() const { return sum_of(&secret, &sum); }
  std::uint64_t process_sum_now() const { return sum_of(&process, &process_sum); }
};

SessionStore::Record& SessionStore::record(SessionId id) const {
  static_assert(sizeof(Record) == kPage / kRecordsPerPage && sizeof(ProcessMark) == 48 &&
                sizeof(TableHeader) <= kPage);
  return reinterpret_cast<Record*>(file_.base() + kPage)[id.value];
}

Answer<SessionStore> SessionStore::open(const std::string& path) {
  constexpr std::uint64_t kBytes = kPage + kRecords * sizeof(Record);
  SessionStore ledger;
  struct stat st;
  bool fresh = ::lstat(path.c_str(), &st) != 0 && errno == ENOENT;
  if (!fresh && S_ISREG(st.st_mode) && st.st_size == 0)
    fresh = ::unlink(path.c_str()) == 0;  // its maker died before it had its size
  auto file =
      fresh ? MemoryFile::create_at(path, kBytes, true) : MemoryFile::open(path, kBytes, true);
  if (!file.ok()) return file.error();
  ledger.file_ = std::move(*file);
  if (ledger.file_.commit(0, kPage) != Error::kNone)
    return refuse(Error::kMachineFull, fmt::format("the table of sessions {}", path));
  TableHeader& header = *reinterpret_cast<TableHeader*>(ledger.file_.base());
  if (header.magic.load() == 0) {  // new, or its maker died at once
    header.record_bytes = sizeof(Record);
    header.version = kVersion;
    header.magic.store(kMagic);
    ledger.is_new_ = true;
  }
  if (header.magic.load() != kMagic)
    return Failure{Error::kInvalidOption,
                   fmt::format("{} does not begin as a table of sessions", path)};
  if (header.version != kVersion || header.record_bytes != sizeof(Record)) {
    return Failure{Error::kModeUnavailable,
                   fmt::format("{} has version {}, this arenad knows {}: run the arenad that wrote "
                               "it, or end all its clients and remove it",
                               path, header.version, kVersion)};
  }
  return ledger;
}

std::map<SessionId, KeptSession> SessionStore::all() const {
  std::map<SessionId, KeptSession> sessions;
  if (!is_open()) return sessions;
  for (std::uint32_t id = 1; id < kRecords - 1; ++id) {
    if (id == 1 || id % kRecordsPerPage == 0) {
      // Goes to the next page that exists. To look at the others would take memory for each.
      const auto at = static_cast<off_t>(kPage + id / kRecordsPerPage * kPage);
      const off_t next = ::lseek(file_.fd(), at, SEEK_DATA);
      if (next < 0 && errno == ENXIO) break;
      if (next > at)
        id = std::max(id, static_cast<std::uint32_t>((static_cast<std::uint64_t>(next) - kPage) /
                                                     sizeof(Record)));
      if (id >= kRecords - 1) break;
    }
    const SessionId session{static_cast<std::uint16_t>(id)};
    const Record& r = record(session);
    const std::uint32_t state = r.state.load(std::memory_order_acquire);
    if (state == 0) continue;
    KeptSession& kept = sessions[session];
    kept.key = {session, r.secret};
    kept.name.assign(r.name, ::strnlen(r.name, sizeof r.name));
    const std::uint64_t limit = r.limit.load(std::memory_order_relaxed);
    kept.limit_bytes = SummedLimit::bytes_of(limit);
    kept.opened_ns = r.opened_ns;
    kept.reserve_bytes = r.reserve_bytes;
    kept.owner_uid = r.owner_uid;
    kept.owner_gid = r.owner_gid;
    kept.ending = state == kEnding;
    kept.bound = r.bound.load(std::memory_order_acquire) != 0;
    kept.process = r.process;
    kept.uid = r.uid;
    kept.gid = r.gid;
    kept.damaged = (state != kLive && state != kEnding) || r.sum != r.sum_now() ||
                   !SummedLimit::is_sound(limit) || !valid_name(kept.name) ||
                   (kept.bound && r.process_sum != r.process_sum_now());
  }
  return sessions;
}

Answer<Nothing> SessionStore::put(const KeptSession& session) {
  if (!is_open()) return Nothing{};
  Record& r = record(session.key.id);
  const auto at = static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(&r) - file_.base());
  if (file_.commit(at & ~(kPage - 1), kPage) != Error::kNone)
    return refuse(Error::kMachineFull, "no room to write the session down");
  r.state.store(0, std::memory_order_seq_cst);
  r.bound.store(0, std::memory_order_relaxed);
  r.secret = session.key.secret;
  r.limit.store(SummedLimit::word_of(session.limit_bytes), std::memory_order_relaxed);
  r.opened_ns = session.opened_ns;
  r.reserve_bytes = session.reserve_bytes;
  r.owner_uid = session.owner_uid;
  r.owner_gid = session.owner_gid;
  std::memset(r.name, 0, sizeof r.name);
  session.name.copy(r.name, sizeof r.name - 1);
  r.sum = r.sum_now();
  r.state.store(kLive, std::memory_order_release);
  return Nothing{};
}

void SessionStore::bind(SessionId id, const ProcessMark& process, std::uint32_t uid,
                        std::uint32_t gid) {
  if (!is_open()) return;
  Record& r = record(id);
  r.bound.store(0, std::memory_order_seq_cst);  // before what follows changes
  std::memcpy(&r.process, &process, sizeof process);
  r.uid = uid;
  r.gid = gid;
  r.process_sum = r.process_sum_now();
  r.bound.store(1, std::memory_order_release);
}

void SessionStore::set_limit(SessionId id, std::uint64_t limit_bytes) {
  if (is_open())
    record(id).limit.store(SummedLimit::word_of(limit_bytes), std::memory_order_relaxed);
}

void SessionStore::mark_ending(SessionId id) {
  if (is_open() && record(id).state.load(std::memory_order_relaxed) != 0)
    record(id).state.store(kEnding, std::memory_order_release);
}

void SessionStore::clear(SessionId id) {
  if (is_open()) record(id).state.store(0, std::memory_order_release);
}

}  // namespace arenad::server
