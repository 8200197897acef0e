// What arenactl prints: tables for people, JSON for programs.
//
// Purpose: Table (text columns that line up), sizes and times as people write them.
// Invariants: JSON carries exact numbers under the field names of arenad.v1; tables round. One or
// the other, never both. Threads: one. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace arenad::ctl {

std::string human_bytes(std::uint64_t bytes);  // "1.5 GiB", "4096 B"
std::string human_duration(std::uint64_t ms);  // "850 ms", "12 s", "3 h 04 min"
std::string yes_no(bool value);

class Table {
 public:
  // A column whose title begins with '>' is a number and stands to the right.
  explicit Table(std::vector<std::string> columns);
  void add(std::vector<std::string> cells);  // as many as columns
  void print(std::ostream& out) const;       // the titles even when there are no rows

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace arenad::ctl
