// Random numbers for secrets and tokens, from getrandom(2).
//
// Invariants: each bit comes from the kernel's generator. There is no weaker source to fall back
//   on.
// Threads: any. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstdint>

namespace arenad::server {

using TokenBytes = std::array<std::uint8_t, 16>;

// Whether the kernel answers getrandom. A seccomp filter may forbid the call. Engine::start asks
// once, and fails when the answer is false.
bool random_works();
// Both end the process when getrandom fails, which it did not at the start.
std::uint64_t random_u64();
TokenBytes random_token();

}  // namespace arenad::server
