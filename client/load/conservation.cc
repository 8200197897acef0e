#include "client/load/conservation.h"

#include <algorithm>
#include <cstdio>

namespace arenad::load {
namespace {

using ull = unsigned long long;

void check_results(const std::vector<WorkloadResult>& results, Conservation& c) {
  for (const WorkloadResult& r : results) {
    if (r.bad != 0)
      c.problems.push_back(r.workload + ": " + std::to_string(r.bad) +
                           " blocks did not carry their stamp");
    if (r.left_held != 0)
      c.problems.push_back(r.workload + ": " + std::to_string(r.left_held) +
                           " blocks were left held");
    for (const std::string& m : r.mismatches) c.problems.push_back(r.workload + ": " + m);
  }
}

}  // namespace

Conservation check_daemon(const client::Client& client, const std::string& arena, bool temporary,
                          bool every_shard, const std::vector<WorkloadResult>& results) {
  Conservation c;
  check_results(results, c);
  const client::Admin admin(client);
  auto audit = admin.audit(arena);
  auto stats = admin.stats(arena);
  auto holders = admin.holders(arena, 10'000);
  if (!audit.ok()) c.problems.push_back("audit: " + audit.error().text());
  if (!stats.ok()) c.problems.push_back("stats: " + stats.error().text());
  if (!holders.ok()) c.problems.push_back("holders: " + holders.error().text());
  if (!audit.ok() || !stats.ok() || !holders.ok()) return c;
  c.audit = std::move(*audit);
  c.stats = std::move(*stats);

  for (const client::ArenaAudit& a : c.audit.arenas) {
    for (const std::string& finding : a.findings) c.problems.push_back("audit: " + finding);
    if (!a.exact && a.findings.empty())
      c.problems.push_back("audit: arena " + a.arena + " is not exact");
    if (temporary && a.held + a.shared + a.returning != 0)
      c.problems.push_back("audit: " + std::to_string(a.held + a.shared + a.returning) +
                           " blocks are still out");
  }
  if (c.audit.p0_counter_mismatch != 0)
    c.problems.push_back("[P0_COUNTER_MISMATCH] " + std::to_string(c.audit.p0_counter_mismatch) +
                         " refills");
  for (const client::HolderShare& h : holders->rows)
    for (const WorkloadResult& r : results)
      if (std::find(r.sessions.begin(), r.sessions.end(), h.session) != r.sessions.end())
        c.problems.push_back("session " + std::to_string(h.session.value) + " (" + h.session_name +
                             ") still holds " + std::to_string(h.blocks) + " blocks");
  if (!every_shard) return c;
  for (const client::ShardStats& s : c.stats.shards) {
    const std::string shard = "shard " + std::to_string(s.shard.value);
    if (s.heap.carves == 0) c.problems.push_back(shard + " never carved");
    if (s.heap.splices == 0) c.problems.push_back(shard + " never spliced");
    if (s.heap.drains == 0 && c.stats.shards.size() > 1)
      c.problems.push_back(shard + " never drained");
  }
  return c;
}

Conservation check_in_process(const std::vector<WorkloadResult>& results) {
  Conservation c;
  c.in_process = true;
  check_results(results, c);
  return c;
}

void print_conservation(const Conservation& c) {
  std::printf("\n");
  if (!c.in_process) {
    std::printf(
        "shard     drains  drained blocks     splices      carves   new slabs  remote frees to "
        "shard 0, 1, ...\n");
    for (const client::ShardStats& s : c.stats.shards) {
      std::printf("%5u %10llu %15llu %11llu %11llu %11llu ", unsigned{s.shard.value},
                  ull{s.heap.drains}, ull{s.heap.drained_blocks}, ull{s.heap.splices},
                  ull{s.heap.carves}, ull{s.heap.new_slabs});
      for (const std::uint64_t n : s.remote_frees_to) std::printf(" %llu", ull{n});
      std::printf("\n");
    }
    for (const client::ArenaAudit& a : c.audit.arenas)
      std::printf(
          "audit of %s: %s, %llu mismatches; %llu slabs, capacity %llu = held %llu + shared %llu + "
          "returning %llu + cached %llu + "
          "free %llu + uncarved %llu; shards stood still %.1f ms\n",
          a.arena.c_str(), a.exact ? "exact" : "NOT EXACT", ull{a.mismatches}, ull{a.slabs},
          ull{a.capacity_blocks}, ull{a.held}, ull{a.shared}, ull{a.returning}, ull{a.cached},
          ull{a.free}, ull{a.uncarved}, static_cast<double>(a.scan_us) / 1e3);
    std::printf("%s refills checked: %llu, mismatches: %llu\n",
                c.audit.p0_counter_mismatch == 0 ? "P0_COUNTER_OK" : "P0_COUNTER_MISMATCH",
                ull{c.audit.p0_counter_ok}, ull{c.audit.p0_counter_mismatch});
  }
  for (const std::string& p : c.problems) std::printf("NOT CONSERVED: %s\n", p.c_str());
  if (c.ok()) std::printf("conservation holds: nothing lost, nothing doubled, nothing left held\n");
}

}  // namespace arenad::load
