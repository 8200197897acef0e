// tls_credentials: the certificate and key of the daemon, and the authorities of its clients.
//
// Purpose: makes gRPC's credentials from files. gRPC reads the files again every second, so new
//   ones count for the next connection, without a restart and without a signal.
// Invariants: with a client CA, who shows no certificate of that CA gets no connection.
// Threads: gRPC has a thread that reads the files. Crash: nothing is shared.
#pragma once

#include <memory>
#include <string>

#include "server/core/api/api.h"

namespace grpc {
class ServerCredentials;
}

namespace arenad::server {

struct TlsFiles {
  std::string certificate;  // PEM, the chain of the daemon
  std::string key;          // PEM
  std::string client_ca;    // PEM; empty: clients show no certificate
};

// Errors: kInvalidOption, a file that cannot be read or is no PEM file.
Answer<std::shared_ptr<grpc::ServerCredentials>> tls_credentials(const TlsFiles& files);
// Why the files are not good; empty when they are.
std::string wrong_with(const TlsFiles& files);

}  // namespace arenad::server
