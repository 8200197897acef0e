// eventually(): waits for a condition.
//
// Purpose: a test states what must become true, and never how long that takes.
// Threads: any. Crash: a test's.
#pragma once

#include <chrono>
#include <functional>

namespace arenad::test {

// A deadline ends a test that would hang. It is generous, because a machine that builds at the
// same time is slow. No test asserts that something takes less.
constexpr std::chrono::seconds kDeadline{60};

// Asks until `condition` holds. False when the deadline came first.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds deadline = kDeadline);

}  // namespace arenad::test
