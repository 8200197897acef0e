#include "server/rpc/tls/tls_credentials.h"

#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <sstream>

namespace arenad::server {
namespace {

constexpr unsigned kReadAgainS = 1;

std::string wrong_with_file(const std::string& path, const char* what) {
  std::ifstream stream(path);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) return fmt::format("cannot read {} {}", what, path);
  if (text.str().find("-----BEGIN ") == std::string::npos)
    return fmt::format("the {} {} is no PEM file", what, path);
  return {};
}

}  // namespace

std::string wrong_with(const TlsFiles& files) {
  if (auto wrong = wrong_with_file(files.certificate, "certificate"); !wrong.empty()) return wrong;
  if (auto wrong = wrong_with_file(files.key, "key"); !wrong.empty()) return wrong;
  return files.client_ca.empty() ? std::string() : wrong_with_file(files.client_ca, "client CA");
}

Answer<std::shared_ptr<grpc::ServerCredentials>> tls_credentials(const TlsFiles& files) {
  if (const std::string wrong = wrong_with(files); !wrong.empty()) {
    return Failure{Error::kInvalidOption,
                   wrong +
                       ": give files that arenad may read with tls_cert, tls_key and "
                       "tls_client_ca"};
  }
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(files.key, files.certificate,
                                                       files.client_ca, kReadAgainS));
  options.watch_identity_key_cert_pairs();
  if (files.client_ca.empty()) {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  } else {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace arenad::server
