#include "client/load/chaos/side_arena.h"

#include <utility>

#include "client/load/chaos/stamp.h"

namespace arenad::load::chaos {
namespace {

constexpr std::size_t kMostInSide = 200;
constexpr std::uint32_t kMostBytes = 8000;
constexpr std::uint32_t kLifeShift = 24;

}  // namespace

SideArena::SideArena(Board& board, std::string name, std::uint32_t life, std::uint64_t seed)
    : board_(board), name_(std::move(name)), life_(life), random_(seed) {}

void SideArena::found(const std::string& what) {
  board_.found(board_.damaged, name_ + ", session " + std::to_string(session_.id().value) + ": " +
                                   what + " in the arena " + kSideArena);
}

bool SideArena::is_explained(client::Code code, Error reason) const {
  if (board_.deletions.load() != deletions_ || reason == Error::kArenaFull) return true;
  return board_.goes_away != 0 &&
         (code == client::Code::kUnavailable || code == client::Code::kDeadlineExceeded);
}

void SideArena::check(const char* what, const client::Status& status) {
  if (!is_explained(status.code, status.reason)) found(std::string(what) + ": " + status.text());
}

// Of calls that answer a reason alone: a daemon that is away has these.
void SideArena::check(const char* what, Error reason) {
  const bool away = reason == Error::kDraining || reason == Error::kWaitExpired;
  if (!is_explained(away ? client::Code::kUnavailable : client::Code::kUnknown, reason))
    found(std::string(what) + ": " + error_name(reason));
}

void SideArena::turn(const client::Client& client) {
  if (!visiting_) return enter(client);
  const std::uint32_t dice = random_.below(64);
  if (dice == 0 || board_.deletions.load() != deletions_)
    leave();
  else if (dice < 36 && held_.size() < kMostInSide)
    allocate();
  else if (!held_.empty())
    free_one();
}

void SideArena::enter(const client::Client& client) {
  deletions_ = board_.deletions.load();
  auto session = client::Session::open(client, {.name = name_});
  if (!session.ok()) return check("opening a session", session.error());
  const auto mode = random_.below(3) == 0 ? client::AttachMode::kWriter : client::AttachMode::kPeer;
  auto arena = session->attach(kSideArena, mode);
  if (!arena.ok()) {
    // A session that no process is bound to may end with the daemon. And a peer that deleted the
    // arena may have been killed before it created the arena again.
    const Error reason = arena.error().reason;
    const bool may_be = (board_.goes_away != 0 && reason == Error::kUnknownSession) ||
                        (deletions_ != 0 && reason == Error::kUnknownArena);
    if (!may_be) check("attaching", arena.error());
    return;
  }
  session_ = std::move(*session);
  arena_ = std::move(*arena);
  visiting_ = true;
}

void SideArena::allocate() {
  const auto got = arena_.try_allocate(Stamp::kMinBytes + random_.below(kMostBytes), 9);
  if (!got.ok()) {
    check("an allocation", got.error());
    return;
  }
  const std::uint64_t sequence = life_ << kLifeShift | (++sequence_ & 0xffffff);
  const std::uint64_t who =
      std::uint64_t{session_.id().value} << Stamp::kSessionShift |
      (sequence << Stamp::kSequenceShift & ~(~std::uint64_t{0} << Stamp::kSessionShift));
  held_.push_back({*got, who});
  Stamp::of(who, got->ref.value).write(arena_.bytes(*got).data(), got->usable_bytes);
}

void SideArena::free_one() {
  std::swap(held_[random_.below(static_cast<std::uint32_t>(held_.size()))], held_.back());
  const Held h = held_.back();
  held_.pop_back();
  const std::byte* const block = arena_.bytes(h.block).data();
  const Stamp expected = Stamp::of(h.who, h.block.ref.value), shown = Stamp::read(block);
  if (shown != expected || !shown.has_tail(block, h.block.usable_bytes))
    board_.found(shown != expected && shown.is_somebodys() ? board_.doubled : board_.damaged,
                 name_ + ": a block of its own in the arena " + kSideArena +
                     " is stamped by session " + std::to_string(shown.session().value) +
                     ", sequence " + std::to_string(shown.sequence()));
  if (const Error error = arena_.try_free(h.block.ref); error != Error::kNone)
    check("a free", error);
}

void SideArena::leave() {
  if (!visiting_) return;
  while (!held_.empty() && board_.deletions.load() == deletions_ && random_.below(8) != 0)
    free_one();
  held_.clear();
  arena_ = {};
  if (const auto closed = session_.close(); !closed.ok())
    check("closing the session", closed.error());
  visiting_ = false;
}

bool SideArena::recreate(const client::Client& client) {
  board_.deletions.fetch_add(1);
  const client::Status deleted = client.delete_arena(kSideArena, true);
  if (!deleted.ok() && deleted.reason != Error::kUnknownArena) {
    if (board_.goes_away == 0) found("deleting it: " + deleted.text());
    return false;
  }
  const auto created = client.create_arena(kSideArena, {.capacity_bytes = kSideArenaBytes});
  if (created.ok()) return true;
  // A peer that was killed in here, or a daemon that started again, may have created it meanwhile.
  if (created.error().reason != Error::kArenaExists && board_.goes_away == 0)
    found("creating it: " + created.error().text());
  return false;
}

}  // namespace arenad::load::chaos
