#include "server/rpc/metrics.h"

#include <memory>

namespace arenad::server {
namespace {

constexpr std::uint32_t kArenasPerPage = 1000;

struct HeapMetric {
  const char* name;
  std::uint64_t HeapCounters::*value;
  const char* help;
};
constexpr HeapMetric kHeapMetrics[] = {
    {"allocs", &HeapCounters::allocs, "blocks handed out"},
    {"local_frees", &HeapCounters::local_frees, "blocks freed by the heap that owns them"},
    {"remote_frees", &HeapCounters::remote_frees, "blocks of other heaps freed here"},
    {"refills", &HeapCounters::refills, "magazine refills"},
    {"drains", &HeapCounters::drains, "slabs drained of remotely freed blocks"},
    {"drained_blocks", &HeapCounters::drained_blocks, "remotely freed blocks taken back"},
    {"splices", &HeapCounters::splices, "batches of free blocks moved into a magazine"},
    {"spliced_blocks", &HeapCounters::spliced_blocks, "blocks in them"},
    {"carves", &HeapCounters::carves, "batches of never-used blocks moved into a magazine"},
    {"carved_blocks", &HeapCounters::carved_blocks, "blocks in them"},
    {"new_slabs", &HeapCounters::new_slabs, "slabs taken from the arena"},
    {"released_slabs", &HeapCounters::released_slabs, "empty slabs given back to the arena"},
    {"spans", &HeapCounters::spans, "span allocations"},
    {"p0_counter_ok", &HeapCounters::p0_counter_ok, "refills whose counters agreed"},
    {"p0_counter_mismatch", &HeapCounters::p0_counter_mismatch,
     "refills whose counters did not agree: a bug"},
    {"guard_trips", &HeapCounters::guard_trips, "values from shared memory that were refused"},
    {"canary_damaged", &HeapCounters::canary_damaged, "frees that found a damaged canary"},
    {"adopted_slabs", &HeapCounters::adopted_slabs, "slabs and spans of ended peers taken over"},
    {"adopted_blocks", &HeapCounters::adopted_blocks, "blocks of them that others held"},
};

struct ShardMetric {
  const char* name;
  std::uint64_t ShardFacts::*value;
  const char* help;
};
constexpr ShardMetric kShardMetrics[] = {
    {"calls", &ShardFacts::calls, "unary calls and stream messages served"},
    {"loop_turns", &ShardFacts::loop_turns, "turns of the shard's loop that had something to do"},
    {"inbox_messages", &ShardFacts::inbox_messages, "messages from other threads"},
    {"idle_drains", &ShardFacts::idle_drains, "drains on the idle timer"},
};

// Arena names are [A-Za-z0-9._-], so no label needs escaping.
class Text {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    out_ += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void sample(const std::string& name, const std::string& labels, std::uint64_t value) {
    out_ += name + (labels.empty() ? "" : "{" + labels + "}") + " " + std::to_string(value) + "\n";
  }
  void one(const std::string& name, const char* type, const char* help, std::uint64_t value) {
    family(name, type, help);
    sample(name, "", value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

std::string label(const char* name, const std::string& value) {
  return std::string(name) + "=\"" + value + "\"";
}

// Fetches page after page, then the counters.
struct Collection : std::enable_shared_from_this<Collection> {
  ControlApi& control;
  Done<std::string> done;
  std::vector<ArenaFacts> arenas;
  Collection(ControlApi& c, Done<std::string> d) : control(c), done(std::move(d)) {}

  void page(std::string token) {
    control.list_arenas(kArenasPerPage, std::move(token),
                        [self = shared_from_this()](Answer<Page<ArenaFacts>> page) {
                          if (!page.ok()) return self->done(page.error());
                          for (ArenaFacts& arena : page->items)
                            self->arenas.push_back(std::move(arena));
                          if (!page->next_page_token.empty())
                            return self->page(page->next_page_token);
                          self->control.get_stats("", [self](Answer<DaemonStats> stats) {
                            if (!stats.ok()) return self->done(stats.error());
                            self->done(metrics_text(*stats, self->arenas));
                          });
                        });
  }
};

}  // namespace

std::string metrics_text(const DaemonStats& stats, const std::vector<ArenaFacts>& arenas) {
  Text text;
  for (const HeapMetric& metric : kHeapMetrics) {
    const std::string name = std::string("arenad_heap_") + metric.name + "_total";
    text.family(name, "counter", metric.help);
    for (const ShardFacts& shard : stats.shards)
      text.sample(name, label("shard", std::to_string(shard.shard)), shard.heap.*metric.value);
  }
  text.family("arenad_remote_frees_between_total", "counter",
              "blocks freed on one shard that another shard's heap owns");
  for (const ShardFacts& shard : stats.shards) {
    for (std::size_t owner = 0; owner < shard.remote_frees_to.size(); ++owner) {
      if (owner == shard.shard) continue;
      text.sample(
          "arenad_remote_frees_between_total",
          label("from", std::to_string(shard.shard)) + "," + label("to", std::to_string(owner)),
          shard.remote_frees_to[owner]);
    }
  }
  for (const ShardMetric& metric : kShardMetrics) {
    const std::string name = std::string("arenad_shard_") + metric.name + "_total";
    text.family(name, "counter", metric.help);
    for (const ShardFacts& shard : stats.shards)
      text.sample(name, label("shard", std::to_string(shard.shard)), shard.*metric.value);
  }

  struct ArenaMetric {
    const char* name;
    std::uint64_t (*value)(const ArenaFacts&);
    const char* help;
  };
  static constexpr ArenaMetric kArenaMetrics[] = {
      {"arenad_arena_capacity_bytes", [](const ArenaFacts& a) { return a.capacity_bytes; },
       "capacity of the arena"},
      {"arenad_arena_committed_bytes", [](const ArenaFacts& a) { return a.committed_bytes; },
       "taken from the system now"},
      {"arenad_arena_held_bytes", [](const ArenaFacts& a) { return a.held_bytes; },
       "sum of the strides of held blocks"},
      {"arenad_arena_held_blocks", [](const ArenaFacts& a) { return a.held_blocks; },
       "blocks that sessions hold"},
      {"arenad_arena_sessions", [](const ArenaFacts& a) { return std::uint64_t{a.sessions}; },
       "attached sessions"},
      {"arenad_arena_quarantined", [](const ArenaFacts& a) { return std::uint64_t{a.quarantined}; },
       "1 when it was set aside"},
  };
  for (const ArenaMetric& metric : kArenaMetrics) {
    text.family(metric.name, "gauge", metric.help);
    for (const ArenaFacts& arena : arenas)
      text.sample(metric.name, label("arena", arena.name), metric.value(arena));
  }
  text.one("arenad_arenas", "gauge", "arenas now", stats.arenas);
  text.one("arenad_sessions", "gauge", "sessions now", stats.sessions);
  text.one("arenad_sessions_reaped_total", "counter",
           "sessions that ended other than by CloseSession", stats.sessions_reaped);
  text.one("arenad_leased_slabs", "gauge", "slabs and spans that peers have leased",
           stats.leased_slabs);
  text.one("arenad_leased_bytes", "gauge", "bytes of them", stats.leased_bytes);
  text.one("arenad_uptime_seconds", "gauge", "since the daemon started", stats.uptime_ms / 1000);
  return text.take();
}

void collect_metrics(ControlApi& control, Done<std::string> done) {
  std::make_shared<Collection>(control, std::move(done))->page("");
}

}  // namespace arenad::server
