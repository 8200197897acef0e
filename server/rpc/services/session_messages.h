// The messages of Sessions.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include "arenad/v1/sessions.pb.h"
#include "server/core/api/api.h"

namespace arenad::server {

// A number that is no known mode becomes kNone. The control thread refuses it.
AttachMode mode_from(const v1::AttachArenaRequest& request);

void fill(v1::OpenSessionResponse& out, const OpenedSession& opened);
void fill(v1::AttachArenaResponse& out, const AttachedArena& attached);
void fill(v1::ListSessionsResponse& out, const Page<SessionFacts>& page);

}  // namespace arenad::server
