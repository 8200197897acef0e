#include "client/load/link.h"

#include <chrono>
#include <cstring>

namespace arenad::load {

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

client::ShardId shard_of(const Options& options, const client::Client& client,
                         std::uint32_t index) {
  const auto count = static_cast<std::uint32_t>(client.topology().shards.size());
  if (!options.shards.empty())
    return {static_cast<std::uint16_t>(options.shards[index % options.shards.size()])};
  return count == 0 ? client::kAnyShard
                    : client::ShardId{static_cast<std::uint16_t>(index % count)};
}

Link Link::open(const Options& options, const std::string& arena, const std::string& name,
                std::uint32_t index, Track& track) {
  Link link;
  link.client = or_throw(client::Client::connect(options.socket), "connect");
  link.session = or_throw(client::Session::open(link.client, {.name = name}), "open a session");
  track.session.store(link.session.id().value);
  const client::AttachOptions through{.shard = shard_of(options, link.client, index)};
  if (options.mode == Mode::kPeer) {
    link.arena =
        or_throw(link.session.attach(arena, client::AttachMode::kPeer, through), "attach as peer");
    return link;
  }
  auto attached = link.session.attach(arena, client::AttachMode::kWriter, through);
  const bool no_handoff = !attached.ok() && attached.error().reason == Error::kNone;
  if (no_handoff) attached = link.session.attach(arena, client::AttachMode::kRemote, through);
  link.arena = or_throw(std::move(attached), "attach");
  return link;
}

void Link::close(Track& track) {
  const auto given_back = or_throw(session.close(), "close the session");
  if (given_back.blocks != 0) track.left_held.fetch_add(given_back.blocks);
}

BlockIo::BlockIo(const Link& link, Mode mode, std::uint32_t batch, Track& track)
    : link_(link), arena_(link.arena), batch_(batch), track_(track) {
  if (mode == Mode::kExchange)
    stream_ = or_throw(client::Exchange::open(arena_, {.own_connection = true}), "open a stream");
}

void BlockIo::timed(std::uint64_t begin_ns) {
  track_.latency.record(now_ns() - begin_ns);
  link_.count_calls(track_);
}

void BlockIo::allocate(std::uint64_t size, std::uint32_t count,
                       std::vector<client::AllocatedBlock>& out) {
  out.clear();
  for (std::uint32_t done = 0; done < count;) {
    const std::uint32_t n = std::min(batch_, count - done);
    const std::uint64_t begin = now_ns();
    if (stream_) {
      or_throw(stream_->allocate(size, n), "allocate");
      or_throw(stream_->receive(reply_), "allocate");
      or_throw(reply_.status, "allocate");
      out.insert(out.end(), reply_.blocks.begin(), reply_.blocks.end());
    } else {
      const auto blocks = or_throw(arena_.allocate_many(size, n), "allocate");
      out.insert(out.end(), blocks.begin(), blocks.end());
    }
    timed(begin);
    done += n;
  }
}

void BlockIo::allocate_sizes(std::span<const std::uint64_t> sizes,
                             std::vector<client::AllocatedBlock>& out) {
  const std::uint64_t begin = now_ns();
  if (stream_) {
    or_throw(stream_->allocate_sizes(sizes), "allocate");
    or_throw(stream_->receive(reply_), "allocate");
    or_throw(reply_.status, "allocate");
    out = reply_.blocks;
  } else {
    out = or_throw(arena_.allocate_sizes(sizes), "allocate");
  }
  timed(begin);
}

void BlockIo::free(std::span<const Ref> refs) {
  while (!refs.empty()) {
    const auto part = refs.first(std::min<std::size_t>(batch_, refs.size()));
    refs = refs.subspan(part.size());
    const std::uint64_t begin = now_ns();
    client::BatchAnswer answer;
    if (stream_) {
      or_throw(stream_->free(part), "free");
      or_throw(stream_->receive(reply_), "free");
      or_throw(reply_.status, "free");
      answer = reply_.batch;
    } else {
      answer = or_throw(arena_.free(part), "free");
    }
    timed(begin);
    if (!answer.all()) throw LoadError("free: " + answer.errors.front().status.text());
  }
}

std::uint64_t stamp_of(std::uint64_t ref, std::uint64_t seed) {
  return (ref ^ seed) * 0x9e3779b97f4a7c15;
}

void stamp(const client::ArenaHandle& arena, const client::AllocatedBlock& block,
           std::uint64_t seed) {
  const auto data = arena.writable_data();
  if (block.usable_bytes < 8 || block.offset_bytes + 8 > data.size()) return;
  const std::uint64_t value = stamp_of(block.ref.value, seed);
  std::memcpy(data.data() + block.offset_bytes, &value, 8);
}

bool stamped(const client::ArenaHandle& arena, std::uint64_t ref, std::uint64_t offset,
             std::uint64_t size, std::uint64_t seed) {
  const auto data = arena.data();
  if (data.empty() || size < 8) return true;
  if (offset + 8 > data.size()) return false;
  std::uint64_t value;
  std::memcpy(&value, data.data() + offset, 8);
  return value == stamp_of(ref, seed);
}

}  // namespace arenad::load
