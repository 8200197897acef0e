// recvmsg of a guarded connection gives each user a share of each poll, and loses nothing.
#include "server/rpc/connections/read_shares.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/server/http2_bytes.h"

namespace arenad::server {
namespace {

using testing_http2::frame;
using testing_http2::kPreface;

const std::string kCall = frame(1, 5, "h");  // 10 bytes
const std::string kAgreement = frame(4, 1);

std::string calls(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += kCall;
  return bytes;
}

class ReadSharesTest : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("GRPC_POLL_STRATEGY", "poll", 1);
    count_polls_of_this_thread(&shard);
  }
  ~ReadSharesTest() override {
    count_polls_of_this_thread(nullptr);
    for (const int fd : open) ::close(fd);
  }

  // A connection of that user, over which a client has sent the bytes.
  int connection(std::uint32_t uid, const std::string& sent) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    EXPECT_EQ(::write(ends[1], sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
    open.insert(open.end(), ends.begin(), ends.end());
    shares.guard(ends[0], uid, shard);
    return ends[0];
  }
  // As gRPC reads: until there is nothing.
  static std::string read(int fd) {
    std::string all, part(64 << 10, 0);
    iovec piece{part.data(), part.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    ssize_t n = 0;
    while ((n = ::recvmsg(fd, &message, 0)) > 0) all.append(part, 0, static_cast<std::size_t>(n));
    EXPECT_TRUE(n == 0 || errno == EAGAIN);
    return all;
  }
  static bool next_poll(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 0) == 1;
  }
  void read_alone() { shard.polls += ReadShares::kAlonePolls + 2; }
  // Two users read in turn.
  void mix() {
    for (const std::uint32_t uid : {1u, 2u}) {
      next_poll(-1);
      read(connection(uid, kPreface + kAgreement));
    }
    next_poll(-1);
  }

  ShardReads shard;
  std::vector<int> cut;
  ReadShares shares{[this](int number, const char*) { cut.push_back(number); }};
  std::vector<int> open;
};

constexpr std::size_t kCalls = ReadShares::kCalls;

TEST_F(ReadSharesTest, EveryPollBringsAShareAndNothingIsLost) {
  mix();
  const std::string sent = kPreface + kAgreement + calls(600);
  const int fd = connection(7, sent);
  std::string got;
  int polls = 0;
  for (; got.size() < sent.size(); ++polls) {
    const std::string part = read(fd);
    EXPECT_LE(part.size(), kPreface.size() + kCalls * 128) << "the first knows no density";
    if (polls > 1) {
      EXPECT_LE(part.size(), 2 * kCalls * kCall.size());
    }
    got += part;
    EXPECT_EQ(read(fd), "") << "the share is used up";
    EXPECT_EQ(next_poll(fd), got.size() < sent.size()) << "and poll says so";
  }
  EXPECT_EQ(got, sent);
  EXPECT_GE(polls, 3);
  EXPECT_TRUE(cut.empty());
}

TEST_F(ReadSharesTest, ConnectionsOfOneUserHaveOneShareAndAnotherUserHasItsOwn) {
  mix();
  const std::string sent = kPreface + kAgreement + calls(600);
  const int a = connection(7, sent), b = connection(7, sent), other = connection(8, sent);
  EXPECT_NE(read(a), "");
  EXPECT_EQ(read(b), "");
  EXPECT_NE(read(other), "");
  EXPECT_TRUE(next_poll(b));
  EXPECT_NE(read(b), "");
  EXPECT_EQ(read(a), "");
}

TEST_F(ReadSharesTest, WhoReadsAloneHasALargeShare) {
  const std::string sent = kPreface + kAgreement + calls(600);
  mix();
  EXPECT_LT(read(connection(7, sent)).size(), sent.size());
  read_alone();
  EXPECT_EQ(read(connection(7, sent)), sent);
}

TEST_F(ReadSharesTest, AShareIsBoundedInBytesToo) {
  mix();
  const std::string sent =
      kPreface + kAgreement + frame(0, 0, std::string(3 * ReadShares::kBytes, 'd'));
  const int fd = connection(7, sent);
  std::string got;
  for (; got.size() < sent.size(); next_poll(fd)) {
    const std::string part = read(fd);
    EXPECT_LE(part.size(), static_cast<std::size_t>(ReadShares::kBytes));
    EXPECT_NE(part, "");
    got += part;
  }
  EXPECT_EQ(got, sent);
}

TEST_F(ReadSharesTest, WhoMakesCallsAndAgreesToNothingIsCutOnce) {
  read_alone();
  const int most = static_cast<int>(ReadShares::kMostCallsBeforeSettings);
  const auto reads_two_more = [&](const std::string& sent) {
    const int fd = connection(7, sent);
    std::string got;
    for (; got.size() < sent.size(); next_poll(fd)) got += read(fd);
    EXPECT_TRUE(cut.empty()) << "so many are allowed";
    for (int more = 0; more < 2; ++more, next_poll(fd)) {
      EXPECT_EQ(::write(open.back(), kCall.data(), kCall.size()),
                static_cast<ssize_t>(kCall.size()));
      EXPECT_EQ(read(fd), kCall);
    }
    return fd;
  };
  reads_two_more(kPreface + kAgreement + calls(most));
  EXPECT_TRUE(cut.empty());
  const int fd = reads_two_more(kPreface + calls(most));
  EXPECT_EQ(cut, std::vector<int>{fd});
}

TEST_F(ReadSharesTest, WhatIsNotGuardedIsReadAsEver) {
  mix();
  const std::string sent = kPreface + kAgreement + calls(600);
  const int fd = connection(7, sent);
  shares.unguard(fd);
  EXPECT_EQ(read(fd), sent);
  ::setenv("GRPC_POLL_STRATEGY", "epoll1", 1);
  EXPECT_EQ(read(connection(7, sent)), sent) << "epoll is told of an edge once";
}

}  // namespace
}  // namespace arenad::server
