#include "client/lib/pending_closes.h"

#include <chrono>
#include <system_error>

namespace arenad::client {
namespace {

constexpr auto kPause = std::chrono::milliseconds(100);  // between two attempts

}  // namespace

PendingCloses::~PendingCloses() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void PendingCloses::add(v1::Sessions::Stub& sessions, const v1::SessionKey& key) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this, &sessions] { run(sessions); });
    } catch (const std::system_error&) {
      return;  // no thread to be had: the daemon finds that the process has left the session
    }
  }
  pending_.push_back(key);
  changed_.notify_all();
}

void PendingCloses::run(v1::Sessions::Stub& sessions) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
    if (stopping_) return;
    const v1::SessionKey key = pending_.back();
    lock.unlock();
    const bool answered = close(sessions, key);
    lock.lock();
    if (answered)
      std::erase_if(pending_, [&](const v1::SessionKey& k) { return k.id() == key.id(); });
    else
      changed_.wait_for(lock, kPause, [this] { return stopping_; });
  }
}

bool PendingCloses::close(v1::Sessions::Stub& sessions, const v1::SessionKey& key) {
  ::grpc::ClientContext context;
  context.set_wait_for_ready(true);  // for as long as the daemon is away
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    context_ = &context;
  }
  v1::CloseSessionRequest request;
  *request.mutable_session() = key;
  v1::CloseSessionResponse response;
  const ::grpc::Status status = sessions.CloseSession(&context, request, &response);
  const std::lock_guard lock(mutex_);
  context_ = nullptr;
  return status.error_code() != ::grpc::StatusCode::UNAVAILABLE &&
         status.error_code() != ::grpc::StatusCode::CANCELLED;
}

}  // namespace arenad::client
