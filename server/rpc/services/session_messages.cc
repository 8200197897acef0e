#include "server/rpc/services/session_messages.h"

#include "server/rpc/services/arena_messages.h"

namespace arenad::server {
namespace {

static_assert(static_cast<int>(AttachMode::kRemote) == v1::ATTACH_MODE_REMOTE);
static_assert(static_cast<int>(AttachMode::kReader) == v1::ATTACH_MODE_READER);
static_assert(static_cast<int>(AttachMode::kWriter) == v1::ATTACH_MODE_WRITER);
static_assert(static_cast<int>(AttachMode::kPeer) == v1::ATTACH_MODE_PEER);

void fill_geometry(v1::Geometry& out, const Geometry& geometry, int ref_slot_bits) {
  out.set_ref_slot_bits(static_cast<std::uint32_t>(ref_slot_bits));
  out.set_slab_unit_bytes(kSlabUnitBytes);
  out.set_superslab_bytes(kSuperslabBytes);
  out.set_header_bytes(geometry.layout().header_bytes);
  out.set_trailer_bytes(geometry.layout().trailer_bytes);
  for (const ClassId cls : geometry.classes()) {
    out.add_class_usable_bytes(geometry.size_class(cls).usable_bytes);
    out.add_class_stride_bytes(geometry.size_class(cls).stride_bytes);
  }
}

void fill_info(v1::SessionInfo& out, const SessionFacts& facts) {
  out.set_id(facts.id.value);
  out.set_name(facts.name);
  out.set_pid(facts.pid);
  out.set_uid(facts.uid);
  out.set_bound(facts.bound);
  out.set_keepalive(facts.keepalive);
  out.set_state(facts.reaping ? "reaping" : "live");
  out.set_age_ms(facts.age_ms);
  out.set_limit_bytes(facts.limit_bytes);
  out.set_reserve_bytes(facts.reserve_bytes);
  for (const AttachmentFacts& facts_of : facts.attachments) {
    v1::Attachment& attachment = *out.add_attachments();
    attachment.set_arena(facts_of.arena);
    attachment.set_mode(static_cast<v1::AttachMode>(facts_of.mode));
    attachment.set_held_blocks(facts_of.held_blocks);
    attachment.set_held_bytes(facts_of.held_bytes);
    attachment.set_leased_bytes(facts_of.leased_bytes);
  }
}

}  // namespace

AttachMode mode_from(const v1::AttachArenaRequest& request) {
  return v1::AttachMode_IsValid(request.mode()) ? static_cast<AttachMode>(request.mode())
                                                : AttachMode::kNone;
}

void fill(v1::OpenSessionResponse& out, const OpenedSession& opened) {
  out.mutable_session()->set_id(opened.key.id.value);
  out.mutable_session()->set_secret(opened.key.secret);
  out.set_handoff_token(opened.handoff_token);
  out.set_handoff_path(opened.handoff_path);
  out.set_keepalive_grace_ms(opened.keepalive_grace_ms);
}

void fill(v1::AttachArenaResponse& out, const AttachedArena& attached) {
  fill(*out.mutable_arena(), attached.arena);
  out.set_handoff_token(attached.handoff_token);
  out.set_epoch(attached.epoch.value);
  if (attached.geometry != nullptr)
    fill_geometry(*out.mutable_geometry(), *attached.geometry, attached.ref_slot_bits);
}

void fill(v1::ListSessionsResponse& out, const Page<SessionFacts>& page) {
  for (const SessionFacts& session : page.items) fill_info(*out.add_sessions(), session);
  out.set_next_page_token(page.next_page_token);
}

}  // namespace arenad::server
