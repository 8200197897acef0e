// A program that links the allocator alone. usage: allocator
#include <arenad/allocator/arena/arena.h>
#include <arenad/allocator/check/verify.h>
#include <arenad/allocator/heap/heap.h>
#include <arenad/version.h>

#include <cstdio>
#include <cstring>

int main() {
  using namespace arenad;
  ArenaConfig config;
  config.name = "frames";
  config.capacity_bytes = 64 << 20;
  auto arena = Arena::create(config);
  if (!arena) return std::fprintf(stderr, "%s\n", arena.error().message.c_str()), 1;
  Heap mine(**arena, HeapId{0}, SessionId{1});
  Heap other(**arena, HeapId{1}, SessionId{2});
  const auto block = mine.allocate(1000, Holder{SessionId{1}, 42});
  if (!block) return std::fprintf(stderr, "%s\n", error_advice(block.error())), 1;
  std::memcpy((*arena)->data() + block->offset, "hello", 6);
  if (other.free(block->ref) != Error::kNone) return 1;
  other.publish();
  mine.trim();
  const Heap* heaps[] = {&mine, &other};
  if (!verify(**arena, heaps).exact()) return 1;
  std::printf("arenad %s: allocator works\n", kVersion);
  return 0;
}
