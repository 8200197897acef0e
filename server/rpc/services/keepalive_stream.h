// KeepAliveStream: the server's end of one KeepAlive stream.
//
// Purpose: registers the stream of a session with the control thread. Passes on what the daemon
// wants to tell the client. Tells the control thread when the stream has ended.
// Invariants: an accepted stream is reported as lost exactly once. The control thread may still
// send an event afterwards. The event carries the stream's number. Numbers are never reused, so
// such an event finds no stream.
// Threads: the shard's own. Events come from the control thread through ShardApi::post.
// Crash: nothing is shared.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "arenad/v1/sessions.pb.h"
#include "server/core/api/api.h"
#include "server/rpc/loop/event.h"
#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

class KeepAliveStreams;

class KeepAliveStream {
 public:
  using ReaderWriter = grpc::ServerAsyncReaderWriter<v1::KeepAliveEvent, v1::KeepAliveRequest>;

  KeepAliveStream(KeepAliveStreams& owner, std::uint64_t id);
  void ask();
  void event(const SessionEvent& event);

 private:
  void on_asked(bool ok);
  void on_read(bool ok);
  void on_written(bool ok);
  void on_finished(bool ok);
  void opened(const Answer<Nothing>& answer);
  void write();
  void end(const Failure& why);
  void finish_if_done();
  void leave_if_over();  // destroys the stream

  KeepAliveStreams& owner_;
  const std::uint64_t id_;
  grpc::ServerContext context_;
  ReaderWriter stream_{&context_};
  v1::KeepAliveRequest request_;
  SessionKey session_;
  Failure failure_;          // why the stream ends; kNone: OK
  bool asked_open_ = false;  // the control thread has the key and has not answered
  bool open_ = false;        // accepted, and not yet reported as lost
  bool known_ = false;       // the first message has come
  bool reading_ = false, writing_ = false;
  bool ending_ = false;                    // no more events; Finish when nothing is under way
  bool finishing_ = false, over_ = false;  // Finish was called; Finish has completed
  bool draining_ = false, evicted_ = false;
  bool tell_ = false;                          // an event waits to be written
  std::vector<SessionEvent> trims_, deleted_;  // not written yet
  Step<KeepAliveStream, &KeepAliveStream::on_asked> asked_{*this};
  Step<KeepAliveStream, &KeepAliveStream::on_read> read_{*this};
  Step<KeepAliveStream, &KeepAliveStream::on_written> written_{*this};
  Step<KeepAliveStream, &KeepAliveStream::on_finished> finished_{*this};
};

// All KeepAlive streams of one shard.
class KeepAliveStreams {
 public:
  // The generated service's RequestKeepAlive.
  using Ask = std::function<void(grpc::ServerContext*, KeepAliveStream::ReaderWriter*,
                                 grpc::ServerCompletionQueue*, void* tag)>;
  KeepAliveStreams(ServeContext& context, ControlApi& control, Ask ask);

 private:
  friend KeepAliveStream;
  void ask_another();
  // Runs f on this shard's thread with the stream, if the stream still exists then. Any thread.
  void post_to(std::uint64_t id, std::function<void(KeepAliveStream&)> f);

  ServeContext& context_;
  ControlApi& control_;
  const Ask ask_;
  std::uint64_t next_id_;
  std::unordered_map<std::uint64_t, std::unique_ptr<KeepAliveStream>> streams_;
};

}  // namespace arenad::server
