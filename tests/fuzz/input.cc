#include "tests/fuzz/input.h"

#include <cstdio>
#include <cstdlib>

namespace arenad::fuzz {

void broken(const char* condition, const char* text, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken: %s (%s)\n", file, line, text, condition);
  std::abort();
}

}  // namespace arenad::fuzz
