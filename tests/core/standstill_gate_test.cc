// StandstillGate by itself.
#include "server/core/control/standstill_gate.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

Task<> pass(StandstillGate& gate, int& passed) {
  auto open = gate.wait_until_open();
  co_await open;
  ++passed;
}

TEST(StandstillGate, NobodyPassesWhileAStandstillIsOpen) {
  StandstillGate gate;
  Sequences sequences;
  int passed = 0;
  sequences.start(pass(gate, passed));
  EXPECT_EQ(passed, 1);
  gate.close();
  gate.close();
  sequences.start(pass(gate, passed));
  sequences.start(pass(gate, passed));
  gate.open();
  EXPECT_EQ(passed, 1);  // the other standstill is open still
  gate.open();
  EXPECT_EQ(passed, 3);
  EXPECT_EQ(sequences.size(), 0u);
}

Task<> pass_and_close(StandstillGate& gate, int& passed) {
  auto open = gate.wait_until_open();
  co_await open;
  ++passed;
  gate.close();
}

TEST(StandstillGate, WhoeverWaitsBehindOneThatClosesTheGateWaitsOn) {
  StandstillGate gate;
  Sequences sequences;
  int passed = 0;
  gate.close();
  sequences.start(pass_and_close(gate, passed));
  sequences.start(pass(gate, passed));
  gate.open();
  EXPECT_EQ(passed, 1);
  gate.open();
  EXPECT_EQ(passed, 2);
}

}  // namespace
}  // namespace arenad::server
