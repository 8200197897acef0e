// Random numbers for secrets and tokens, from getrandom(2).
//
// Invariants: what is returned came from the kernel's generator; there is no weaker fallback.
// Threads: any. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstdint>

namespace arenad::server {

using TokenBytes = std::array<std::uint8_t, 16>;

// False when the kernel refuses getrandom (a seccomp filter); Engine::start looks once, and refuses
// to start then.
bool random_works();
// Both terminate the process when getrandom stops working after start.
std::uint64_t random_u64();
TokenBytes random_token();

}  // namespace arenad::server
