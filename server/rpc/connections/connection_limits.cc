#include "server/rpc/connections/connection_limits.h"

namespace arenad::server {

void ConnectionLimits::unknown_call(std::string_view peer) {
  const int number = descriptor_of(peer);
  if (number < 0) return;
  Counts& counts = counts_[number];
  if (++counts.unknown_calls >= kMostUnknownCalls)
    cut(number, counts, "it makes calls of unknown methods without end");
}

int ConnectionLimits::charge(int number) {
  if (number < 0) return kNotCharged;
  Counts& counts = counts_[number];
  if (counts.untaken == 0) counts.taken_ns = clock_();
  if (++counts.untaken < kManyUntaken) return number;
  if (counts.untaken >= kMostUntaken || clock_() - counts.taken_ns >= kPatienceNs)
    cut(number, counts, "it does not take its answers");
  return number;
}

void ConnectionLimits::discharge(int number) {
  const auto found = counts_.find(number);
  if (found == counts_.end() || found->second.untaken == 0) return;
  --found->second.untaken;
  found->second.taken_ns = clock_();
}

void ConnectionLimits::cut(int number, Counts& counts, const char* why) {
  if (!std::exchange(counts.cut, true)) cut_(number, why);
}

}  // namespace arenad::server
