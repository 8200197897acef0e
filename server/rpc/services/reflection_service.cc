// Server reflection over protobuf's generated pool, in both versions of the protocol.
//
// libgrpc++_reflection does the same with a synchronous service. Its thread pool would poll beside
// the shards.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/async_stream.h>

#include <set>
#include <unordered_map>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/core/api/api.h"
#include "server/rpc/loop/event.h"
#include "server/rpc/services/services.h"

namespace arenad::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

struct V1 {
  using Service = ::grpc::reflection::v1::ServerReflection::AsyncService;
  using Request = ::grpc::reflection::v1::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Service = ::grpc::reflection::v1alpha::ServerReflection::AsyncService;
  using Request = ::grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1alpha::ServerReflectionResponse;
};

// Adds `file` and all files that it imports, each once.
template <class Response>
void add_file(Response& response, const FileDescriptor& file,
              std::set<const FileDescriptor*>& seen) {
  if (!seen.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) add_file(response, *file.dependency(i), seen);
}

template <class Response>
void answer_file(Response& response, const FileDescriptor* file, const std::string& asked) {
  if (file == nullptr) {
    auto& error = *response.mutable_error_response();
    error.set_error_code(::grpc::StatusCode::NOT_FOUND);
    error.set_error_message("'" + asked + "' is unknown: list_services lists all services");
    return;
  }
  std::set<const FileDescriptor*> seen;
  add_file(response, *file, seen);
}

template <class Version>
void answer(const typename Version::Request& request, typename Version::Response& response) {
  using Request = typename Version::Request;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return answer_file(response, pool.FindFileByName(request.file_by_filename()),
                         request.file_by_filename());
    case Request::kFileContainingSymbol:
      return answer_file(response, pool.FindFileContainingSymbol(request.file_containing_symbol()),
                         request.file_containing_symbol());
    case Request::kFileContainingExtension:
      return answer_file(response, nullptr, request.file_containing_extension().containing_type());
    case Request::kAllExtensionNumbersOfType: {
      const std::string& type = request.all_extension_numbers_of_type();
      if (pool.FindMessageTypeByName(type) == nullptr) return answer_file(response, nullptr, type);
      response.mutable_all_extension_numbers_response()->set_base_type_name(type);
      return;
    }
    case Request::kListServices:
      for (const std::string& name : service_names())
        response.mutable_list_services_response()->add_service()->set_name(name);
      return;
    default: {
      auto& error = *response.mutable_error_response();
      error.set_error_code(::grpc::StatusCode::INVALID_ARGUMENT);
      error.set_error_message("the request asks for nothing: set one field of message_request");
    }
  }
}

template <class Version>
class ReflectionService;

// One call: a request, its answer, the next request, and so on.
template <class Version>
class Talk {
 public:
  explicit Talk(ReflectionService<Version>& owner) : owner_(owner) {}
  void ask() { owner_.ask(context_, stream_, asked_.tag()); }

 private:
  void on_asked(bool ok) {
    if (!ok) return owner_.forget(this);  // the server shuts down
    owner_.talk_another();
    stream_.Read(&request_, read_.tag());
  }
  void on_read(bool ok) {
    if (!ok) return stream_.Finish(::grpc::Status::OK, finished_.tag());
    response_.Clear();
    answer<Version>(request_, response_);
    stream_.Write(response_, written_.tag());
  }
  void on_written(bool ok) {
    if (!ok) return stream_.Finish(::grpc::Status::OK, finished_.tag());
    stream_.Read(&request_, read_.tag());
  }
  void on_finished(bool) { owner_.forget(this); }

  ReflectionService<Version>& owner_;
  ::grpc::ServerContext context_;
  ::grpc::ServerAsyncReaderWriter<typename Version::Response, typename Version::Request> stream_{
      &context_};
  typename Version::Request request_;
  typename Version::Response response_;
  Step<Talk, &Talk::on_asked> asked_{*this};
  Step<Talk, &Talk::on_read> read_{*this};
  Step<Talk, &Talk::on_written> written_{*this};
  Step<Talk, &Talk::on_finished> finished_{*this};
};

template <class Version>
class ReflectionService final : public RpcService {
 public:
  ::grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    context_ = &context;
    talk_another();
  }

  template <class Stream>
  void ask(::grpc::ServerContext& context, Stream& stream, void* tag) {
    service_.RequestServerReflectionInfo(&context, &stream, &context_->queue, &context_->queue,
                                         tag);
  }
  void talk_another() {
    auto talk = std::make_unique<Talk<Version>>(*this);
    Talk<Version>* const key = talk.get();
    talks_.emplace(key, std::move(talk));
    key->ask();
  }
  void forget(Talk<Version>* talk) { talks_.erase(talk); }

 private:
  typename Version::Service service_;
  ServeContext* context_ = nullptr;
  std::unordered_map<Talk<Version>*, std::unique_ptr<Talk<Version>>> talks_;
};

}  // namespace

std::unique_ptr<RpcService> make_reflection_service() {
  return std::make_unique<ReflectionService<V1>>();
}
std::unique_ptr<RpcService> make_reflection_v1alpha_service() {
  return std::make_unique<ReflectionService<V1Alpha>>();
}

}  // namespace arenad::server
