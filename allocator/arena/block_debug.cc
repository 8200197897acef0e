#include "allocator/arena/block_debug.h"

#include <atomic>
#include <cstring>
#include <ctime>

#include "allocator/arena/arena_view.h"
#include "allocator/base/format.h"

namespace arenad {
namespace {

constexpr std::uint64_t mixed(std::uint64_t value) {
  value = (value + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
  return value ^ value >> 29;
}

std::uint64_t redzone_value(std::uint64_t offset) { return mixed(offset); }

// The record of a block has two events of two words: session, tag and check; and the time. The
// check tells a record that a stray write has damaged, and one that is being written.
enum Event : std::uint64_t { kAllocated = 0, kFreed = 1 };
constexpr int kCheckBits = 24;
static_assert(kTrackBytes == 2 * 2 * sizeof(std::uint64_t));

std::uint64_t first_word(std::uint64_t who, std::uint64_t time_ns, std::uint64_t offset, Event e) {
  const std::uint64_t check = mixed(mixed(who) ^ mixed(time_ns) ^ mixed(offset + e));
  return who << kCheckBits | check >> (64 - kCheckBits);
}

std::atomic_ref<std::uint64_t> track_word(const ArenaView& arena, std::uint64_t offset, Event e,
                                          std::uint64_t word) {
  std::byte* const record = arena.data() + offset - arena.geometry().layout().header_bytes;
  return std::atomic_ref(reinterpret_cast<std::uint64_t*>(record)[e * 2 + word]);
}

// relaxed, as in read_event: the check finds a record whose words are of two events.
void write_event(const ArenaView& arena, std::uint64_t offset, Event e, Holder who) {
  std::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::uint64_t time_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                                static_cast<std::uint64_t>(now.tv_nsec);
  track_word(arena, offset, e, 0)
      .store(first_word(who.bits(), time_ns, offset, e), std::memory_order_relaxed);
  track_word(arena, offset, e, 1).store(time_ns, std::memory_order_relaxed);
}

BlockEvent read_event(const ArenaView& arena, std::uint64_t offset, Event e) {
  const std::uint64_t first = track_word(arena, offset, e, 0).load(std::memory_order_relaxed);
  const std::uint64_t time_ns = track_word(arena, offset, e, 1).load(std::memory_order_relaxed);
  const std::uint64_t who = first >> kCheckBits;
  if (first_word(who, time_ns, offset, e) != first) return {};
  const Holder holder = BlockWord(who).holder();
  return {holder.session(), holder.tag(), time_ns};
}

// How many bytes in front have this value.
std::uint64_t count_of(const std::byte* at, std::uint64_t bytes, std::uint8_t value) {
  const auto wanted = std::byte{value};
  if (at[0] == wanted && std::memcmp(at, at + 1, bytes - 1) == 0) return bytes;
  std::uint64_t same = 0;
  while (same < bytes && at[same] == wanted) ++same;
  return same;
}

std::string session_text(SessionId session) {
  if (session == kReaperSession) return "the daemon";
  return fmt::format("session {}", session.value);
}

std::string holder_text(Holder holder) {
  return fmt::format("{}, tag {}", session_text(holder.session()), holder.tag());
}

std::string event_text(const char* what, const BlockEvent& event) {
  if (event.time_ns == 0) return fmt::format("; {} by nobody known", what);
  const auto seconds = static_cast<std::time_t>(event.time_ns / 1'000'000'000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("; {} by {} at {}.{:06}Z", what, holder_text({event.session, event.tag}), date,
                     event.time_ns % 1'000'000'000 / 1000);
}

}  // namespace

std::string state_text(BlockWord word) {
  if (word.is_shared()) return "shared";
  return word.is_held() ? "held by " + holder_text(word.holder()) : "nobody has it";
}

BlockTrack track_of(const ArenaView& arena, std::uint64_t offset) {
  return {read_event(arena, offset, kAllocated), read_event(arena, offset, kFreed)};
}

BlockDebug::BlockDebug(const ArenaView& arena) : arena_(arena), flags_(arena.options().debug) {}

std::byte* BlockDebug::payload(const BlockPlace& block) const {
  return arena_.data() + block.offset;
}

std::optional<BlockPlace> BlockDebug::place_of(Slot slot) const {
  if (!arena_.committed(superslab_of(slot.slab()))) return std::nullopt;
  const RunShape shape = arena_.run_at(slot.slab());
  if (shape.kind == SlabKind::kNone) return std::nullopt;
  const Geometry& geometry = arena_.geometry();
  const BlockPlace block{slot, geometry.payload_offset(shape, slot), shape.usable_bytes};
  const std::uint64_t end = block.offset + block.usable_bytes + geometry.layout().trailer_bytes;
  if (end > arena_.capacity_bytes()) return std::nullopt;
  return block;
}

// --- the life of a block

void BlockDebug::write_redzones(const BlockPlace& block) const {
  const std::uint64_t value = redzone_value(block.offset);
  std::byte* const at = payload(block);
  std::memcpy(at - 16, &value, 8);
  std::memcpy(at - 8, &value, 8);
  std::memcpy(at + block.usable_bytes, &value, 8);
}

std::string BlockDebug::redzone_damage(const BlockPlace& block) const {
  const std::uint64_t value = redzone_value(block.offset);
  const std::byte* const at = payload(block);
  if (std::memcmp(at - 16, &value, 8) == 0 && std::memcmp(at - 8, &value, 8) == 0 &&
      std::memcmp(at + block.usable_bytes, &value, 8) == 0)
    return {};
  const auto* const expected = reinterpret_cast<const std::byte*>(&value);
  const auto end = static_cast<std::int64_t>(block.usable_bytes);
  // Nearest first: in front of the payload, or behind it.
  for (std::int64_t i = 0; i < 24; ++i) {
    const std::int64_t place = i < 8 ? end + i : 7 - i;
    if (at[place] == expected[(place - (i < 8 ? end : 0)) & 7]) continue;
    return fmt::format("the byte at {:+} of {} was overwritten with {:#04x}", place, end,
                       static_cast<unsigned>(at[place]));
  }
  return {};
}

void BlockDebug::prepare_span(const BlockPlace& span) const {
  if (flags_.redzones) write_redzones(span);
}

void BlockDebug::prepare(const BlockPlace& block) const {
  prepare_span(block);
  if (flags_.poison) std::memset(payload(block), kPoisonHome, block.usable_bytes);
}

void BlockDebug::check_home(const BlockPlace& block, Ref ref, Holder last) const {
  const bool known = last.session() != kNoSession;
  const auto found = [&](char flag, const std::string& what) {
    if (counts())
      log(flag, known ? arena_.refs().before(ref) : ref, block,
          fmt::format("{} while nobody had the block; {}", what,
                      known ? "last given to " + holder_text(last)
                            : std::string("its last holder is not known")));
  };
  if (flags_.redzones) {
    if (const std::string damage = redzone_damage(block); !damage.empty()) {
      found('Z', damage);
      write_redzones(block);
    }
  }
  if (!flags_.poison) return;
  const std::uint64_t good = count_of(payload(block), block.usable_bytes, kPoisonHome);
  if (good == block.usable_bytes) return;
  found('P', fmt::format("the byte at {} of {} was overwritten with {:#04x}", good,
                         block.usable_bytes, static_cast<unsigned>(payload(block)[good])));
}

void BlockDebug::handed_out(const BlockPlace& block, Holder holder) const {
  if (flags_.tracking) write_event(arena_, block.offset, kAllocated, holder);
}

void BlockDebug::freed(const BlockPlace& block, BlockWord replaced, SessionId by) const {
  const Holder holder = replaced.is_held() ? replaced.holder() : Holder();
  if (flags_.redzones) {
    if (const std::string damage = redzone_damage(block); !damage.empty()) {
      if (counts())
        log('Z', arena_.refs().ref_of(block.slot, replaced), block,
            fmt::format("{}; {}; freed by {} now", damage, state_text(replaced), session_text(by)));
      write_redzones(block);
    }
  }
  if (flags_.tracking) write_event(arena_, block.offset, kFreed, {by, holder.tag()});
}

// --- reports

void BlockDebug::refused(Ref ref, Error why, SessionId by) const {
  if (!flags_.checks || (why != Error::kDoubleFree && why != Error::kStaleRef)) return;
  if (!counts()) return;
  const Slot slot = arena_.refs().slot_of(ref);
  const auto block = place_of(slot);
  const std::string now =
      block ? state_text(BlockWord(arena_.word(slot).load(std::memory_order_relaxed)))
            : "its slab is gone";
  log('F', ref, block,
      fmt::format("{} tried to free it {}; now {}", session_text(by),
                  why == Error::kDoubleFree ? "a second time" : "by a ref that is over", now));
}

void BlockDebug::found(Ref ref, const std::string& what) const {
  if (counts()) log('F', ref, place_of(arena_.refs().slot_of(ref)), what);
}

bool BlockDebug::counts() const {
  arena_.control().findings().count.fetch_add(1, std::memory_order_relaxed);
  return limit_.allow();
}

void BlockDebug::log(char flag, Ref ref, const std::optional<BlockPlace>& block,
                     const std::string& what) const {
  std::string line =
      fmt::format("[BLOCK_DEBUG] {} arena={} ref=0x{:016x}", flag, arena_.id().value, ref.value);
  if (block) line += fmt::format(" offset={} usable={}", block->offset, block->usable_bytes);
  line += ": " + what;
  if (flags_.tracking && block) {
    const BlockTrack track = track_of(arena_, block->offset);
    line += event_text("allocated", track.allocated) + event_text("freed before", track.freed);
  }
  if (const auto n = limit_.suppressed(); n != 0) line += fmt::format("; suppressed={}", n);
  log_line(line);
}

}  // namespace arenad
