#include "client/ctl/output.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ostream>

namespace arenad::ctl {

std::string human_duration(std::uint64_t ms) {
  std::array<char, 48> text;
  const unsigned long long s = ms / 1000;
  if (ms < 10'000)
    std::snprintf(text.data(), text.size(), "%llu ms", static_cast<unsigned long long>(ms));
  else if (s < 600)
    std::snprintf(text.data(), text.size(), "%llu s", s);
  else if (s < 36'000)
    std::snprintf(text.data(), text.size(), "%llu min", s / 60);
  else
    std::snprintf(text.data(), text.size(), "%llu h %02llu min", s / 3600, s / 60 % 60);
  return text.data();
}

std::string yes_no(bool value) { return value ? "yes" : "no"; }

Table::Table(std::vector<std::string> columns) : titles_(std::move(columns)) {
  for (std::string& title : titles_) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) title.erase(0, 1);
  }
}

void Table::add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < titles_.size(); ++c) {
    std::size_t width = titles_[c].size();
    for (const auto& row : rows_) width = std::max(width, row[c].size());
    widths.push_back(width);
  }
  const auto print_row = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - cells[c].size(), ' ');
      if (c > 0) line += "  ";
      line += right_[c] ? padding + cells[c] : cells[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print_row(titles_);
  for (const auto& row : rows_) print_row(row);
}

}  // namespace arenad::ctl
