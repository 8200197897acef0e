// Tunables: which value of which environment variable turns a switch on.
#include "allocator/base/tunables.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace arenad {
namespace {

// The switches when one variable has a value, or is not set.
class With {
 public:
  With(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* const old = std::getenv(name)) before_ = old;
    set(value);
    switches.load_environment();
  }
  ~With() { set(before_); }
  With(const With&) = delete;
  With& operator=(const With&) = delete;

  Tunables switches;

 private:
  void set(const std::optional<std::string>& value) {
    if (value)
      ::setenv(name_, value->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  const char* const name_;
  std::optional<std::string> before_;
};

TEST(Tunables, BatchRefillIsOnUnlessItsVariableIsZero) {
  EXPECT_TRUE(With("HAKMEM_TINY_P0_ENABLE", std::nullopt).switches.p0_enable);
  EXPECT_TRUE(With("HAKMEM_TINY_P0_ENABLE", "1").switches.p0_enable);
  EXPECT_FALSE(With("HAKMEM_TINY_P0_ENABLE", "0").switches.p0_enable);
}

TEST(Tunables, OtherSwitchesAreOffUnlessTheirVariableIsSetAndNotZero) {
  const auto expect_off_unless_set = [](const char* name, auto value_of) {
    EXPECT_FALSE(value_of(With(name, std::nullopt).switches)) << name;
    EXPECT_FALSE(value_of(With(name, "0").switches)) << name;
    EXPECT_TRUE(value_of(With(name, "1").switches)) << name;
    EXPECT_TRUE(value_of(With(name, "").switches)) << name;
  };
  expect_off_unless_set("HAKMEM_TINY_P0_DISABLE", [](const Tunables& t) { return t.p0_disable; });
  expect_off_unless_set("HAKMEM_TINY_P0_NO_DRAIN",
                        [](const Tunables& t) { return t.p0_no_drain.load(); });
  expect_off_unless_set("HAKMEM_TINY_P0_LOG", [](const Tunables& t) { return t.p0_log.load(); });
  expect_off_unless_set("ARENAD_GUARDS_PRIVATE",
                        [](const Tunables& t) { return t.guards_private.load(); });
}

TEST(Tunables, KillSwitchWinsOverTheSwitch) {
  Tunables switches;
  EXPECT_TRUE(switches.p0_active());
  switches.p0_disable = true;
  switches.p0_enable = true;
  EXPECT_FALSE(switches.p0_active());
  switches.p0_disable = false;
  switches.p0_enable = false;
  EXPECT_FALSE(switches.p0_active());
}

}  // namespace
}  // namespace arenad
