#include "client/lib/keep_alive.h"

#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "client/lib/convert.h"

namespace arenad::client {
namespace {

constexpr auto kPause = std::chrono::milliseconds(50);

}  // namespace

Status KeepAlive::start(ClientState& client, const v1::SessionKey& key, Listener& listener) {
  std::promise<Status> confirmed;
  std::future<Status> confirmation = confirmed.get_future();
  try {
    thread_ =
        std::thread([this, &client, key, &listener, confirmed = std::move(confirmed)]() mutable {
          run(client, key, listener, std::move(confirmed));
        });
  } catch (const std::system_error& error) {
    return {Code::kResourceExhausted, Error::kNone,
            std::string("no thread for the KeepAlive stream: ") + error.what() +
                "; raise the limit of threads (ulimit -u)"};
  }
  const bool in_time = confirmation.wait_for(std::chrono::milliseconds(client.call_timeout_ms())) ==
                       std::future_status::ready;
  if (!in_time) cancel();
  Status status = confirmation.get();
  // gRPC says that the stream was cancelled. But nobody asked for that.
  if (!in_time && status.code == Code::kCancelled)
    status = {Code::kUnavailable, Error::kNone,
              "the daemon did not confirm the KeepAlive stream within " +
                  std::to_string(client.call_timeout_ms()) +
                  " ms: it stands still or is very busy. Try again"};
  if (!status.ok()) stop();
  return status;
}

void KeepAlive::run(ClientState& client, const v1::SessionKey& key, Listener& listener,
                    std::promise<Status> confirmed) {
  for (;;) {
    v1::KeepAliveEvent event;
    Status status;
    if (!open(client, key, event)) {
      if (!stream_) return;  // stop() was called
      status = from_grpc(stream_->Finish());
      if (status.ok())
        status = {Code::kUnavailable, Error::kNone,
                  "the daemon ended the KeepAlive stream and gave no reason"};
    } else if (!first_) {
      status = listener.back();
      if (!status.ok()) {
        cancel();
        stream_->Finish();
      }
    }
    if (first_) {
      confirmed.set_value(status);
      if (!status.ok()) return;
      first_ = false;
    }
    if (status.ok()) {
      if (listen(client, event, listener)) {
        listener.evicted();
        cancel();  // the daemon waits for the end of the stream
        stream_->Finish();
        return;
      }
      listener.broken();
      stream_->Finish();
    } else if (status.reason == Error::kUnknownSession) {
      return listener.lost();
    } else if (status.reason == Error::kEvicted) {
      return listener.evicted();
    }
    if (!pause()) return;
  }
}

bool KeepAlive::open(ClientState& client, const v1::SessionKey& key, v1::KeepAliveEvent& event) {
  {
    const std::lock_guard lock(mutex_);
    stream_.reset();
    if (stopping_) return false;
    context_ = std::make_unique<::grpc::ClientContext>();
    context_->set_wait_for_ready(!first_);  // the first time start() waits for the answer
  }
  stream_ = client.sessions().KeepAlive(context_.get());
  v1::KeepAliveRequest request;
  *request.mutable_session() = key;
  client.count_call();
  return stream_->Write(request) && stream_->Read(&event);
}

bool KeepAlive::listen(ClientState& client, v1::KeepAliveEvent& event, Listener& listener) {
  do {
    draining_.store(event.draining(), std::memory_order_relaxed);
    if (event.evicted()) return true;
    for (const v1::DeletedArena& gone : event.deleted())
      listener.deleted(ArenaId{static_cast<std::uint16_t>(gone.arena_id())}, gone.name());
    if (event.trims().empty()) continue;
    v1::KeepAliveRequest done;
    for (const v1::TrimRequest& trim : event.trims()) {
      listener.trim(ArenaId{static_cast<std::uint16_t>(trim.arena_id())});
      v1::TrimDone& answer = *done.add_trimmed();
      answer.set_round(trim.round());
      answer.set_arena_id(trim.arena_id());
    }
    client.count_call();
    if (!stream_->Write(done)) return false;
  } while (stream_->Read(&event));
  return false;
}

bool KeepAlive::pause() {
  std::unique_lock lock(mutex_);
  return !stopping_changed_.wait_for(lock, kPause, [this] { return stopping_; });
}

void KeepAlive::cancel() {
  const std::lock_guard lock(mutex_);
  if (context_) context_->TryCancel();
}

void KeepAlive::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (context_) context_->TryCancel();
  }
  stopping_changed_.notify_all();
  thread_.join();
}

}  // namespace arenad::client
