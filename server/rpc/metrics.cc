#include "server/rpc/metrics.h"

#include <memory>
#include <utility>

namespace arenad::server {
namespace {

constexpr std::uint32_t kArenasPerPage = 1000;

struct ShardMetric {
  const char* name;
  std::uint64_t ShardFacts::*value;
  const char* help;
};
constexpr ShardMetric kShardMetrics[] = {
    {"calls", &ShardFacts::calls, "unary calls and stream messages served"},
    {"loop_turns", &ShardFacts::loop_turns, "turns of the shard's loop that found an event"},
    {"inbox_messages", &ShardFacts::inbox_messages, "messages from other threads"},
    {"idle_drains", &ShardFacts::idle_drains, "drains on the idle timer"},
};

struct ArenaMetric {
  const char* name;
  std::uint64_t (*value)(const ArenaFacts&);
  const char* help;
};
constexpr ArenaMetric kArenaMetrics[] = {
    {"capacity_bytes", [](const ArenaFacts& a) { return a.capacity_bytes; }, "capacity of arenas"},
    {"committed_bytes", [](const ArenaFacts& a) { return a.committed_bytes; },
     "memory taken from the system now"},
    {"huge_page_bytes", [](const ArenaFacts& a) { return a.huge_page_bytes; },
     "committed bytes in huge pages, of arenas that ask for some"},
    {"held_bytes", [](const ArenaFacts& a) { return a.held_bytes; },
     "sum of the strides of held blocks"},
    {"held_blocks", [](const ArenaFacts& a) { return a.held_blocks; }, "blocks that sessions hold"},
    {"sessions", [](const ArenaFacts& a) { return std::uint64_t{a.sessions}; },
     "attached sessions"},
    {"quarantined", [](const ArenaFacts& a) { return std::uint64_t{a.quarantined}; },
     "1 for each arena that is quarantined"},
    {"debug_findings", [](const ArenaFacts& a) { return a.debug_findings; },
     "mistakes that debug flags have found since the arena was created"},
};

struct DaemonMetric {
  const char* name;
  const char* type;
  std::uint64_t (*value)(const DaemonStats&);
  const char* help;
};
constexpr DaemonMetric kDaemonMetrics[] = {
    {"arenas", "gauge", [](const DaemonStats& s) { return s.arenas; }, "arenas now"},
    {"sessions", "gauge", [](const DaemonStats& s) { return s.sessions; }, "sessions now"},
    {"sessions_reaped_total", "counter", [](const DaemonStats& s) { return s.sessions_reaped; },
     "sessions that ended other than by CloseSession"},
    {"leased_slabs", "gauge", [](const DaemonStats& s) { return s.leased_slabs; },
     "slabs and spans that peers lease now"},
    {"leased_bytes", "gauge", [](const DaemonStats& s) { return s.leased_bytes; },
     "bytes of the slabs and spans that peers lease now"},
    {"reserved_bytes", "gauge", [](const DaemonStats& s) { return s.reserved_bytes; },
     "memory of the host that sessions have reserved"},
    {"set_aside_bytes", "gauge", [](const DaemonStats& s) { return s.set_aside_bytes; },
     "of the reserved bytes, those that their sessions do not use now"},
    {"uptime_seconds", "gauge", [](const DaemonStats& s) { return s.uptime_ms / 1000; },
     "time since the daemon started"},
};

// No label needs escaping: names of arenas, tunables and limits are [A-Za-z0-9._-].
class Text {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    out_ += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void sample(const std::string& name, const std::string& labels, const std::string& value) {
    out_ += name + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
  }
  void sample(const std::string& name, const std::string& labels, std::uint64_t value) {
    sample(name, labels, std::to_string(value));
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

std::string label(const char* name, const std::string& value) {
  return std::string(name) + "=\"" + value + "\"";
}
std::string shard_label(const ShardFacts& shard) {
  return label("shard", std::to_string(shard.shard.value));
}

void write_shards(Text& text, const std::vector<ShardFacts>& shards) {
  for (const HeapCounterRow& row : kHeapCounterRows) {
    const std::string name = std::string("arenad_heap_") + row.name + "_total";
    text.family(name, "counter", row.help);
    for (const ShardFacts& shard : shards)
      text.sample(name, shard_label(shard), shard.heap.*row.value);
  }
  const std::string between = "arenad_remote_frees_between_total";
  text.family(between, "counter", "blocks freed on one shard that another shard's heap owns");
  for (const ShardFacts& shard : shards) {
    const std::string from = label("from", std::to_string(shard.shard.value));
    for (std::size_t owner = 0; owner < shard.remote_frees_to.size(); ++owner) {
      if (owner == shard.shard.value) continue;
      text.sample(between, from + "," + label("to", std::to_string(owner)),
                  shard.remote_frees_to[owner]);
    }
  }
  for (const ShardMetric& metric : kShardMetrics) {
    const std::string name = std::string("arenad_shard_") + metric.name + "_total";
    text.family(name, "counter", metric.help);
    for (const ShardFacts& shard : shards)
      text.sample(name, shard_label(shard), shard.*metric.value);
  }
}

// Asks for one page of arenas after the other, then for the counters, then for the tunables.
class Collection : public std::enable_shared_from_this<Collection> {
 public:
  Collection(ControlApi& control, const Limits& limits, bool name_arenas, Done<std::string> done)
      : control_(control), done_(std::move(done)) {
    facts_.limits = limits;
    facts_.name_arenas = name_arenas;
  }

  void ask_arenas(std::string page_token) {
    control_.list_arenas(daemon_itself(), kArenasPerPage, std::move(page_token),
                         [self = shared_from_this()](Answer<Page<ArenaFacts>> page) {
                           if (!page.ok()) return self->done_(page.error());
                           for (ArenaFacts& arena : page->items)
                             self->facts_.arenas.push_back(std::move(arena));
                           if (page->next_page_token.empty()) return self->ask_stats();
                           self->ask_arenas(page->next_page_token);
                         });
  }

 private:
  void ask_stats() {
    control_.get_stats(daemon_itself(), "", [self = shared_from_this()](Answer<DaemonStats> stats) {
      if (!stats.ok()) return self->done_(stats.error());
      self->facts_.stats = std::move(*stats);
      self->ask_tunables();
    });
  }
  void ask_tunables() {
    control_.get_tunables([self = shared_from_this()](Answer<std::vector<TunableFacts>> tunables) {
      if (!tunables.ok()) return self->done_(tunables.error());
      self->facts_.tunables = std::move(*tunables);
      self->done_(metrics_text(self->facts_));
    });
  }

  ControlApi& control_;
  Done<std::string> done_;
  MetricsFacts facts_;
};

}  // namespace

std::string metrics_text(const MetricsFacts& facts) {
  Text text;
  write_shards(text, facts.stats.shards);
  for (const ArenaMetric& metric : kArenaMetrics) {
    const std::string name = std::string("arenad_arena_") + metric.name;
    text.family(name, "gauge", metric.help);
    std::uint64_t sum = 0;
    for (const ArenaFacts& arena : facts.arenas) {
      sum += metric.value(arena);
      if (facts.name_arenas) text.sample(name, label("arena", arena.name), metric.value(arena));
    }
    if (!facts.name_arenas) text.sample(name, "", sum);
  }
  for (const DaemonMetric& metric : kDaemonMetrics) {
    const std::string name = std::string("arenad_") + metric.name;
    text.family(name, metric.type, metric.help);
    text.sample(name, "", metric.value(facts.stats));
  }
  text.family("arenad_tunable", "gauge", "value of a tunable now");
  for (const TunableFacts& tunable : facts.tunables)
    text.sample("arenad_tunable", label("name", tunable.name), tunable.value);
  text.family("arenad_limit", "gauge", "limit of the daemon; 0: no limit");
  for (const LimitRow& row : kLimitTable)
    text.sample("arenad_limit", label("name", row.name), row.get(facts.limits));
  return text.take();
}

void collect_metrics(ControlApi& control, const Limits& limits, bool name_arenas,
                     Done<std::string> done) {
  std::make_shared<Collection>(control, limits, name_arenas, std::move(done))->ask_arenas("");
}

}  // namespace arenad::server
