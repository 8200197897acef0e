#include "server/core/control/heap_trim.h"

#include <malloc.h>

#include <algorithm>

namespace arenad::server {

void HeapTrim::look() {
  // fordblks: free in all of malloc's arenas. Blocks that were given back stay in this sum until
  // they are used again, which is why due() compares with the lowest.
  if (due(::mallinfo2().fordblks)) ::malloc_trim(0);
}

bool HeapTrim::due(std::size_t free_bytes) {
  lowest_ = std::min(lowest_, free_bytes);
  const bool grows = free_bytes > last_;
  last_ = free_bytes;
  if (grows || free_bytes - lowest_ < kWorthIt) return false;
  lowest_ = free_bytes;
  return true;
}

}  // namespace arenad::server
