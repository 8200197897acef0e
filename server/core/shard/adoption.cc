#include "server/core/shard/adoption.h"

#include <utility>

namespace arenad::server {
namespace {

// A step ends after so many runs, or after runs of so many blocks.
constexpr std::size_t kRunsAStep = 256;
constexpr std::uint64_t kBlocksAStep = 65536;

}  // namespace

struct Adoptions::Adoption {
  std::shared_ptr<ArenaState> state;
  SessionId dead;
  PaidBy paid_by;
  std::vector<SlabIndex> runs;
  Done done;
  std::size_t next = 0;
  ReapResult result;
};

void Adoptions::begin(std::shared_ptr<ArenaState> state, SessionId dead, PaidBy paid_by,
                      std::vector<SlabIndex> runs, Done done) {
  step(std::make_shared<Adoption>(
      Adoption{std::move(state), dead, paid_by, std::move(runs), std::move(done), 0, {}}));
}

void Adoptions::step(const std::shared_ptr<Adoption>& adoption) {
  Adoption& a = *adoption;
  ArenaSlot* const slot = tables_.arena(a.state->arena->id());
  if (slot == nullptr || slot->state != a.state) a.next = a.runs.size();  // deleted meanwhile
  std::uint64_t blocks = 0;
  for (std::size_t n = 0; a.next < a.runs.size() && n < kRunsAStep && blocks < kBlocksAStep;
       ++n, ++a.next) {
    blocks += slot->arena.shape_of(a.runs[a.next]).capacity();
    const RunRecord run = slot->arena.ledger().run(a.runs[a.next]);
    if (run.owner() == RunOwner::leased_to(a.dead)) account_.credit(a.dead, run.bytes());
    slot->heap.adopt(slot->arena, a.runs[a.next], a.dead, a.result, a.paid_by);
  }
  if (slot != nullptr) account_.settle(*slot);
  if (a.next < a.runs.size()) return inbox_.push([this, adoption] { step(adoption); });
  a.done(a.result);
}

}  // namespace arenad::server
