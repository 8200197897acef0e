// Open descriptors of this process: what a run must leave as it found them.
//
// Threads: one. Crash: nothing is shared.
#pragma once

namespace arenad::fuzz {

// How many of the descriptors 0 .. end - 1 are open.
int open_descriptors(int end);

}  // namespace arenad::fuzz
