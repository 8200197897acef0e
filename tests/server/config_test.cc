// Where a value comes from, which source wins, and what is refused.
#include <gtest/gtest.h>

#include "server/core/api/tunables.h"
#include "server/rpc/config/config.h"
#include "server/rpc/config/config_keys.h"
#include "tests/support/daemon_process.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

using test::run_arenad;
using test::TemporaryDirectory;

struct Sources {
  std::vector<std::string> flags;
  std::vector<std::string> environment;
};

Result<Invocation, Failure> load(const Sources& sources) {
  std::vector<const char*> argv = {"arenad"}, environment;
  for (const std::string& flag : sources.flags) argv.push_back(flag.c_str());
  for (const std::string& variable : sources.environment) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  return load_config(static_cast<int>(argv.size()), argv.data(), environment.data());
}

Config good(const Sources& sources) {
  auto loaded = load(sources);
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  return loaded->config;
}

std::string refusal(const Sources& sources) {
  const auto loaded = load(sources);
  EXPECT_FALSE(loaded.ok());
  return loaded.error().message;
}

std::string tunable(const Config& config, const std::string& name) {
  for (const auto& [key, value] : config.tunables)
    if (key == name) return value;
  return "";
}

TEST(Config, DefaultsAreGood) {
  const Config config = good({});
  EXPECT_EQ(config.socket_dir, "/run/arenad");
  EXPECT_EQ(config.shards, 0u);
  EXPECT_FALSE(config.listen);
  EXPECT_EQ(config.limits.max_sessions, 4096u);
  EXPECT_TRUE(config.tunables.empty())
      << "what nobody set stays as the allocator and the engine have it";
}

TEST(Config, FlagsWinOverVariablesAndTheseOverTheFile) {
  const TemporaryDirectory directory;
  const std::string file =
      directory.file("arenad.toml", "shards = 3\nmax_arenas = 33\nidle_drain_ms = 333\n");
  const Config config =
      good({{"--config", file, "--shards", "1"}, {"ARENAD_SHARDS=2", "ARENAD_MAX_ARENAS=22"}});
  EXPECT_EQ(config.shards, 1u);
  EXPECT_EQ(config.limits.max_arenas, 22u);
  EXPECT_EQ(tunable(config, "idle_drain_ms"), "333");
}

TEST(Config, FileIsFoundByVariable) {
  const TemporaryDirectory directory;
  const std::string file = directory.file("arenad.toml", "shards = 3\n");
  EXPECT_EQ(good({{}, {"ARENAD_CONFIG=" + file}}).shards, 3u);
}

TEST(Config, ArenasComeFromEverySource) {
  const TemporaryDirectory directory;
  const std::string file = directory.file("arenad.toml", "arena = [\"a:1GiB\", \"b:2MiB\"]\n");
  const auto sizes = [](const Config& config) {
    std::string text;
    for (const auto& arena : config.arenas)
      text += arena.name + "=" + std::to_string(arena.capacity_bytes >> 20) + " ";
    return text;
  };
  EXPECT_EQ(sizes(good({{"--config", file}, {}})), "a=1024 b=2 ");
  EXPECT_EQ(sizes(good({{}, {"ARENAD_ARENA=c:1MiB,d:2MiB"}})), "c=1 d=2 ");
  EXPECT_EQ(sizes(good({{"--arena", "e:1MiB", "--arena", "f:2MiB"}, {}})), "e=1 f=2 ");
}

TEST(Config, UnknownKeyNamesTheNearest) {
  const TemporaryDirectory directory;
  const std::string file = directory.file("arenad.toml", "shards = 2\nidle_drian_ms = 5\n");
  const std::string message = refusal({{"--config", file}, {}});
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
  EXPECT_NE(message.find("'idle_drian_ms' (did you mean 'idle_drain_ms'?)"), std::string::npos)
      << message;
}

TEST(Config, UnknownVariableNamesTheNearest) {
  const std::string message = refusal({{}, {"ARENAD_SHARD=2"}});
  EXPECT_NE(message.find("ARENAD_SHARD (did you mean 'ARENAD_SHARDS'?)"), std::string::npos)
      << message;
}

TEST(Config, VariablesOfClientsAndOfOthersAreLeftAlone) {
  good({{}, {"ARENAD_SOCKET=/run/arenad", "PATH=/bin", "HOME=/root"}});
}

TEST(Config, WrongValuesNameSourceKeyAndWhatItTakes) {
  const TemporaryDirectory directory;
  const std::string file = directory.file("arenad.toml", "shards = \"many\"\n");
  EXPECT_NE(refusal({{"--config", file}, {}}).find("line 1: 'many' is not what 'shards' takes"),
            std::string::npos);
  EXPECT_NE(refusal({{"--shards", "2000"}, {}}).find("flag --shards"), std::string::npos);
  EXPECT_NE(refusal({{}, {"ARENAD_SPIN_US=soon"}}).find("variable ARENAD_SPIN_US"),
            std::string::npos);
  EXPECT_NE(refusal({{"--arena", "no-capacity"}, {}}).find("NAME:CAPACITY"), std::string::npos);
  EXPECT_NE(refusal({{"--log-level", "loud"}, {}}).find("trace, debug"), std::string::npos);
  EXPECT_NE(refusal({{"--config", directory.path() + "/none"}, {}}).find("cannot read"),
            std::string::npos);
  EXPECT_NE(refusal({{"--config", directory.file("bad.toml", "= 3\n")}, {}}).find("not TOML"),
            std::string::npos);
}

TEST(Config, ArenasOfTheStartMayHaveOptions) {
  const Config config = good({{"--arena", "a:2MiB:::pinned", "--arena", "b:2MiB:0640::lock+pinned",
                               "--arena", "c:2MiB:0640:0", "--arena", "d:2MiB:::zero+scrub",
                               "--arena", "e:2MiB:::huge_pages+numa=interleave", "--arena",
                               "f:2MiB:::numa=1", "--arena", "g:2MiB:::debug=UZ+zero"},
                              {}});
  ASSERT_EQ(config.arenas.size(), 7u);
  EXPECT_TRUE(config.arenas[0].pinned);
  EXPECT_FALSE(config.arenas[0].lock);
  EXPECT_EQ(config.arenas[0].mode, 0660u);
  EXPECT_EQ(config.arenas[0].gid, std::nullopt);
  EXPECT_TRUE(config.arenas[1].pinned && config.arenas[1].lock);
  EXPECT_EQ(config.arenas[1].mode, 0640u);
  EXPECT_FALSE(config.arenas[2].pinned);
  EXPECT_TRUE(config.arenas[3].zero && config.arenas[3].scrub && !config.arenas[3].pinned);
  EXPECT_TRUE(config.arenas[4].huge_pages);
  EXPECT_EQ(config.arenas[4].numa, "interleave");
  EXPECT_FALSE(config.arenas[5].huge_pages);
  EXPECT_EQ(config.arenas[5].numa, "1");
  EXPECT_EQ(debug_text(config.arenas[6].debug), "ZU");
  EXPECT_TRUE(config.arenas[6].zero);
  for (const char* wrong :
       {"a:2MiB:::debug", "a:2MiB:::debug=", "a:2MiB:::debug=X", "a:2MiB:::debug=Z+debug=U",
        "a:2MiB:::debug=P+zero", "a:2MiB:::scrub+debug=FP", "a:2MiB:::lock", "a:2MiB:::",
        "a:2MiB:::pinned+", "a:2MiB:::round", "a:2MiB:", "a:2MiB:0640:", "a:2MiB:::pinned:more",
        "a:2MiB:::numa", "a:2MiB:::numa=", "a:2MiB:::numa=all"})
    EXPECT_NE(
        refusal({{"--arena", wrong}, {}}).find("options are pinned, lock, zero, scrub, huge_pages"),
        std::string::npos)
        << wrong;
}

TEST(Config, TcpHasTlsOrIsOnLoopbackByName) {
  EXPECT_NE(refusal({{"--listen", "0.0.0.0:7470"}, {}}).find("needs tls_cert and tls_key"),
            std::string::npos);
  EXPECT_NE(refusal({{"--listen-plaintext", "0.0.0.0:7470"}, {}}).find("other hosts reach"),
            std::string::npos);
  const std::vector<std::string> tls = {"--listen",  "0.0.0.0:7470", "--tls-cert", "/c",
                                        "--tls-key", "/k",           "--tls-user", "alice:7"};
  EXPECT_NE(refusal({tls, {}}).find("tls_user needs tls_client_ca"), std::string::npos);
  std::vector<std::string> with_ca = tls;
  with_ca.insert(with_ca.end(), {"--tls-client-ca", "/a"});
  const Config config = good({with_ca, {}});
  EXPECT_EQ(config.listen->host, "0.0.0.0");
  EXPECT_EQ(config.tls.client_ca, "/a");
  EXPECT_EQ(config.tls_users.user_of({"alice"})->uid, 7u);
  with_ca.insert(with_ca.end(), {"--tls-user", "bob"});
  EXPECT_NE(refusal({with_ca, {}}).find("'bob' is not NAME:USER"), std::string::npos);
  for (const char* loopback : {"127.0.0.1:7470", "localhost:7470", "[::1]:7470"})
    EXPECT_EQ(good({{"--listen-plaintext", loopback}, {}}).listen_plaintext->port, 7470);
}

TEST(Config, HttpThatOthersReachNeedsToBeAskedForByName) {
  EXPECT_NE(refusal({{"--http", "0.0.0.0:7480"}, {}}).find("http_anywhere"), std::string::npos);
  EXPECT_EQ(good({{"--http", "0.0.0.0:7480", "--http-anywhere"}, {}}).http->host, "0.0.0.0");
  const Config over_unix = good({{"--http", "unix:/run/arenad/http.sock"}, {}});
  EXPECT_EQ(over_unix.http_path, "/run/arenad/http.sock");
  EXPECT_FALSE(over_unix.http);
  EXPECT_NE(refusal({{"--http", "unix:relative"}, {}}).find("unix:/path"), std::string::npos);
  EXPECT_EQ(good({{"--http", "off"}, {}}).http_path, "");
  EXPECT_EQ(good({{"--http-host", "a", "--http-host", "b"}, {}}).http_hosts,
            (std::vector<std::string>{"a", "b"}));
}

TEST(Config, PredecessorsVariablesWinOverTheFile) {
  const TemporaryDirectory directory;
  const std::string file = directory.file("arenad.toml", "p0_enable = true\np0_log = false\n");
  const Config config =
      good({{"--config", file}, {"HAKMEM_TINY_P0_ENABLE=0", "HAKMEM_TINY_P0_LOG="}});
  EXPECT_EQ(tunable(config, "p0_enable"), "0");
  EXPECT_EQ(tunable(config, "p0_log"), "1") << "set and not 0 is on";
}

TEST(Config, WhatIsPrintedCanBeReadBack) {
  const std::vector<std::string> flags = {"--shards",          "2",    "--arena",         "a:1GiB",
                                          "--max-total-bytes", "8GiB", "--idle-drain-ms", "7"};
  const Config first = good({flags, {}});
  const TemporaryDirectory directory;
  const Config second = good({{"--config", directory.file("arenad.toml", first.as_toml)}, {}});
  EXPECT_EQ(second.shards, 2u);
  ASSERT_EQ(second.arenas.size(), 1u);
  EXPECT_EQ(second.arenas[0].capacity_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(second.limits.max_total_bytes, std::uint64_t{8} << 30);
  EXPECT_EQ(tunable(second, "idle_drain_ms"), "7");
}

TEST(Config, TextWithOddCharactersIsPrintedSoThatItCanBeReadBack) {
  const TemporaryDirectory directory;
  for (const std::string text : {"/quote\"d\\", "/tab\t", "/delete\x7f", "/\xc3\xa4", "\x01"}) {
    const Config first = good({{"--tls-cert", text}, {}});
    const Config second = good({{"--config", directory.file("arenad.toml", first.as_toml)}, {}});
    EXPECT_EQ(second.tls.certificate, text);
    EXPECT_EQ(second.values, first.values);
  }
}

TEST(Config, TextThatIsNotUtf8IsRefused) {
  for (const std::string text : {"/\xff", "/\xc3", "/\xed\xa0\x80"}) {
    EXPECT_NE(refusal({{"--tls-cert", text}, {}}).find("flag --tls-cert: 'tls_cert' takes UTF-8"),
              std::string::npos);
    EXPECT_NE(refusal({{}, {"ARENAD_HTTP_HOST=a," + text}}).find("'http_host' takes UTF-8"),
              std::string::npos);
  }
}

TEST(Config, AnEmptyFileSaysNothing) {
  const TemporaryDirectory directory;
  EXPECT_EQ(good({{"--config", directory.file("arenad.toml", "")}, {}}).socket_dir, "/run/arenad");
  EXPECT_NE(refusal({{"--config", directory.path()}, {}}).find("cannot read"), std::string::npos)
      << "a directory";
}

// toml++ has assertions for the first of these.
TEST(Config, FilesThatAreNotTomlAreRefused) {
  const TemporaryDirectory directory;
  for (const std::string text : {"[=", "[[[", "[", "[[", "a", "\"", "shards = [", "a.b.", "\xff"})
    EXPECT_NE(
        refusal({{"--config", directory.file("bad.toml", text)}, {}}).find("this is not TOML"),
        std::string::npos)
        << text;
}

TEST(Config, AnArenaMayHaveAModeAndAGroup) {
  const auto arena = [](const char* text) { return good({{"--arena", text}, {}}).arenas.at(0); };
  EXPECT_EQ(arena("a:1MiB").mode, 0660u);
  EXPECT_EQ(arena("a:1MiB").gid, std::nullopt);
  EXPECT_EQ(arena("a:1MiB:0644").mode, 0644u);
  EXPECT_EQ(arena("a:1MiB:0660:44").gid, 44u);
  EXPECT_EQ(arena("a:1MiB:0660:root").gid, 0u);
  for (const char* wrong : {"a:1MiB:", "a:1MiB:0", "a:1MiB:0888", "a:1MiB:1777",
                            "a:1MiB:0660:", "a:1MiB:0660:no-such-group", "a:1MiB:0660:1:2"})
    EXPECT_NE(refusal({{"--arena", wrong}, {}}).find("MODE"), std::string::npos) << wrong;
}

TEST(Config, EveryKeyIsDocumentedAndPrinted) {
  const std::string printed = "\n" + good({}).as_toml;
  const std::string help = run_arenad({"--help"}).output;
  for (const ConfigKey& key : config_keys()) {
    EXPECT_GT(key.help.size(), 10u) << key.name;
    EXPECT_NE(printed.find("\n" + key.name + " = "), std::string::npos) << key.name;
    // CLI11 writes a switch as --name{true}.
    const bool is_switch = key.kind == ConfigKey::Kind::kSwitch;
    EXPECT_NE(help.find(key.flag() + (is_switch ? "{" : " ")), std::string::npos) << key.name;
  }
}

TEST(Config, EveryLimitIsAKeyThatKeepsItsBounds) {
  const Config config = good({});
  for (const LimitRow& row : kLimitTable) {
    const ConfigKey* const key = find_key(row.name);
    ASSERT_NE(key, nullptr) << row.name;
    EXPECT_TRUE(key->help.starts_with(row.help)) << row.name;
    EXPECT_EQ(row.get(config.limits), row.default_value) << row.name;
    const std::string least = std::to_string(row.min), most = std::to_string(row.max);
    EXPECT_EQ(row.get(good({{key->flag(), least}, {}}).limits), row.min) << row.name;
    EXPECT_EQ(row.get(good({{key->flag(), most}, {}}).limits), row.max) << row.name;
    if (row.min > 0) refusal({{key->flag(), std::to_string(row.min - 1)}, {}});
    if (row.max != kNoBound) refusal({{key->flag(), std::to_string(row.max + 1)}, {}});
  }
}

TEST(Config, EveryTunableIsAKeyThatKeepsItsBounds) {
  for (const TunableRow& row : kTunableTable) {
    const ConfigKey* const key = find_key(row.name);
    ASSERT_NE(key, nullptr) << row.name;
    EXPECT_EQ(key->help, row.description()) << row.name;
    EXPECT_EQ(key->default_text, std::to_string(row.default_value)) << row.name;
    const std::string most = std::to_string(row.max);
    EXPECT_EQ(tunable(good({{key->flag(), most}, {}}), row.name), most);
    refusal({{key->flag(), std::to_string(row.max + 1)}, {}});
  }
}

TEST(Config, NearestNamesNothingThatIsFar) {
  EXPECT_EQ(nearest("shrads", {"shards", "listen"}), " (did you mean 'shards'?)");
  EXPECT_EQ(nearest("bananas", {"http", "listen"}), "");
}

}  // namespace
}  // namespace arenad::server
