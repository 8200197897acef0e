// cpu_pause(): tells the processor that this thread waits in a loop.
//
// Threads: any. Crash: nothing is shared.
#pragma once

namespace arenad {

inline void cpu_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace arenad
