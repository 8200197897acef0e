#include "server/rpc/tls/tls_users.h"

#include <grp.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <pwd.h>

#include <memory>
#include <utility>

#include "server/rpc/config/values.h"

namespace arenad::server {
namespace {

// The answers of getpw* are in memory of their own. No other thread runs yet.
std::optional<Principal> system_user(const std::string& user) {
  Principal principal;
  const auto number = parse_number(user);
  if (number && *number >= Principal::kNoUser) return std::nullopt;
  const passwd* const found =
      number ? ::getpwuid(static_cast<uid_t>(*number)) : ::getpwnam(user.c_str());
  if (found == nullptr) {
    if (!number) return std::nullopt;
    principal.uid = static_cast<std::uint32_t>(*number);
    return principal;
  }
  principal.uid = found->pw_uid;
  principal.gid = found->pw_gid;
  int count = 64;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  if (::getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<std::size_t>(count));
    ::getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count);
  }
  groups.resize(static_cast<std::size_t>(count));
  principal.groups.assign(groups.begin(), groups.end());
  return principal;
}

}  // namespace

bool TlsUsers::add(std::string_view item) {
  const std::size_t colon = item.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  auto user = system_user(std::string(item.substr(colon + 1)));
  if (!user) return false;
  users_.insert_or_assign(std::string(item.substr(0, colon)),
                          std::make_shared<const Principal>(std::move(*user)));
  return true;
}

Caller TlsUsers::user_of(const std::vector<std::string>& names) const {
  for (const std::string& name : names)
    if (const auto found = users_.find(name); found != users_.end()) return found->second;
  return nobody();
}

Caller TlsUsers::caller(const grpc::AuthContext& connection) const {
  if (!connection.IsPeerAuthenticated()) return nobody();
  std::vector<std::string> names;
  for (const char* property : {GRPC_PEER_DNS_PROPERTY_NAME, GRPC_PEER_URI_PROPERTY_NAME,
                               GRPC_PEER_EMAIL_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME})
    for (const grpc::string_ref& value : connection.FindPropertyValues(property))
      names.emplace_back(value.data(), value.size());
  return user_of(names);
}

}  // namespace arenad::server
