#include "server/rpc/version.h"

namespace arenad::server {

const char* const kVersion = ARENAD_VERSION;
const char* const kBuildType = ARENAD_BUILD_TYPE;

}  // namespace arenad::server
