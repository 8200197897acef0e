#include "server/core/shard/payer_changes.h"

#include <bit>

namespace arenad::server {
namespace {

// A step ends after so many superslabs, or after so many slabs of this shard.
constexpr std::uint32_t kSuperslabsAStep = 8192;
constexpr std::uint32_t kSlabsAStep = 32;

}  // namespace

PayerChanges::PayerChanges(ShardId shard, ShardTables& tables, ShardAccount& account, Inbox& inbox,
                           SharedState& shared)
    : shard_(shard), tables_(tables), account_(account), inbox_(inbox), shared_(shared) {
  if (shared.payer_changes.size() <= shard.value) shared.payer_changes.resize(shard.value + 1U);
  shared.payer_changes[shard.value] = this;
}

ArenaSlot* PayerChanges::slot_of(const ArenaState& state) {
  ArenaSlot* const slot = tables_.arena(state.arena->id());
  return slot != nullptr && slot->state.get() == &state ? slot : nullptr;
}

void PayerChanges::send(ArenaSlot& slot, Batch batch) {
  for (auto& [owner, blocks] : batch.by_owner_) {
    if (owner.value == shard_.value) {
      taken_over(slot.state, batch.to_, blocks);
      continue;
    }
    PayerChanges* const other = shared_.payer_changes.at(owner.value);
    other->inbox_.push([other, state = slot.state, to = batch.to_, blocks = std::move(blocks)] {
      other->taken_over(state, to, blocks);
    });
  }
}

void PayerChanges::taken_over(const std::shared_ptr<ArenaState>& state, SessionId to,
                              const std::vector<Taken>& blocks) {
  ArenaSlot* const slot = slot_of(*state);
  for (const Taken& block : blocks) {
    if (slot != nullptr) slot->heap.change_payer(block.ref, to);
    account_.credit(to, block.charged_bytes);  // the heap has noted what it changed
  }
  if (slot != nullptr) account_.settle(*slot);
}

struct PayerChanges::Passing {
  std::shared_ptr<ArenaState> state;
  std::shared_ptr<const Footprint> where;
  SessionId from, to;
  std::function<void()> done;
  SuperslabIndex next{0};
};

void PayerChanges::pass_on(std::shared_ptr<ArenaState> state,
                           std::shared_ptr<const Footprint> where, SessionId from, SessionId to,
                           std::function<void()> done) {
  step(std::make_shared<Passing>(
      Passing{std::move(state), std::move(where), from, to, std::move(done), {0}}));
}

void PayerChanges::step(const std::shared_ptr<Passing>& passing) {
  Passing& p = *passing;
  ArenaSlot* const slot = slot_of(*p.state);
  if (slot == nullptr) return p.done();
  const std::uint32_t end =
      std::min(slot->arena.superslab_count(), p.next.value + kSuperslabsAStep);
  for (std::uint32_t slabs = 0; p.next.value < end && slabs < kSlabsAStep; ++p.next.value) {
    for (std::uint32_t units = slot->heap.slabs().units_in(p.next); units != 0;
         units &= units - 1) {
      const SlabIndex first{first_unit_of(p.next).value +
                            static_cast<std::uint32_t>(std::countr_zero(units))};
      if (!p.where->has(first)) continue;
      slot->heap.move_payments(first, p.from, p.to);
      ++slabs;
    }
  }
  account_.settle(*slot);
  if (p.next.value == slot->arena.superslab_count()) return p.done();
  inbox_.push([this, passing] { step(passing); });
}

}  // namespace arenad::server
