// What every call of the engine's interface is made of: keys, attach modes, answers.
//
// Purpose: the types that the data plane and the control plane share.
// Invariants: an id in these types has the width of the engine. Whoever takes a wider number from
//   the wire checks its range first.
// Threads: plain values. Crash: nothing is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "allocator/base/error.h"
#include "allocator/format/ids.h"

namespace arenad::server {

// What a client proves itself with in each call.
struct SessionKey {
  SessionId id;
  std::uint64_t secret = 0;
  friend bool operator==(const SessionKey&, const SessionKey&) = default;
};

// How often a session's leases in an arena were resumed. See LeaseEpochs.
struct LeaseEpoch {
  std::uint64_t value = 0;
};

enum class AttachMode : std::uint8_t {
  kNone = 0,
  kRemote = 1,
  kReader = 2,
  kWriter = 3,
  kPeer = 4
};
inline const char* mode_name(AttachMode mode) {
  constexpr const char* kNames[] = {"none", "remote", "reader", "writer", "peer"};
  return kNames[static_cast<std::size_t>(mode)];
}

template <class T>
using Answer = Result<T, Failure>;
template <class T>
using Done = std::function<void(Answer<T>)>;
struct Nothing {};

// In calls that may be about one arena or about all of them.
inline constexpr ArenaId kAllArenas{0};

// The refs of one call as the wire brought them. This view copies nothing and owns nothing.
class UntrustedRefs {
 public:
  UntrustedRefs(std::span<const std::uint64_t> wire) : wire_(wire) {}  // NOLINT: implicit by design
  UntrustedRefs(const std::vector<std::uint64_t>& wire) : wire_(wire) {}  // NOLINT: likewise

  std::size_t size() const { return wire_.size(); }
  UntrustedRef operator[](std::size_t i) const { return {wire_[i]}; }

 private:
  std::span<const std::uint64_t> wire_;
};

}  // namespace arenad::server
