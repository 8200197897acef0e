#include "server/rpc/services/heap_messages.h"

namespace arenad::server {

Answer<LeaseArgs> args_from(const v1::LeaseSlabsRequest& request) {
  const auto arena = arena_from(request.arena_id());
  if (!arena.ok()) return arena.error();
  const auto heap = heap_from(request.heap_id());
  if (!heap.ok()) return heap.error();
  const auto size_class = class_from(request.size_class());
  if (!size_class.ok()) return size_class.error();
  LeaseArgs args;
  args.session = session_from(request.session());
  args.arena_id = *arena;
  args.epoch = {request.epoch()};
  args.heap_id = *heap;
  args.size_class = *size_class;
  args.count = request.count() == 0 ? 1 : request.count();
  args.span_units = request.span_units();
  args.wait_ms = request.wait_ms();
  return args;
}

Answer<ResumeArgs> args_from(const v1::ResumeRequest& request) {
  const auto heaps = heaps_from(request.heaps());
  if (!heaps.ok()) return heaps.error();
  ResumeArgs known;
  known.first_unit = request.first_unit();
  if (request.end_unit() != 0) known.end_unit = request.end_unit();
  known.slabs = slabs_from(request.slabs());
  known.heaps = *heaps;
  return known;
}

void fill(v1::LeaseSlabsResponse& response, const LeasedSlabs& leased) {
  add_slabs(*response.mutable_slabs(), leased.slabs);
}

void fill(v1::ReturnSlabsResponse& response, const ReturnedSlabs& returned) {
  response.set_returned(returned.returned);
  add_slabs(*response.mutable_refused(), returned.refused);
}

void fill(v1::ResumeResponse& response, const ResumedLeases& resumed) {
  response.set_taken_back(resumed.taken_back);
  add_slabs(*response.mutable_unknown(), resumed.unknown);
}

}  // namespace arenad::server
