// What a client asks for is counted from its bytes, however they are cut.
#include "server/rpc/connections/frame_counter.h"

#include <gtest/gtest.h>

#include "tests/server/http2_bytes.h"

namespace arenad::server {
namespace {

using testing_http2::bytes_of;
using testing_http2::frame;
using testing_http2::kPreface;

const std::string kConversation = kPreface + frame(4, 0) + frame(1, 4, std::string(30, 'h')) +
                                  frame(0, 1, std::string(300, 'd')) + frame(6, 0, "12345678") +
                                  frame(1, 5, std::string(7, 'h')) + frame(3, 0, "1234");

TEST(FrameCounter, CallsAreCountedHoweverTheBytesAreCut) {
  for (std::size_t piece = 1; piece <= kConversation.size(); ++piece) {
    FrameCounter frames;
    std::uint32_t calls = 0;
    for (std::size_t at = 0; at < kConversation.size(); at += piece)
      calls += frames.read(bytes_of(kConversation.substr(at, piece)));
    EXPECT_EQ(calls, 2u) << piece;
    EXPECT_EQ(frames.calls(), 2u) << piece;
    EXPECT_FALSE(frames.has_agreed()) << piece;
  }
}

TEST(FrameCounter, AnAcknowledgementOfSettingsIsAnAgreement) {
  FrameCounter frames;
  frames.read(bytes_of(kPreface + frame(4, 0, std::string(6, 1))));
  EXPECT_FALSE(frames.has_agreed());
  frames.read(bytes_of(frame(6, 1, "12345678")));  // of a PING
  EXPECT_FALSE(frames.has_agreed());
  frames.read(bytes_of(frame(4, 1)));
  EXPECT_TRUE(frames.has_agreed());
}

TEST(FrameCounter, BytesOfAFrameAreNotTakenForFrames) {
  FrameCounter frames;
  std::string calls;
  while (calls.size() < 70'000) calls += frame(1, 4);  // so the length takes three bytes
  EXPECT_EQ(frames.read(bytes_of(kPreface + frame(0, 0, calls))), 0u);
  EXPECT_EQ(frames.read(bytes_of(frame(1, 4))), 1u);
}

}  // namespace
}  // namespace arenad::server
