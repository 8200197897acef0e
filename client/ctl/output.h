// Tables and texts for people.
//
// Purpose: Table lines up text columns. The functions write times and answers as
// people write them. Sizes: bytes_text in allocator/base/format.h.
// Invariants: tables round numbers, JSON does not.
// Threads: one. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace arenad::ctl {

std::string human_duration(std::uint64_t ms);  // "850 ms", "12 s", "3 h 04 min"
std::string yes_no(bool value);

class Table {
 public:
  // A title that begins with '>' aligns its column to the right, for numbers.
  explicit Table(std::vector<std::string> columns);
  void add(std::vector<std::string> cells);  // as many as columns
  void print(std::ostream& out) const;       // also prints the titles of an empty table

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace arenad::ctl
