#include "server/core/control/tunable_registry.h"

#include <charconv>
#include <optional>

#include "allocator/base/format.h"
#include "allocator/base/tunables.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

const TunableRow* find(const std::string& name) {
  for (const TunableRow& row : kTunableTable)
    if (name == row.name) return &row;
  return nullptr;
}

std::optional<std::uint64_t> parse(const TunableRow& row, const std::string& text) {
  std::uint64_t value = 0;
  if (row.is_switch()) {
    if (text == "true" || text == "on") return 1;
    if (text == "false" || text == "off") return 0;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value < row.min || value > row.max) return std::nullopt;
  return value;
}

}  // namespace

std::vector<TunableFacts> TunableRegistry::get() const {
  std::vector<TunableFacts> facts;
  for (const TunableRow& row : kTunableTable) {
    std::uint64_t value;
    if (row.allocator_switch == &Tunables::p0_enable) {
      value = tunables().p0_active() ? 1 : 0;  // what holds, the kill switch included
    } else if (row.is_switch()) {
      value = (tunables().*row.allocator_switch).load(std::memory_order_relaxed) ? 1 : 0;
    } else {
      value = (server_.*row.server_number).load(std::memory_order_relaxed);
    }
    facts.push_back(
        {row.name, std::to_string(value), std::to_string(row.default_value), row.description()});
  }
  return facts;
}

Answer<Nothing> TunableRegistry::set(
    const std::vector<std::pair<std::string, std::string>>& values) {
  std::vector<std::pair<const TunableRow*, std::uint64_t>> changes;
  for (const auto& [name, text] : values) {
    const TunableRow* row = find(name);
    if (row == nullptr)
      return refuse(Error::kInvalidOption,
                    fmt::format("there is no tunable '{}'", name.substr(0, 80)));
    const auto value = parse(*row, text);
    if (!value) {
      return refuse(Error::kInvalidOption,
                    fmt::format("tunable '{}' does not take '{}', but {} to {}", name,
                                text.substr(0, 80), row->min, row->max));
    }
    if (row->allocator_switch == &Tunables::p0_enable && *value == 1 && tunables().p0_disable) {
      return Failure{Error::kInvalidOption,
                     "p0_enable stays off: HAKMEM_TINY_P0_DISABLE was set when the daemon started "
                     "and wins over everything; "
                     "start it without that variable"};
    }
    changes.emplace_back(row, *value);
  }
  for (const auto& [row, value] : changes) {
    if (row->is_switch()) {
      (tunables().*row->allocator_switch).store(value != 0, std::memory_order_relaxed);
    } else {
      (server_.*row->server_number).store(value, std::memory_order_relaxed);
    }
  }
  return Nothing{};
}

}  // namespace arenad::server
