// The engine's interface: all that the gRPC layer (server/rpc) may ask of the engine (server/core).
//
// data_plane.h has ShardApi, control_plane.h has ControlApi, facts.h has what ControlApi answers.
// No gRPC and no protobuf type is in these headers, so the engine builds and runs under
// ThreadSanitizer and AddressSanitizer by itself.
#pragma once

#include "server/core/api/control_plane.h"
#include "server/core/api/data_plane.h"
