#include "server/core/control/tunable_registry.h"

#include <charconv>
#include <optional>

#include "allocator/base/tunables.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// One knob: a switch of the allocator or a number of the server, the other pointer is null.
struct Knob {
  const char* name;
  std::atomic<bool> Tunables::*flag;
  std::atomic<std::uint64_t> ServerTunables::*number;
  std::uint64_t default_value, min, max;
  const char* description;
};

constexpr Knob kKnobs[] = {
    {"p0_enable", &Tunables::p0_enable, nullptr, 1, 0, 1,
     "batch refill of magazines; HAKMEM_TINY_P0_DISABLE wins over it (0 or 1)"},
    {"p0_no_drain", &Tunables::p0_no_drain, nullptr, 0, 0, 1,
     "refill skips the remote drain, for A/B runs (0 or 1)"},
    {"p0_log", &Tunables::p0_log, nullptr, 0, 0, 1, "a line per refill, rate limited (0 or 1)"},
    {"guards_private", &Tunables::guards_private, nullptr, 0, 0, 1,
     "guards of the heaps' private state, which abort with the line (0 or 1)"},
    {"idle_drain_ms", nullptr, &ServerTunables::idle_drain_ms, 100, 1, 60'000,
     "how often an idle shard takes back remotely freed blocks and gives back empty slabs, ms "
     "(1..60000)"},
    {"spin_us", nullptr, &ServerTunables::spin_us, 0, 0, 1000,
     "how long a shard polls before it sleeps, us (0..1000); costs CPU, saves wake-ups"},
    {"keepalive_grace_ms", nullptr, &ServerTunables::keepalive_grace_ms, 750, 10, 600'000,
     "how long a new session lives without a KeepAlive stream or a handoff, ms (10..600000)"},
    {"restart_grace_ms", nullptr, &ServerTunables::restart_grace_ms, 5000, 10, 600'000,
     "how long a session without a process waits for its KeepAlive stream after a restart of the "
     "daemon, ms (10..600000)"},
    {"drain_deadline_ms", nullptr, &ServerTunables::drain_deadline_ms, 5000, 0, 600'000,
     "how long a stopping daemon waits for its sessions to close, ms (0..600000)"},
    {"commit_ahead_superslabs", nullptr, &ServerTunables::commit_ahead_superslabs, 4, 0, 512,
     "superslabs of 2 MiB that are kept committed ahead of need in each arena (0..512)"},
    {"keep_empty_superslabs", nullptr, &ServerTunables::keep_empty_superslabs, 8, 0, 65'536,
     "empty superslabs of 2 MiB that an arena keeps before it gives memory back to the system "
     "(0..65536)"},
};

const Knob* find(const std::string& name) {
  for (const Knob& knob : kKnobs)
    if (name == knob.name) return &knob;
  return nullptr;
}

std::optional<std::uint64_t> parse(const Knob& knob, const std::string& text) {
  std::uint64_t value = 0;
  if (knob.flag != nullptr) {
    if (text == "true" || text == "on") return 1;
    if (text == "false" || text == "off") return 0;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value < knob.min || value > knob.max) return std::nullopt;
  return value;
}

}  // namespace

std::vector<TunableFacts> TunableRegistry::get() const {
  std::vector<TunableFacts> facts;
  for (const Knob& knob : kKnobs) {
    std::uint64_t value;
    if (knob.flag == &Tunables::p0_enable) {
      value = tunables().p0_active() ? 1 : 0;  // what holds, the kill switch included
    } else if (knob.flag != nullptr) {
      value = (tunables().*knob.flag).load(std::memory_order_relaxed) ? 1 : 0;
    } else {
      value = (server_.*knob.number).load(std::memory_order_relaxed);
    }
    facts.push_back(
        {knob.name, std::to_string(value), std::to_string(knob.default_value), knob.description});
  }
  return facts;
}

Answer<Nothing> TunableRegistry::set(
    const std::vector<std::pair<std::string, std::string>>& values) {
  std::vector<std::pair<const Knob*, std::uint64_t>> changes;
  for (const auto& [name, text] : values) {
    const Knob* knob = find(name);
    if (knob == nullptr)
      return refuse(Error::kInvalidOption, "there is no tunable '", name.substr(0, 80), "'");
    const auto value = parse(*knob, text);
    if (!value) {
      return refuse(Error::kInvalidOption, "tunable '", name, "' does not take '",
                    text.substr(0, 80), "', but ", knob->min, " to ", knob->max);
    }
    if (knob->flag == &Tunables::p0_enable && *value == 1 && tunables().p0_disable) {
      return Failure{Error::kInvalidOption,
                     "p0_enable stays off: HAKMEM_TINY_P0_DISABLE was set when the daemon started "
                     "and wins over everything; "
                     "start it without that variable"};
    }
    changes.emplace_back(knob, *value);
  }
  for (const auto& [knob, value] : changes) {
    if (knob->flag != nullptr) {
      (tunables().*knob->flag).store(value != 0, std::memory_order_relaxed);
    } else {
      (server_.*knob->number).store(value, std::memory_order_relaxed);
    }
  }
  return Nothing{};
}

}  // namespace arenad::server
