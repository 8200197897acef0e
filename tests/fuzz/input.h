// Input: the bytes of one fuzzing run, read from front to back.
//
// Purpose: the bytes decide everything that a fuzzer does. So the same bytes give the same run.
// Invariants: an input that has ended gives zeros, and says so (ended).
// Threads: one. Crash: nothing is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace arenad::fuzz {

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool ended() const { return at_ >= bytes_.size(); }
  std::uint8_t u8() { return ended() ? std::uint8_t{0} : bytes_[at_++]; }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
  std::uint64_t u64() {
    std::uint64_t all = 0;
    for (int i = 0; i < 4; ++i) all = all << 16 | u16();
    return all;
  }
  // 0 .. count - 1, of two bytes. 0 when count is 0.
  std::uint32_t below(std::uint64_t count) {
    const std::uint16_t n = u16();
    return count == 0 ? 0 : static_cast<std::uint32_t>(n % count);
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

}  // namespace arenad::fuzz

// States an invariant of a fuzzed program. A broken one ends the process, with its text.
#define FUZZ_EXPECT(condition, text)                                                \
  do {                                                                              \
    if (!(condition)) ::arenad::fuzz::broken(#condition, text, __FILE__, __LINE__); \
  } while (false)

namespace arenad::fuzz {
[[noreturn]] void broken(const char* condition, const char* text, const char* file, int line);
}  // namespace arenad::fuzz
