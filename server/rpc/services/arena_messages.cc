#include "server/rpc/services/arena_messages.h"

#include "allocator/format/debug_flags.h"
#include "server/core/api/text.h"

namespace arenad::server {

Answer<CreateArenaArgs> args_from(const v1::CreateArenaRequest& request) {
  CreateArenaArgs args;
  args.name = request.name();
  args.capacity_bytes = request.capacity_bytes();
  args.holder_only = request.holder_only();
  args.pinned = request.pinned();
  args.lock = request.lock();
  args.zero = request.zero();
  args.scrub = request.scrub();
  args.huge_pages = request.huge_pages();
  args.numa = request.numa();
  const auto debug = parse_debug(request.debug());
  if (!debug) return unknown_debug(request.debug());
  args.debug = *debug;
  args.has_access = request.has_access();
  if (request.has_access()) {
    const v1::ArenaAccess& access = request.access();
    args.access = {access.uid(), access.gid(), access.mode()};
  }
  return args;
}

void fill(v1::Arena& out, const ArenaFacts& facts) {
  out.set_id(facts.id.value);
  out.set_name(facts.name);
  out.set_capacity_bytes(facts.capacity_bytes);
  out.set_holder_only(facts.holder_only);
  out.set_pinned(facts.pinned);
  out.set_locked(facts.locked);
  out.set_zero(facts.zero);
  out.set_scrub(facts.scrub);
  out.set_debug(debug_text(facts.debug));
  out.set_debug_findings(facts.debug_findings);
  v1::HugePages& huge = *out.mutable_huge_pages();
  huge.set_wanted(facts.huge_pages);
  huge.set_bytes(facts.huge_page_bytes);
  huge.set_fallback(facts.huge_page_fallback);
  out.mutable_numa()->set_policy(facts.numa);
  out.mutable_numa()->set_fallback(facts.numa_fallback);
  v1::ArenaAccess& access = *out.mutable_access();
  access.set_uid(facts.access.uid);
  access.set_gid(facts.access.gid);
  access.set_mode(facts.access.mode);
  out.set_committed_bytes(facts.committed_bytes);
  out.set_held_bytes(facts.held_bytes);
  out.set_held_blocks(facts.held_blocks);
  out.set_sessions(facts.sessions);
  out.set_quarantined(facts.quarantined);
  out.set_quarantine_reason(facts.quarantine_reason);
}

void fill(v1::ListArenasResponse& out, const Page<ArenaFacts>& page) {
  for (const ArenaFacts& arena : page.items) fill(*out.add_arenas(), arena);
  out.set_next_page_token(page.next_page_token);
}

}  // namespace arenad::server
