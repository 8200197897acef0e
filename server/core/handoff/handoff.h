// Handoff: the AF_UNIX socket on which a client turns its one-time token into descriptors.
//
// Purpose: accepts a connection, reads one request, asks the host what the token is worth, and
// answers with the descriptors (SCM_RIGHTS) or with an error that says what to do. Then it closes
// the connection. proto/handoff has the frames.
// Invariants: one request a connection. A connection that sends nothing for 2 s is closed. At most
// 128 connections at once. One more takes the place of the oldest one of the user that has most of
// them, so nobody keeps others out. What the client sends is copied once and checked. The kernel
// says who the client is (caller_process.h).
// Threads: the control thread, on its io_context.
// Crash: the socket file stays behind. The next daemon replaces it when nobody answers on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"
#include "server/core/handoff/caller_process.h"

namespace boost::asio {
class io_context;
}

namespace arenad::server {

// What a token was worth.
struct HandoffGrant {
  Failure failure;   // error kNone when granted
  UniqueFd data;     // none when the token only binds
  UniqueFd control;  // for a peer
  AttachMode mode = AttachMode::kNone;
  std::uint64_t data_bytes = 0;
  std::uint64_t control_bytes = 0;
  ArenaId arena_id;
};

class HandoffHost {
 public:
  virtual ~HandoffHost() = default;
  virtual HandoffGrant redeem(std::string_view token, Answer<CallerProcess> peer) = 0;
};

class Handoff {
 public:
  Handoff(boost::asio::io_context& io, std::string path, HandoffHost& host);
  ~Handoff();

  // Binds and listens, mode 0666. Errors: kInvalidOption when the path cannot be used or another
  // daemon answers on it.
  Answer<Nothing> open();
  void close();  // stops accepting and removes the socket file
  const std::string& path() const { return path_; }

 private:
  class Connection;
  class Waiting;
  struct Acceptor;
  void accept_next();

  const std::string path_;
  HandoffHost& host_;
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace arenad::server
