// A shared object that links the client library. plugin_host loads it with dlopen.
#include "exchange_blocks.h"

extern "C" [[gnu::visibility("default")]] int plugin_run(const char* directory, const char* arena) {
  return exchange_blocks(directory, arena);
}
