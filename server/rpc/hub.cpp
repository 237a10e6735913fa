#include "rpc/hub.h"

#include "rpc/call_memory.h"
#include "rpc/connection.h"

namespace duet::server {

namespace {

constexpr std::size_t kFreeCallsMax = 256;  // what a few busy connections have under way
constexpr Duration kSweepInterval = std::chrono::seconds(1);

}  // namespace

Hub::Hub(Scheduler& on, std::vector<Program*> served, const ServiceOptions& limits)
    : scheduler(on),
      programs(std::move(served)),
      options(limits),
      pool(on, limits.receive_bytes_max),
      connections(on) {}

Call* Hub::take_call() {
  if (free_calls_.empty()) {
    return new Call();
  }
  Call* call = free_calls_.back().release();
  free_calls_.pop_back();
  return call;
}

void Hub::recycle(Call* call) {
  std::unique_ptr<Call> owned(call);
  owned->reset();
  if (free_calls_.size() < kFreeCallsMax) {
    free_calls_.push_back(std::move(owned));
  }
}

Program* Hub::find(std::uint32_t number) const {
  for (Program* program : programs) {
    if (program->number() == number) {
      return program;
    }
  }
  return nullptr;
}

bool Hub::admit(const filer::Address& address) {
  if (draining || clients_.of(address) >= options.connections_per_client_max) {
    return false;
  }
  if (statistics.connections >= options.connections_max) {
    if (!idle.empty()) {
      ++statistics.connections_evicted;
      idle.oldest().connection().close();
    } else if (!evict_oldest_record()) {
      return false;
    }
  }
  clients_.enter(address);
  ++statistics.connections;
  ++statistics.connections_accepted;
  return true;
}

void Hub::leave(const filer::Address& address) {
  clients_.leave(address);
  --statistics.connections;
}

bool Hub::evict_oldest_record() {
  if (receiving.empty() ||
      scheduler.now() - receiving.oldest().since() < options.evict_record_after) {
    return false;
  }
  ++statistics.connections_evicted;
  receiving.oldest().connection().close();
  return true;
}

// What a closed connection holds comes back in a later turn, so it is counted here.
void Hub::make_memory() {
  std::size_t coming = 0;
  while (!receiving.empty() && pool.over_limit_without(coming)) {
    coming += receiving.oldest().connection().chunk_bytes();
    if (!evict_oldest_record()) {
      break;
    }
  }
  watch_deadlines();
}

void Hub::watch_deadlines() {
  if (!sweep_.linked()) {
    scheduler.post_at(sweep_, scheduler.now() + kSweepInterval);
  }
}

void Hub::close_overdue(HookList& list, Duration timeout) {
  const Instant now = scheduler.now();
  while (!list.empty() && now - list.oldest().since() >= timeout) {
    ++statistics.connections_timed_out;
    list.oldest().connection().close();
  }
}

void Hub::sweep() {
  close_overdue(receiving, options.record_timeout);
  close_overdue(sending, options.reply_timeout);
  if (pool.awaited()) {
    make_memory();
  }
  if (!receiving.empty() || !sending.empty()) {
    watch_deadlines();
  }
}

}  // namespace duet::server
