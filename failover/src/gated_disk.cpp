#include "failover/gated_disk.h"

#include <utility>

namespace duet::failover {

namespace {

constexpr Error kLost{Errc::kFenced, "the filer is not this node's any more"};

}  // namespace

void GatedDisk::open(std::uint64_t epoch) {
  DUET_CHECK(state_ == State::kClosed || state_ == State::kEnded);
  DUET_CHECK(under_way() == 0 && io_.waiting.empty() && commands_.waiting.empty() &&
             others_.waiting.empty());
  state_ = State::kOpen;
  epoch_ = epoch;
  if (!shared_) {
    disk_.begin_anew();  // of an earlier opening only what its root says counts
  }
}

void GatedDisk::hold() {
  if (state_ == State::kOpen) {
    state_ = State::kHeld;
  }
}

void GatedDisk::resume() {
  if (state_ != State::kHeld) {
    return;
  }
  state_ = State::kOpen;
  pass_waiting(io_);
  pass_waiting(commands_);
  pass_waiting(others_);
}

void GatedDisk::end() {
  state_ = State::kEnded;
  refuse_waiting(io_);
  refuse_waiting(commands_);
  refuse_waiting(others_);
}

Task<void> GatedDisk::quiet() {
  DUET_CHECK(state_ != State::kOpen);
  while (under_way() > 0) {
    co_await ended_.wait();
  }
}

void GatedDisk::start(BlockOperation& operation) {
  const bool open = state_ == State::kOpen || state_ == State::kHeld;
  const bool looks = operation.kind == BlockOperation::Kind::kRead ||
                     (operation.kind == BlockOperation::Kind::kFlush && state_ == State::kClosed);
  if (!open && looks) {
    disk_.start(operation);
  } else {
    admit(io_, operation);
  }
}

void GatedDisk::start_command(shelf::DiskCommand& command) {
  if (command.request.kind != shelf::DiskRequest::Kind::kWriteDurable) {
    disk_.start_command(command);
  } else {
    admit(commands_, command);
  }
}

void GatedDisk::start(Redundancy::Operation& operation) {
  const bool open = state_ == State::kOpen || state_ == State::kHeld;
  if (!open && operation.kind == Redundancy::Operation::Kind::kReadOther) {
    disk_.redundancy()->start(operation);
  } else {
    admit(others_, operation);
  }
}

void GatedDisk::set_needed(Needed needed) {
  if (!needed) {
    disk_.redundancy()->set_needed(nullptr);
    return;
  }
  // Of a filer that may be another's by now nothing counts that it knows.
  disk_.redundancy()->set_needed(
      [this, needed = std::move(needed)](std::uint64_t first, std::uint64_t blocks) {
        return state_ != State::kOpen || needed(first, blocks);
      });
}

template <typename Passed>
void GatedDisk::admit(Lane<Passed>& lane, typename Passed::Original& operation) {
  if (state_ == State::kOpen) {
    pass(lane, operation);
  } else if (state_ == State::kHeld) {
    lane.waiting.push_back(&operation);
  } else {
    operation.result = kLost;
    scheduler_.post(operation);
  }
}

template <typename Passed>
void GatedDisk::pass(Lane<Passed>& lane, typename Passed::Original& operation) {
  Passed& passed = lane.under_way.emplace_back(*this, operation);
  passed.self = std::prev(lane.under_way.end());
  disk_.use_epoch(epoch_);
  passed.send();
  disk_.use_epoch(0);
}

template <typename Passed>
void GatedDisk::pass_waiting(Lane<Passed>& lane) {
  for (auto* const operation : std::exchange(lane.waiting, {})) {
    pass(lane, *operation);
  }
}

template <typename Passed>
void GatedDisk::refuse_waiting(Lane<Passed>& lane) {
  for (auto* const operation : std::exchange(lane.waiting, {})) {
    operation->result = kLost;
    scheduler_.post(*operation);
  }
}

// Whether what was refused is kept until the pair has decided.
bool GatedDisk::keep(const Status& result) {
  if (result.ok() || result.error().code != Errc::kFenced || state_ == State::kEnded) {
    return false;
  }
  hold();
  if (on_fenced) {
    on_fenced();
  }
  return state_ == State::kHeld;
}

template <typename Passed>
void GatedDisk::finish(Lane<Passed>& lane, Passed& passed) {
  typename Passed::Original& original = passed.original;
  const Status result = passed.result;
  lane.under_way.erase(passed.self);
  if (keep(result)) {
    lane.waiting.push_back(&original);
  } else {
    original.result = result;
    scheduler_.post(original);
  }
  ended_.wake_all();
}

}  // namespace duet::failover
