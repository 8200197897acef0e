// Mapped access: what a writer wrote the others see, what a reader has cannot be written, and
// blocks change hands.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "client/lib/client_state.h"
#include "client/lib/handoff.h"
#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class MappingTest : public ClientTest {};

std::string text_at(std::span<const std::byte> bytes) {
  return reinterpret_cast<const char*>(bytes.data());
}

TEST_F(MappingTest, WriterSeesAnotherClientsBytes) {
  auto producer = attach(AttachMode::kWriter, 0);
  auto consumer = attach(AttachMode::kWriter, 1);
  Block block = must(producer.arena.allocate(4096));
  ASSERT_NE(block.data(), nullptr);
  std::strcpy(reinterpret_cast<char*>(block.data()), "from the producer");
  ASSERT_NE(producer.arena.data().data(),
            consumer.arena.data().data());  // two mappings of one memory
  EXPECT_EQ(text_at(consumer.arena.data().subspan(block.offset_bytes())), "from the producer");
  std::strcpy(reinterpret_cast<char*>(consumer.arena.writable_data().data() + block.offset_bytes()),
              "answer");
  EXPECT_EQ(text_at(block.bytes()), "answer");
}

TEST_F(MappingTest, BlockHandedOnBelongsToTheConsumerAndOutlivesTheProducer) {
  auto consumer = attach(AttachMode::kWriter, 1);
  Ref ref;
  {
    auto producer = attach(AttachMode::kWriter, 0);
    Block block = must(producer.arena.allocate(4096));
    std::strcpy(reinterpret_cast<char*>(block.data()), "handed over");
    ref = block.release();
    Block taken = must(consumer.arena.take(ref, 9));
    ref = taken.release();
    EXPECT_EQ(must(producer.session.close()).blocks,
              0u);  // nothing of it is the producer's any more
  }
  const auto info = must(consumer.arena.describe(std::span(&ref, 1)));
  ASSERT_EQ(info.at(0).state, BlockState::kHeld);
  EXPECT_EQ(info[0].holder, consumer.session.id());
  EXPECT_EQ(info[0].tag, 9u);
  EXPECT_EQ(text_at(consumer.arena.bytes(info[0])), "handed over");
  EXPECT_TRUE(
      consumer.arena.free(ref).ok());  // remote: the block is shard 0's, the consumer calls shard 1
}

TEST_F(MappingTest, ReaderSeesBytesAndDoesNotAllocate) {
  auto writer = attach(AttachMode::kWriter);
  auto reader = attach(AttachMode::kReader);
  Block block = must(writer.arena.allocate(100));
  std::strcpy(reinterpret_cast<char*>(block.data()), "read me");
  const Ref ref = block.ref();
  const auto info = must(reader.arena.describe(std::span(&ref, 1)));
  EXPECT_EQ(text_at(reader.arena.bytes(info.at(0))), "read me");
  EXPECT_TRUE(reader.arena.writable_data().empty());
  EXPECT_EQ(reader.arena.allocate(100).error().reason, Error::kReadOnly);
  EXPECT_EQ(reader.arena.free(ref).reason, Error::kReadOnly);
}

TEST_F(MappingTest, ReadersMappingCannotBeMadeWritable) {
  auto reader = attach(AttachMode::kReader);
  const auto data = reader.arena.data();
  ASSERT_FALSE(data.empty());
  errno = 0;
  EXPECT_EQ(::mprotect(const_cast<std::byte*>(data.data()), 4096, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

// A reader's descriptor of the arena's data. By hand, because the library closes it once the data
// is mapped.
HandedOver reader_descriptor(ClientState& state, const std::string& arena) {
  EXPECT_TRUE(state.connect().ok());
  v1::OpenSessionResponse opened;
  EXPECT_TRUE(state.call(state.sessions(), &v1::Sessions::Stub::OpenSession, {}, opened).ok());
  v1::AttachArenaRequest request;
  *request.mutable_session() = opened.session();
  request.set_arena(arena);
  request.set_mode(v1::ATTACH_MODE_READER);
  v1::AttachArenaResponse attached;
  EXPECT_TRUE(
      state.call(state.sessions(), &v1::Sessions::Stub::AttachArena, request, attached).ok());
  auto handed = must(hand_over(state.topology().handoff_path, attached.handoff_token(), 30'000));
  v1::CloseSessionRequest close;
  *close.mutable_session() = opened.session();
  v1::CloseSessionResponse closed;
  EXPECT_TRUE(state.call(state.sessions(), &v1::Sessions::Stub::CloseSession, close, closed).ok());
  return handed;
}

// Whether another user, who has the descriptor, can open its file for writing: 0 yes, else errno.
int open_for_writing_as_nobody(int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(255);
    ::prctl(PR_SET_DUMPABLE,
            1);  // or /proc/self would be root's after setuid, and everything refused
    ::_exit(::open(path.c_str(), O_RDWR | O_CLOEXEC) >= 0 ? 0 : errno);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}

TEST_F(MappingTest, ReadersDescriptorCannotBeOpenedForWriting) {
  ClientState state(parse_target(shared_daemon().socket_dir()), {});
  const HandedOver handed = reader_descriptor(state, arena_name);
  ASSERT_TRUE(handed.data);
  struct stat file {};
  ASSERT_EQ(::fstat(handed.data.get(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  EXPECT_EQ(::fcntl(handed.data.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, handed.data.get(), 0),
            MAP_FAILED);
  if (::geteuid() != 0)
    return;  // the daemon's own user may do anything to it; only root can become another
  const UniqueFd open_to_all(::memfd_create("control", MFD_CLOEXEC));
  ASSERT_EQ(::fchmod(open_to_all.get(), 0666), 0);
  EXPECT_EQ(open_for_writing_as_nobody(open_to_all.get()), 0);       // the way is open, ...
  EXPECT_EQ(open_for_writing_as_nobody(handed.data.get()), EACCES);  // ... and the file refuses
}

TEST_F(MappingTest, MappingIsNotInherited) {
  auto writer = attach(AttachMode::kWriter);
  const std::byte* const base = writer.arena.data().data();
  const pid_t child = ::fork();
  if (child == 0) {
    // mincore fails with ENOMEM where nothing is mapped. Only system calls here: the child of a
    // threaded process may do no more.
    unsigned char resident = 0;
    ::_exit(::mincore(const_cast<std::byte*>(base), 4096, &resident) == -1 && errno == ENOMEM ? 0
                                                                                              : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace arenad::client
