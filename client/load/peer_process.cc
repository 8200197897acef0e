#include "client/load/peer_process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "client/load/kernels/cores.h"
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
    if (role.in_ring >= 0 && role.out_ring >= 0)
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
