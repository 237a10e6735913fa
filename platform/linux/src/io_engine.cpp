#include "io_engine.h"

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/check.h"
#include "os_error.h"

namespace duet::os {

void Transfer::begin(IoClient& owner, BlockOperation& what) {
  client = &owner;
  operation = &what;
  operation->result = Ok{};
  offset = what.block * kBlockBytes;
  parts = what.parts;
  moved_of_first = 0;
  gather();
}

void Transfer::gather() {
  const std::size_t count = std::min<std::size_t>(parts.size(), IOV_MAX);
  vectors.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    vectors[i] = {parts[i].data(), parts[i].size()};
  }
  if (count > 0) {
    vectors[0].iov_base = parts[0].data() + moved_of_first;
    vectors[0].iov_len -= moved_of_first;
  }
}

bool Transfer::advance(std::int64_t outcome) {
  if (outcome == -EINTR || outcome == -EAGAIN) {
    return false;
  }
  if (outcome < 0) {
    const Error error = os_error(static_cast<int>(-outcome));
    operation->result = Error{error.code == Errc::kFenced ? error.code : Errc::kIo, error.context};
    return true;
  }
  if (operation->kind == BlockOperation::Kind::kFlush) {
    return true;
  }
  if (outcome == 0) {
    operation->result = Error{Errc::kIo, "the disk ends before the block"};
    return true;
  }
  auto moved = static_cast<std::size_t>(outcome);
  offset += moved;
  moved += moved_of_first;
  while (!parts.empty() && moved >= parts.front().size()) {
    moved -= parts.front().size();
    parts = parts.subspan(1);
  }
  moved_of_first = moved;
  if (parts.empty()) {
    return true;
  }
  gather();
  return false;
}

void IoEngine::start(IoClient& client, BlockOperation& operation) {
  if (free_.empty()) {
    free_.push_back(all_.emplace_back(std::make_unique<Transfer>()).get());
  }
  Transfer& transfer = *free_.back();
  free_.pop_back();
  transfer.begin(client, operation);
  ++client.under_way;
  if (transfer.parts.empty() && operation.kind != BlockOperation::Kind::kFlush) {
    finish(transfer);
    return;
  }
  queued_.push_back(&transfer);
  submit_later();
}

void IoEngine::submit_later() {
  if (!submitter_.linked()) {
    scheduler_.post_last(submitter_);
  }
}

void IoEngine::drain(IoClient& client) {
  while (client.under_way > 0) {
    submit();
    if (client.under_way > 0) {
      wait_for_one();
    }
  }
}

void IoEngine::take_outcome(Transfer& transfer, std::int64_t outcome) {
  if (transfer.advance(outcome)) {
    finish(transfer);
    return;
  }
  queued_.push_front(&transfer);
  submit_later();
}

void IoEngine::finish(Transfer& transfer) {
  DUET_CHECK(transfer.client->under_way > 0);
  --transfer.client->under_way;
  scheduler_.post(*transfer.operation);
  free_.push_back(&transfer);
}

std::shared_ptr<IoEngine> shared_engine(EpollScheduler& scheduler, bool thread_pool) {
  std::weak_ptr<IoEngine>& slot = scheduler.engines_[thread_pool ? 1 : 0];
  if (std::shared_ptr<IoEngine> engine = slot.lock()) {
    return engine;
  }
  std::shared_ptr<IoEngine> engine = thread_pool ? nullptr : make_ring_engine(scheduler);
  if (engine == nullptr) {
    engine = make_pool_engine(scheduler);
  }
  slot = engine;
  return engine;
}

}  // namespace duet::os
