// What a seccomp profile does: a system call fails with EPERM from now on.
//
// Purpose: tests of what the code does without the call. There is no way back, so a test forbids it
//   in a process of its own (EXPECT_EXIT).
// Threads: counts for all threads of the process. Crash: a test's.
#pragma once

namespace arenad::test {

// False, with errno, when the kernel has no seccomp.
bool forbid_syscall(int number);

}  // namespace arenad::test
