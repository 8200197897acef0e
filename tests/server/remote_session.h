// RemoteSession: a session of a test, kept by its KeepAlive stream, and stubs of all services.
//
// Threads: one at a time. Crash: the daemon ends the session.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

#include "arenad/v1/admin.grpc.pb.h"
#include "arenad/v1/arenas.grpc.pb.h"
#include "arenad/v1/blocks.grpc.pb.h"
#include "arenad/v1/heaps.grpc.pb.h"
#include "arenad/v1/sessions.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/support/daemon_process.h"
#include "tests/support/sizes.h"

namespace arenad::server {

using test::DaemonProcess;
using test::Ended;
using test::eventually;
using test::run_arenad;
using test::TemporaryDirectory;

// As long as a machine that is busy may take for a call that ends a test when it hangs.
inline std::chrono::system_clock::time_point call_deadline() {
  return std::chrono::system_clock::now() + test::kDeadline;
}

// A connection of its own each time.
inline std::shared_ptr<grpc::Channel> channel_to(const DaemonProcess& daemon,
                                                 const std::string& socket = "arenad.sock") {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(daemon.target(socket), grpc::InsecureChannelCredentials(),
                                   arguments);
}

// ErrorInfo.reason of a refused call; "" when there is none.
inline std::string reason_of(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() != 1 ||
      !details.details(0).UnpackTo(&info))
    return "";
  return info.reason();
}

struct Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : arenas(channel), sessions(channel), blocks(channel), heaps(channel), admin(channel) {}

  grpc::Status create_arena(const std::string& name, std::uint64_t capacity_bytes,
                            v1::Arena* arena) {
    grpc::ClientContext context;
    v1::CreateArenaRequest request;
    request.set_name(name);
    request.set_capacity_bytes(capacity_bytes);
    return arenas.CreateArena(&context, request, arena);
  }
  grpc::Status open(v1::OpenSessionResponse* opened, std::uint64_t limit_bytes = 0) {
    grpc::ClientContext context;
    v1::OpenSessionRequest request;
    request.set_limit_bytes(limit_bytes);
    return sessions.OpenSession(&context, request, opened);
  }
  v1::AuditReport audit() {
    grpc::ClientContext context;
    v1::AuditReport report;
    const grpc::Status status = admin.Audit(&context, v1::AuditRequest(), &report);
    if (!status.ok()) throw std::runtime_error("Audit: " + status.error_message());
    return report;
  }

  v1::Arenas::Stub arenas;
  v1::Sessions::Stub sessions;
  v1::Blocks::Stub blocks;
  v1::Heaps::Stub heaps;
  v1::Admin::Stub admin;
};

class RemoteSession {
 public:
  // Opens a session and attaches it to `arena`, which must exist.
  RemoteSession(const std::shared_ptr<grpc::Channel>& channel, const std::string& arena,
                v1::AttachMode mode = v1::ATTACH_MODE_REMOTE, std::uint64_t limit_bytes = 0)
      : stubs(channel) {
    v1::OpenSessionResponse opened;
    must(stubs.open(&opened, limit_bytes), "OpenSession");
    key = opened.session();
    stream_ = stubs.sessions.KeepAlive(&stream_context_);
    v1::KeepAliveRequest alive;
    *alive.mutable_session() = key;
    v1::KeepAliveEvent event;
    if (!stream_->Write(alive) || !stream_->Read(&event))
      throw std::runtime_error("KeepAlive was refused");
    grpc::ClientContext context;
    v1::AttachArenaRequest attach;
    *attach.mutable_session() = key;
    attach.set_arena(arena);
    attach.set_mode(mode);
    v1::AttachArenaResponse attached;
    must(stubs.sessions.AttachArena(&context, attach, &attached), "AttachArena");
    arena_id = attached.arena().id();
  }
  ~RemoteSession() {
    stream_context_.TryCancel();
    stream_->Finish();
  }
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;

  v1::AllocateRequest allocate_request(std::uint64_t size_bytes, std::uint32_t count = 1,
                                       std::uint32_t wait_ms = 0) const {
    v1::AllocateRequest request;
    *request.mutable_session() = key;
    request.set_arena_id(arena_id);
    request.set_size_bytes(size_bytes);
    request.set_count(count);
    request.set_wait_ms(wait_ms);
    return request;
  }
  grpc::Status allocate(const v1::AllocateRequest& request, v1::AllocateResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(call_deadline());
    return stubs.blocks.Allocate(&context, request, response);
  }
  template <class Refs>
  v1::FreeRequest free_request(const Refs& refs) const {
    v1::FreeRequest request;
    *request.mutable_session() = key;
    request.set_arena_id(arena_id);
    request.mutable_refs()->Add(refs.begin(), refs.end());
    return request;
  }
  grpc::Status free(const v1::FreeRequest& request, v1::FreeResponse* response) {
    grpc::ClientContext context;
    return stubs.blocks.Free(&context, request, response);
  }
  // Ends the KeepAlive stream, and next_event() of another thread with it.
  void lose_stream() { stream_context_.TryCancel(); }
  // Waits for what the daemon says on the KeepAlive stream; false at its end.
  bool next_event(v1::KeepAliveEvent* event) { return stream_->Read(event); }
  bool say(const v1::KeepAliveRequest& request) { return stream_->Write(request); }

  static void must(const grpc::Status& status, const char* call) {
    if (!status.ok()) throw std::runtime_error(std::string(call) + ": " + status.error_message());
  }

  Stubs stubs;
  v1::SessionKey key;
  std::uint32_t arena_id = 0;

 private:
  grpc::ClientContext stream_context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::KeepAliveRequest, v1::KeepAliveEvent>> stream_;
};

}  // namespace arenad::server
