#include "allocator/base/tunables.h"

#include <cstdlib>
#include <cstring>

namespace arenad {
namespace {

bool set_and_not_zero(const char* name) {
  const char* v = std::getenv(name);
  return v != nullptr && std::strcmp(v, "0") != 0;
}

bool unset_or_not_zero(const char* name) {
  const char* v = std::getenv(name);
  return v == nullptr || std::strcmp(v, "0") != 0;
}

}  // namespace

void Tunables::load_environment() {
  p0_enable = unset_or_not_zero("HAKMEM_TINY_P0_ENABLE");
  p0_disable = set_and_not_zero("HAKMEM_TINY_P0_DISABLE");
  p0_no_drain = set_and_not_zero("HAKMEM_TINY_P0_NO_DRAIN");
  p0_log = set_and_not_zero("HAKMEM_TINY_P0_LOG");
  guards_private = set_and_not_zero("ARENAD_GUARDS_PRIVATE");
}

Tunables& tunables() {
  static Tunables& instance = *[] {
    auto* t = new Tunables;  // never destroyed: heaps of static storage may outlive main
    t->load_environment();
    return t;
  }();
  return instance;
}

}  // namespace arenad
