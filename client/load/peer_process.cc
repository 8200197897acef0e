#include "client/load/peer_process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "client/load/kernels/cores.h"
#include "client/load/kernels/hand_over.h"
#include "client/load/kernels/peer_context.h"
#include "client/load/kernels/producer_consumer.h"
#include "client/load/kernels/xmalloc.h"
#include "client/load/rounds.h"
#include "client/load/runner.h"

namespace arenad::load {
namespace {

constexpr auto kOthersEndWithin = std::chrono::seconds(10);

struct Unmap {
  void operator()(PeerRings* rings) const { ::munmap(rings, sizeof(PeerRings)); }
};

// The stamps of a frame: its first and its last 8 bytes. The rest says nothing.
struct FrameStamps {
  std::uint64_t bytes;
  std::uint64_t seed;

  void write(std::uint64_t ref, std::byte* data) const {
    const std::uint64_t value = stamp_of(ref, seed);
    std::memset(data, static_cast<int>(value & 0xff), bytes);
    std::memcpy(data, &value, sizeof value);
    std::memcpy(data + bytes - sizeof value, &value, sizeof value);
  }
  bool right(std::uint64_t ref, const std::byte* data) const {
    const std::uint64_t value = stamp_of(ref, seed);
    return std::memcmp(data, &value, sizeof value) == 0 &&
           std::memcmp(data + bytes - sizeof value, &value, sizeof value) == 0;
  }
};

void frame_body(const Options& options, const PeerRole& role, PeerContext& context,
                PeerRings& shared_rings, Track& track, Progress& progress, const Stop& end) {
  const FrameStamps stamps{options.size_bytes, options.seed};
  if (role.out_ring >= 0)
    hand_over(context, shared_rings.rings[role.out_ring], end, options.size_bytes, role.frames,
              [&](std::uint64_t ref, std::byte* data) { stamps.write(ref, data); });
  else
    take_over(context, shared_rings.rings[role.in_ring], progress,
              [&](std::uint64_t ref, const std::byte* data) {
                if (!stamps.right(ref, data)) track.bad.fetch_add(1);
              });
}

}  // namespace

int make_rings() {
  const int fd = ::memfd_create("arena-load-rings", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, sizeof(PeerRings)) != 0)
    throw LoadError(std::string("memory for the rings: ") + std::strerror(errno));
  return fd;
}

void run_peer_process(const Options& options, const Link& link, const PeerRole& role, int rings_fd,
                      Track& track, Shared& shared) {
  void* mapped =
      ::mmap(nullptr, sizeof(PeerRings), PROT_READ | PROT_WRITE, MAP_SHARED, rings_fd, 0);
  if (mapped == MAP_FAILED)
    throw LoadError(std::string("mapping the rings: ") + std::strerror(errno));
  const std::unique_ptr<PeerRings, Unmap> shared_rings(static_cast<PeerRings*>(mapped));
  auto& rings = shared_rings->rings;
  const std::vector<int> cores = allowed_cores();

  if (!wait_for_start(shared, track)) return;
  const auto body = [&](Progress& progress, Stop& end) {
    pin_to_core(cores[role.index % cores.size()]);
    PeerContext context(link.arena);
    if (role.frames != 0)
      frame_body(options, role, context, *shared_rings, track, progress, end);
    else if (role.in_ring >= 0 && role.out_ring >= 0)
      exchange_blocks(context, rings[role.out_ring], rings[role.in_ring], progress, end,
                      options.size_bytes);
    else if (role.out_ring >= 0)
      produce(context, rings[role.out_ring], end, options.size_bytes);
    else
      consume(context, rings[role.in_ring], progress);
  };
  watch_body(body, track, shared.stop, [&] { link.count_calls(track); });

  shared_rings->ended.fetch_add(1, std::memory_order_acq_rel);
  const auto deadline = std::chrono::steady_clock::now() + kOthersEndWithin;
  while (shared_rings->ended.load(std::memory_order_acquire) != role.workers) {
    if (std::chrono::steady_clock::now() > deadline)
      throw LoadError("the other worker processes did not end within 10 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace arenad::load
