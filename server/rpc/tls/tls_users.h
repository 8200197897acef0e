// TlsUsers: which user a client certificate stands for.
//
// Purpose: a client over TLS is the user to whom the configuration maps a name of its certificate
//   (`tls_user`): a DNS name, a URI or an e-mail address among the alternative names, else the
//   common name. A client whose names are not there is no user.
// Invariants: nobody is an administrator over TLS, not even root.
// Threads: constant. Crash: nothing is shared.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/core/api/principal.h"

namespace grpc {
class AuthContext;
}

namespace arenad::server {

class TlsUsers {
 public:
  // `item`: NAME:USER, the user by name or number; the last colon counts. False when it has another
  // form, or when there is no such user. A number needs no entry in the system's table of users.
  bool add(std::string_view item);

  // Whom a certificate with these names stands for. The first name that is known counts.
  Caller user_of(const std::vector<std::string>& names) const;
  // The same for a call. nobody() when the client has shown no certificate.
  Caller caller(const grpc::AuthContext& connection) const;

 private:
  std::map<std::string, Caller, std::less<>> users_;  // by name of a certificate
};

}  // namespace arenad::server
