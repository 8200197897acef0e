#include "client/lib/convert.h"

#include <google/protobuf/any.pb.h>

#include <string>
#include <string_view>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace arenad::client {
namespace {

Error reason_named(std::string_view name) {
  for (int i = 1; i <= static_cast<int>(kLastError); ++i)
    if (name == error_name(static_cast<Error>(i))) return static_cast<Error>(i);
  return Error::kNone;
}

Error reason_in(const std::string& details) {
  google::rpc::Status status;
  if (!status.ParseFromString(details)) return Error::kNone;
  google::rpc::ErrorInfo info;
  for (const google::protobuf::Any& any : status.details())
    if (any.UnpackTo(&info) && info.domain() == "arenad") return reason_named(info.reason());
  return Error::kNone;
}

}  // namespace

Status from_grpc(const ::grpc::Status& status) {
  if (status.ok()) return {};
  return {static_cast<Code>(status.error_code()), reason_in(status.error_details()),
          status.error_message()};
}

Status away_explained(Status status) {
  if (status.code == Code::kUnavailable && status.reason == Error::kNone)
    status.message =
        "the daemon does not answer: it has ended or is starting again. Try again when it serves "
        "(arenactl health). gRPC says: " +
        status.message;
  return status;
}

Status not_attached() {
  return {Code::kFailedPrecondition, Error::kNone,
          "this handle is empty: connect, open a session and attach an arena first"};
}

Status bad_tag(std::uint32_t tag) {
  return {Code::kInvalidArgument, Error::kInvalidTag,
          "tag " + std::to_string(tag) + ": " + error_advice(Error::kInvalidTag)};
}

Status bad_count() {
  return {Code::kInvalidArgument, Error::kInvalidCount,
          "one request is for 1 to 16384 blocks; ask for at least one, or split the request"};
}

ArenaInfo from_wire(const v1::Arena& arena) {
  return {.id = ArenaId{static_cast<std::uint16_t>(arena.id())},
          .name = arena.name(),
          .capacity_bytes = arena.capacity_bytes(),
          .holder_only = arena.holder_only(),
          .pinned = arena.pinned(),
          .zero = arena.zero(),
          .scrub = arena.scrub(),
          .huge_pages = arena.huge_pages().wanted(),
          .huge_page_bytes = arena.huge_pages().bytes(),
          .huge_page_fallback = arena.huge_pages().fallback(),
          .numa = arena.numa().policy(),
          .numa_fallback = arena.numa().fallback(),
          .debug = arena.debug(),
          .debug_findings = arena.debug_findings(),
          .locked = arena.locked(),
          .access = {arena.access().uid(), arena.access().gid(), arena.access().mode()},
          .committed_bytes = arena.committed_bytes(),
          .held_bytes = arena.held_bytes(),
          .held_blocks = arena.held_blocks(),
          .sessions = arena.sessions(),
          .quarantined = arena.quarantined(),
          .quarantine_reason = arena.quarantine_reason()};
}

static BlockEvent from_wire(const v1::BlockEvent& event) {
  return {SessionId{static_cast<std::uint16_t>(event.session())}, event.tag(), event.time_ns()};
}

BlockInfo from_wire(const v1::BlockInfo& info) {
  const bool known = v1::BlockState_IsValid(info.state());
  return {.ref = Ref{info.ref()},
          .state = known ? static_cast<BlockState>(info.state()) : BlockState::kUnknown,
          .offset_bytes = info.offset_bytes(),
          .usable_bytes = info.usable_bytes(),
          .stride_bytes = info.stride_bytes(),
          .holder = SessionId{static_cast<std::uint16_t>(info.holder())},
          .tag = info.tag(),
          .heap = HeapId{static_cast<std::uint16_t>(info.heap())},
          .generation = info.generation(),
          .size_class = ClassId{static_cast<std::uint8_t>(info.size_class())},
          .track = info.has_track() ? std::optional(BlockTrack{from_wire(info.track().allocated()),
                                                               from_wire(info.track().freed())})
                                    : std::nullopt};
}

Status from_wire(const v1::ExchangeError& error) {
  const bool known = error.reason() <= static_cast<int>(kLastError);
  return {static_cast<Code>(error.code()),
          known ? static_cast<Error>(error.reason()) : Error::kNone, error.message()};
}

Status append(const v1::AllocateResponse& response, std::vector<AllocatedBlock>& blocks) {
  const int count = response.refs_size();
  if (response.offsets_size() != count ||
      (response.usable_bytes_size() != count && response.usable_bytes_size() != 1))
    return {Code::kInternal, Error::kInternal,
            "the daemon's answer has lists of different lengths; report this as a bug of arenad"};
  const bool alike = response.usable_bytes_size() == 1;
  blocks.reserve(blocks.size() + static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    blocks.push_back(
        {Ref{response.refs(i)}, response.offsets(i), response.usable_bytes(alike ? 0 : i)});
  return {};
}

void to_wire(const AllocateOptions& options, v1::AllocateRequest& request) {
  request.set_align_bytes(options.align_bytes);
  request.set_tag(options.tag);
  request.set_wait_ms(options.wait_ms);
}

}  // namespace arenad::client
