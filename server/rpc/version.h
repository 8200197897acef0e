// What --version and GetTopology say.
//
// Threads: constants. Crash: nothing is shared.
#pragma once

namespace arenad::server {

extern const char* const kVersion;    // of the project, e.g. "0.1.0"
extern const char* const kBuildType;  // CMAKE_BUILD_TYPE

}  // namespace arenad::server
