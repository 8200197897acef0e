// The daemon as a process: start, what it offers, probes, drain and end.
#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "arenad/version.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "tests/server/remote_session.h"
#include "tests/support/daemon_process.h"

namespace arenad::server {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;

// One HTTP/1.1 request; the whole answer.
std::string http_get(const std::string& address, const std::string& path) {
  const auto colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(request.size())) {
      char buffer[4096];
      for (ssize_t got; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
        answer.append(buffer, static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

::grpc::Status check(const std::shared_ptr<::grpc::Channel>& channel, const std::string& service,
                     HealthCheckResponse* response) {
  ::grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(service);
  return Health::NewStub(channel)->Check(&context, request, response);
}

TEST(Daemon, HealthKnowsEveryServiceOnEveryAddress) {
  DaemonProcess daemon({"--shards", "2"});
  for (const char* socket : {"arenad.sock", "shard-0.sock", "shard-1.sock"}) {
    for (const char* service :
         {"", "arenad.v1.Arenas", "arenad.v1.Sessions", "arenad.v1.Blocks", "arenad.v1.Admin"}) {
      HealthCheckResponse response;
      ASSERT_TRUE(check(channel_to(daemon, socket), service, &response).ok())
          << socket << " " << service;
      EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
    }
    HealthCheckResponse response;
    EXPECT_EQ(check(channel_to(daemon, socket), "arenad.v1.Nothing", &response).error_code(),
              ::grpc::StatusCode::NOT_FOUND);
  }
}

template <class Stub, class Request, class Response>
void expect_reflection(Stub& stub) {
  ::grpc::ClientContext context;
  auto talk = stub.ServerReflectionInfo(&context);
  const auto ask = [&](const Request& request) {
    Response response;
    EXPECT_TRUE(talk->Write(request) && talk->Read(&response));
    return response;
  };
  Request request;
  request.set_host("h");
  request.set_list_services("*");
  Response response = ask(request);
  EXPECT_EQ(response.valid_host(), "h");
  std::set<std::string> services;
  for (const auto& service : response.list_services_response().service())
    services.insert(service.name());
  EXPECT_EQ(services.size(), 8u);
  EXPECT_TRUE(services.contains("arenad.v1.Blocks"));

  request.set_file_containing_symbol("arenad.v1.Sessions.OpenSession");
  response = ask(request);
  std::set<std::string> files;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    files.insert(file.name());
  }
  EXPECT_EQ(files, (std::set<std::string>{"arenad/v1/arenas.proto", "arenad/v1/common.proto",
                                          "arenad/v1/sessions.proto"}))
      << "the file and what it imports";

  request.set_file_by_filename("arenad/v1/common.proto");
  EXPECT_EQ(ask(request).file_descriptor_response().file_descriptor_proto_size(), 1);
  request.set_file_by_filename("no/such.proto");
  EXPECT_EQ(ask(request).error_response().error_code(), ::grpc::StatusCode::NOT_FOUND);
  request.clear_message_request();
  EXPECT_EQ(ask(request).error_response().error_code(), ::grpc::StatusCode::INVALID_ARGUMENT);
  talk->WritesDone();
  EXPECT_TRUE(talk->Finish().ok());
}

TEST(Daemon, ReflectionTellsServicesAndFilesInBothVersions) {
  DaemonProcess daemon({"--shards", "1"});
  namespace alpha = ::grpc::reflection::v1alpha;
  namespace v1 = ::grpc::reflection::v1;
  alpha::ServerReflection::Stub old_stub(channel_to(daemon));
  expect_reflection<alpha::ServerReflection::Stub, alpha::ServerReflectionRequest,
                    alpha::ServerReflectionResponse>(old_stub);
  v1::ServerReflection::Stub stub(channel_to(daemon));
  expect_reflection<v1::ServerReflection::Stub, v1::ServerReflectionRequest,
                    v1::ServerReflectionResponse>(stub);
}

TEST(Daemon, ArenasOfTheConfigExistWhenItIsReady) {
  DaemonProcess daemon({"--shards", "1", "--arena", "a:16MiB", "--arena", "b:32MiB"});
  Stubs stubs(channel_to(daemon));
  ::grpc::ClientContext context;
  v1::ListArenasResponse response;
  ASSERT_TRUE(stubs.arenas.ListArenas(&context, v1::ListArenasRequest(), &response).ok());
  ASSERT_EQ(response.arenas_size(), 2);
  EXPECT_EQ(response.arenas(1).name(), "b");
  EXPECT_EQ(response.arenas(1).capacity_bytes(), std::uint64_t{32} << 20);
}

TEST(Daemon, SecondOneOnTheSameDirectoryRefusesToStart) {
  DaemonProcess daemon({"--shards", "1"});
  const Ended second = run_arenad({"--socket-dir", daemon.socket_dir(), "--http", "off"});
  EXPECT_EQ(second.code, 1);
  EXPECT_NE(second.output.find("another arenad (process "), std::string::npos) << second.output;
  EXPECT_NE(second.output.find("--socket-dir"), std::string::npos) << second.output;
  HealthCheckResponse response;
  EXPECT_TRUE(check(channel_to(daemon), "", &response).ok()) << "the first one is not disturbed";
}

TEST(Daemon, ConfigurationIsCheckedAndPrintedWithoutStarting) {
  EXPECT_EQ(run_arenad({"--check-config", "--shards", "4"}).code, 0);
  const Ended wrong = run_arenad({"--check-config"}, {"ARENAD_SHARDS=many"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.output.find("variable ARENAD_SHARDS"), std::string::npos) << wrong.output;
  const Ended printed = run_arenad({"--print-config"}, {"ARENAD_SHARDS=4"});
  EXPECT_EQ(printed.code, 0);
  EXPECT_NE(printed.output.find("shards = 4  # variable ARENAD_SHARDS"), std::string::npos)
      << printed.output;
  EXPECT_EQ(run_arenad({"--version"}).output, std::string("arenad ") + arenad::kVersion + "\n");
  EXPECT_NE(run_arenad({"--help"}).output.find("--idle-drain-ms"), std::string::npos);
  const Ended unknown = run_arenad({"--shrads", "2"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.output.find("did you mean '--shards'?"), std::string::npos) << unknown.output;
}

TEST(Daemon, ServesTcpOnLoopbackWhenAskedTo) {
  DaemonProcess daemon({"--shards", "2", "--listen-plaintext", "127.0.0.1:0"});
  const std::string log = daemon.log(), mark = "serving plain text on 127.0.0.1:";
  const auto at = log.find(mark);
  ASSERT_NE(at, std::string::npos) << log;
  const std::string target = "127.0.0.1:" + std::to_string(std::stoi(log.substr(at + mark.size())));
  HealthCheckResponse response;
  EXPECT_TRUE(
      check(::grpc::CreateChannel(target, ::grpc::InsecureChannelCredentials()), "", &response)
          .ok());
}

TEST(Daemon, AddressThatCannotBeListenedOnIsAnErrorThatNamesIt) {
  DaemonProcess daemon({"--shards", "1", "--listen-plaintext", "127.0.0.1:0"});
  const std::string log = daemon.log(), mark = "serving plain text on 127.0.0.1:";
  const std::string busy =
      "127.0.0.1:" + std::to_string(std::stoi(log.substr(log.find(mark) + mark.size())));
  TemporaryDirectory other;
  const Ended ended = run_arenad(
      {"--socket-dir", other.path(), "--shards", "3", "--http", "off", "--listen-plaintext", busy});
  EXPECT_EQ(ended.code, 1);
  EXPECT_NE(ended.output.find("cannot listen on"), std::string::npos) << ended.output;
  EXPECT_NE(ended.output.find(busy), std::string::npos) << ended.output;
}

TEST(Daemon, ProbesAndMetricsAnswerOverHttp) {
  DaemonProcess daemon({"--shards", "2", "--arena", "pool:16MiB"});
  RemoteSession session(channel_to(daemon, "shard-1.sock"), "pool");
  v1::AllocateResponse blocks;
  ASSERT_TRUE(session.allocate(session.allocate_request(256, 10), &blocks).ok());
  const std::string address = daemon.http_address();
  EXPECT_NE(http_get(address, "/healthz").find("200 OK"), std::string::npos);
  EXPECT_NE(http_get(address, "/readyz").find("200 OK"), std::string::npos);
  EXPECT_NE(http_get(address, "/nothing").find("404"), std::string::npos);
  const std::string metrics = http_get(address, "/metrics?x=y");
  EXPECT_NE(metrics.find("arenad_heap_allocs_total{shard=\"1\"} 10\n"), std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("arenad_heap_p0_counter_mismatch_total{shard=\"1\"} 0\n"),
            std::string::npos);
  EXPECT_NE(metrics.find("arenad_remote_frees_between_total{from=\"0\",to=\"1\"} 0\n"),
            std::string::npos);
  EXPECT_NE(metrics.find("arenad_arena_held_blocks 10\n"), std::string::npos);
  EXPECT_EQ(metrics.find("pool"), std::string::npos) << "everybody may read it, so it has no names";
  EXPECT_NE(metrics.find("arenad_sessions 1\n"), std::string::npos);
}

TEST(Daemon, MetricsNameArenasWhenAskedTo) {
  DaemonProcess daemon({"--shards", "1", "--arena", "pool:16MiB", "--metrics-name-arenas"});
  EXPECT_NE(http_get(daemon.http_address(), "/metrics")
                .find("arenad_arena_capacity_bytes{arena=\"pool\"} 16777216\n"),
            std::string::npos);
}

TEST(Daemon, BusyHttpPortIsAnErrorWhenItWasAskedFor) {
  DaemonProcess daemon({"--shards", "1"});
  TemporaryDirectory other;
  const Ended ended = run_arenad({"--socket-dir", other.path(), "--http", daemon.http_address()});
  EXPECT_EQ(ended.code, 1);
  EXPECT_NE(ended.output.find("cannot serve HTTP"), std::string::npos) << ended.output;
  EXPECT_NE(ended.output.find("--http off"), std::string::npos) << ended.output;
}

TEST(Daemon, DrainsOnSigtermAndTellsEverybody) {
  DaemonProcess daemon({"--shards", "2", "--arena", "pool:16MiB", "--drain-deadline-ms", "600000"});
  const auto channel = channel_to(daemon);
  RemoteSession session(channel, "pool");
  ::grpc::ClientContext watch_context;
  auto watch = Health::NewStub(channel_to(daemon, "shard-1.sock"))
                   ->Watch(&watch_context, HealthCheckRequest());
  HealthCheckResponse seen;
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.status(), HealthCheckResponse::SERVING);
  const std::string address = daemon.http_address();

  daemon.signal(SIGTERM);
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.status(), HealthCheckResponse::NOT_SERVING);
  v1::KeepAliveEvent event;
  ASSERT_TRUE(session.next_event(&event));
  EXPECT_TRUE(event.draining());
  EXPECT_NE(http_get(address, "/readyz").find("503"), std::string::npos);
  EXPECT_NE(http_get(address, "/healthz").find("200 OK"), std::string::npos);
  HealthCheckResponse response;
  ASSERT_TRUE(check(channel, "", &response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);

  v1::OpenSessionResponse opened;
  const auto refused = session.stubs.open(&opened);
  EXPECT_EQ(refused.error_code(), ::grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(reason_of(refused), "DRAINING");
  v1::Arena arena;
  EXPECT_EQ(reason_of(session.stubs.create_arena("late", 1 << 20, &arena)), "DRAINING");

  // What is open may be finished.
  v1::AllocateResponse blocks;
  EXPECT_TRUE(session.allocate(session.allocate_request(64), &blocks).ok());
  ::grpc::ClientContext context;
  v1::CloseSessionRequest close;
  *close.mutable_session() = session.key;
  v1::CloseSessionResponse closed;
  ASSERT_TRUE(session.stubs.sessions.CloseSession(&context, close, &closed).ok());
  EXPECT_EQ(closed.blocks_given_back(), 1u);
  EXPECT_EQ(daemon.wait(), 0);
}

TEST(Daemon, DrainEndsAtItsDeadlineWithClientsAttached) {
  DaemonProcess daemon({"--shards", "2", "--arena", "pool:16MiB", "--drain-deadline-ms", "200"});
  RemoteSession session(channel_to(daemon), "pool");
  EXPECT_EQ(daemon.stop(), 0);
}

TEST(Daemon, SecondSignalEndsTheDrainAtOnce) {
  DaemonProcess daemon({"--shards", "1", "--arena", "pool:16MiB", "--drain-deadline-ms", "600000"});
  RemoteSession session(channel_to(daemon), "pool");
  daemon.signal(SIGINT);
  v1::KeepAliveEvent event;
  ASSERT_TRUE(session.next_event(&event));
  daemon.signal(SIGINT);
  EXPECT_EQ(daemon.wait(), 0);
}

TEST(Daemon, HangUpReadsTheConfigurationAgain) {
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/arenad.toml";
  const auto write = [&](const std::string& text) { std::ofstream(file) << text; };
  write("idle_drain_ms = 50\n");
  DaemonProcess daemon({"--config", file, "--shards", "1"});
  const auto says = [&](const std::string& text) {
    return eventually([&] { return daemon.log().find(text) != std::string::npos; });
  };
  v1::Admin::Stub admin(channel_to(daemon));
  const auto idle_drain_ms = [&]() -> std::string {
    ::grpc::ClientContext context;
    v1::Tunables tunables;
    EXPECT_TRUE(admin.GetTunables(&context, {}, &tunables).ok());
    for (const auto& tunable : tunables.tunables())
      if (tunable.name() == "idle_drain_ms") return tunable.value();
    return "";
  };
  EXPECT_EQ(idle_drain_ms(), "50");

  write("idle_drain_ms = 70\nmax_sessions = 7\nroot_is_admin = false\n");
  daemon.signal(SIGHUP);
  EXPECT_TRUE(says("SIGHUP: log level and tunables"));
  EXPECT_EQ(idle_drain_ms(), "70");
  EXPECT_TRUE(says("count from the next start: max_sessions, root_is_admin\n"));

  write("idle_drain_ms = 70000000\n");
  daemon.signal(SIGHUP);
  EXPECT_TRUE(says("SIGHUP: nothing is changed, the configuration is wrong"));
  EXPECT_EQ(idle_drain_ms(), "70");
  EXPECT_EQ(daemon.stop(), 0);
}

TEST(Daemon, SignalsWithoutAMeaningAreLoggedAndNoMore) {
  DaemonProcess daemon({"--shards", "1"});
  for (const int signal : {SIGUSR1, SIGUSR2}) {
    daemon.signal(signal);
    const std::string line = "signal " + std::to_string(signal) + " has no meaning";
    EXPECT_TRUE(eventually([&] { return daemon.log().find(line) != std::string::npos; }));
  }
  EXPECT_EQ(daemon.stop(), 0);
}

TEST(Daemon, SocketDirectoryThatOthersMayWriteIsRefused) {
  TemporaryDirectory directory;
  ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
  const Ended ended = run_arenad({"--socket-dir", directory.path(), "--http", "off"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_NE(ended.output.find("has mode 0777"), std::string::npos) << ended.output;
}

TEST(Daemon, TellsTheServiceManagerWhenItIsReadyAndWhenItStops) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/notify";
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  DaemonProcess daemon({"--shards", "1"}, {"NOTIFY_SOCKET=" + path});
  const auto next = [&] {
    char buffer[256];
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    return std::string(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
  };
  EXPECT_EQ(next(), "READY=1");
  EXPECT_EQ(daemon.stop(), 0);
  EXPECT_EQ(next(), "STOPPING=1");
  ::close(fd);
}

}  // namespace
}  // namespace arenad::server
