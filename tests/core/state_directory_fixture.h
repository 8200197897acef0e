// StateDirectoryTest: a state directory on tmpfs, and what a daemon finds there.
//
// Threads: one. Crash: a test's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/core/state/state_directory.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {

class StateDirectoryTest : public testing::Test {
 protected:
  Answer<StateDirectory> open(const std::string& data = "") {
    return StateDirectory::open(shm.path(), data, [this](LogLevel level, const std::string& line) {
      log += line + "\n";
      if (level == LogLevel::kError) errors += line + "\n";
    });
  }
  // What the next daemon finds, by name.
  std::map<std::string, ArenaId> find() {
    log.clear();
    errors.clear();
    auto state = open();
    EXPECT_TRUE(state.ok()) << state.error().message;
    auto found = state->scan();
    EXPECT_TRUE(found.ok());
    std::map<std::string, ArenaId> names;
    for (StateDirectory::Found& f : *found) {
      const std::string name = std::filesystem::path(f.files.ledger_path).stem();
      auto arena = Arena::open(f.files, std::move(f.ledger), false);
      if (arena.ok())
        names[name] = (*arena)->id();
      else
        state->quarantine(name, arena.error().message);
    }
    refused = state->refused("pool");
    return names;
  }
  static ArenaConfig options(const std::string& name, std::uint16_t id = 1) {
    ArenaConfig o;
    o.id = {id};
    o.name = name;
    o.capacity_bytes = kSuperslabBytes;
    o.max_heaps = 8;
    o.map_data = false;
    return o;
  }
  void make(const std::string& name, std::uint16_t id = 1) {
    auto state = open();
    ASSERT_TRUE(state.ok()) << state.error().message;
    const auto arena = state->create(options(name, id), {1001, 1002, 0640});
    ASSERT_TRUE(arena.ok()) << arena.error().message;
  }
  std::string path(const std::string& file) const { return shm.path() + "/" + file; }
  LedgerHeader* header(const std::string& name, Ledger& ledger) {
    auto opened = Ledger::open_file(path(name + ".ledger"));
    EXPECT_TRUE(opened.ok());
    ledger = std::move(*opened);
    return &ledger.header();
  }
  // Files but the lock, with folders.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(shm.path()))
      if (entry.is_regular_file() && entry.path().filename() != "lock")
        names.push_back(std::filesystem::relative(entry.path(), shm.path()));
    std::sort(names.begin(), names.end());
    return names;
  }

  test::TemporaryDirectory shm{test::kMemoryFiles};
  std::string log;
  std::string errors;  // the lines of the log that are errors
  std::string refused;
};

}  // namespace arenad::server
