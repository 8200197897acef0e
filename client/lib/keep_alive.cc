#include "client/lib/keep_alive.h"

#include <future>
#include <memory>
#include <system_error>

#include "client/lib/convert.h"

namespace arenad::client {

Status KeepAlive::start(v1::Sessions::Stub& stub, const v1::SessionKey& key, std::uint32_t timeout_ms) {
  std::promise<Status> confirmed;
  std::future<Status> confirmation = confirmed.get_future();
  auto listen = [this, &stub, key, confirmed = std::move(confirmed)]() mutable {
    const auto stream = stub.KeepAlive(&context_);
    v1::KeepAliveRequest request;
    *request.mutable_session() = key;
    v1::KeepAliveEvent event;
    if (!stream->Write(request) || !stream->Read(&event)) {
      Status status = from_grpc(stream->Finish());
      if (status.ok()) status = {Code::kUnavailable, Error::kNone, "the daemon ended the KeepAlive stream without a word"};
      confirmed.set_value(std::move(status));
      return;
    }
    alive_.store(true, std::memory_order_relaxed);
    draining_.store(event.draining(), std::memory_order_relaxed);
    confirmed.set_value({});
    while (stream->Read(&event))
      if (event.draining()) draining_.store(true, std::memory_order_relaxed);
    alive_.store(false, std::memory_order_relaxed);
    stream->Finish();
  };
  try {
    thread_ = std::thread(std::move(listen));
  } catch (const std::system_error& error) {
    return {Code::kResourceExhausted, Error::kNone,
            std::string("no thread for the KeepAlive stream: ") + error.what() + "; raise the limit of threads (ulimit -u)"};
  }
  if (confirmation.wait_for(std::chrono::milliseconds(timeout_ms)) == std::future_status::timeout) context_.TryCancel();
  Status status = confirmation.get();
  if (!status.ok()) stop();
  return status;
}

void KeepAlive::stop() {
  if (!thread_.joinable()) return;
  context_.TryCancel();
  thread_.join();
}

}  // namespace arenad::client
