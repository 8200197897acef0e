// The example of client/README.md. It compiles, and without a daemon it ends with a clear text.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "arenad/arenad.h"

namespace {

using namespace arenad::client;

// As in client/README.md, but for the socket directory.
void example(const char* directory, std::vector<Ref>& queue, const void* pixels, std::size_t size) {
  auto client = Client::connect(directory);
  auto session = Session::open(*client, {.name = "camera"});
  auto arena = session->attach("frames", AttachMode::kPeer);
  auto block = arena->allocate(1 << 20);
  std::memcpy(block->data(), pixels, size);
  queue.push_back(block->release());
}

TEST(ReadmeExampleDeathTest, WithoutADaemonEndsWithATextThatSaysSo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // gRPC has threads
  std::vector<Ref> queue;
  EXPECT_DEATH(example("/nonexistent/arenad", queue, "", 0),
               "UNAVAILABLE: no daemon answers at unix:/nonexistent/arenad/arenad.sock.*"
               "is arenad running");
}

}  // namespace
