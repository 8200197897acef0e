// The arenad client library. Link arenad_client. A first program:
//
//   using namespace arenad::client;
//   auto client = Client::connect("/run/arenad");
//   if (!client) { std::cerr << client.error().text() << '\n'; return 1; }
//   auto session = Session::open(*client);
//   auto arena = session->attach("frames", AttachMode::kPeer);  // heaps in this process
//   auto block = arena->allocate(4096);                         // nanoseconds, no call
//   std::memcpy(block->data(), "hello", 6);                     // other processes see it
//   send_somehow(block->release());  // the ref, 64 bits; the receiver calls arena->take(ref)
//
// The program ends with the failure's text when it uses the value of a failed answer; test ok()
// where your program can do better. See client/README.md. A program that includes this header needs
// no header of gRPC or protobuf.
#pragma once

#include "arenad/admin.h"         // IWYU pragma: export
#include "arenad/arena_handle.h"  // IWYU pragma: export
#include "arenad/block.h"         // IWYU pragma: export
#include "arenad/call_pump.h"     // IWYU pragma: export
#include "arenad/client.h"        // IWYU pragma: export
#include "arenad/exchange.h"      // IWYU pragma: export
#include "arenad/offset_ptr.h"    // IWYU pragma: export
#include "arenad/pmr.h"           // IWYU pragma: export
#include "arenad/session.h"       // IWYU pragma: export
#include "arenad/status.h"        // IWYU pragma: export
#include "arenad/types.h"         // IWYU pragma: export
