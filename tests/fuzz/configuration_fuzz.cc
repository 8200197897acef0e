// The configuration of arenad: a file, variables and flags that say anything.
//
// Purpose: the input is text. Zero bytes cut it into pieces. The first piece is the TOML file. A
// piece that begins as a variable (ARENAD_, HAKMEM_) is one, and all others are words of the
// command line. load_config reads all of them, as main does.
// What must hold:
// * No crash, and no report of a sanitizer.
// * What is refused has a message that names the key, the flag, the variable or the file.
// * What is accepted can be printed (--print-config), and read again as a file. Then it says the
//   same.
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "allocator/base/tunables.h"
#include "server/rpc/config/config.h"
#include "server/rpc/config/config_keys.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using server::Invocation;

// What would be written to the terminal, as long as this object lives.
class Terminal {
 public:
  Terminal() : out_(std::cout.rdbuf(text_.rdbuf())), err_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~Terminal() {
    std::cout.rdbuf(out_);
    std::cerr.rdbuf(err_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* const out_;
  std::streambuf* const err_;
};

struct Sources {
  std::string file;
  std::vector<std::string> variables, words;
};

Sources sources_in(std::string_view text) {
  Sources sources;
  for (bool first = true;; first = false) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    const std::string piece(text.substr(0, end));
    const bool variable = piece.starts_with("ARENAD_") || piece.starts_with("HAKMEM_");
    if (first)
      sources.file = piece;
    else if (variable)
      sources.variables.push_back(piece);
    // Another file than ours may be a device that never ends.
    else if (!piece.starts_with("--config"))
      sources.words.push_back(piece);
    if (end == text.size()) break;
    text.remove_prefix(end + 1);
  }
  std::erase_if(sources.variables,
                [](const std::string& v) { return v.starts_with("ARENAD_CONFIG="); });
  return sources;
}

Result<Invocation, Failure> load(const Sources& sources, const std::string& path) {
  std::vector<const char*> words = {"arenad"}, variables;
  for (const std::string& word : sources.words) words.push_back(word.c_str());
  for (const std::string& variable : sources.variables) variables.push_back(variable.c_str());
  const std::string file = "ARENAD_CONFIG=" + path;
  variables.push_back(file.c_str());
  variables.push_back(nullptr);
  words.push_back(nullptr);
  // A value of these is the process's own as soon as it was checked.
  tunables().p0_enable = true;
  tunables().p0_no_drain = tunables().p0_log = tunables().guards_private = false;
  return server::load_config(static_cast<int>(words.size()) - 1, words.data(), variables.data());
}

bool names_an_option(const std::string& message, const std::string& path) {
  if (message.find(path) != std::string::npos || message.starts_with("environment: ")) return true;
  for (const server::ConfigKey& key : server::config_keys())
    for (const std::string& name : {key.name, key.flag(), key.variable()})
      if (message.find(name) != std::string::npos) return true;
  return false;
}

void run_one(std::string_view text) {
  static const test::TemporaryDirectory directory(test::kMemoryFiles);
  const Sources sources = sources_in(text);
  const std::string path = directory.file("arenad.toml", sources.file);
  const Terminal terminal;
  const auto loaded = load(sources, path);
  if (!loaded.ok()) {
    FUZZ_EXPECT(loaded.error().error == Error::kInvalidOption, "a refusal is about an option");
    FUZZ_EXPECT(names_an_option(loaded.error().message, path), "a refusal names what is wrong");
    return;
  }
  if (loaded->action == Invocation::Action::kExit) {
    FUZZ_EXPECT(!terminal.text().empty(), "who gets no daemon is told why");
    return;
  }
  const auto again = load({loaded->config.as_toml, {}, {}},
                          directory.file("printed.toml", loaded->config.as_toml));
  FUZZ_EXPECT(again.ok(), "what is printed is a configuration");
  FUZZ_EXPECT(again->config.values == loaded->config.values, "what is printed says the same");
}

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  arenad::fuzz::run_one({reinterpret_cast<const char*>(data), size});
  return 0;
}
