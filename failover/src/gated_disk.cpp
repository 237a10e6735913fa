#include "failover/gated_disk.h"

#include <utility>

namespace duet::failover {

namespace {

constexpr Error kLost{Errc::kFenced, "the filer is not this node's any more"};

}  // namespace

void GatedDisk::open(std::uint64_t epoch) {
  DUET_CHECK(state_ == State::kClosed || state_ == State::kEnded);
  DUET_CHECK(under_way() == 0 && waiting_io_.empty() && waiting_commands_.empty());
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
  for (BlockOperation* const operation : std::exchange(waiting_io_, {})) {
    pass(*operation);
  }
  for (shelf::DiskCommand* const command : std::exchange(waiting_commands_, {})) {
    pass(*command);
  }
}

void GatedDisk::end() {
  state_ = State::kEnded;
  for (BlockOperation* const operation : std::exchange(waiting_io_, {})) {
    operation->result = kLost;
    scheduler_.post(*operation);
  }
  for (shelf::DiskCommand* const command : std::exchange(waiting_commands_, {})) {
    command->result = kLost;
    scheduler_.post(*command);
  }
}

Task<void> GatedDisk::quiet() {
  DUET_CHECK(state_ != State::kOpen);
  while (under_way() > 0) {
    co_await ended_.wait();
  }
}

void GatedDisk::start(BlockOperation& operation) {
  if (state_ == State::kClosed && operation.kind != BlockOperation::Kind::kWrite) {
    disk_.start(operation);
  } else if (state_ == State::kOpen) {
    pass(operation);
  } else if (state_ == State::kHeld) {
    waiting_io_.push_back(&operation);
  } else if (operation.kind == BlockOperation::Kind::kRead) {
    disk_.start(operation);
  } else {
    operation.result = kLost;
    scheduler_.post(operation);
  }
}

void GatedDisk::start_command(shelf::DiskCommand& command) {
  if (command.request.kind != shelf::DiskRequest::Kind::kWriteDurable) {
    disk_.start_command(command);
  } else if (state_ == State::kOpen) {
    pass(command);
  } else if (state_ == State::kHeld) {
    waiting_commands_.push_back(&command);
  } else {
    command.result = kLost;
    scheduler_.post(command);
  }
}

void GatedDisk::pass(BlockOperation& operation) {
  Io& io = io_.emplace_back(*this, operation);
  io.self = std::prev(io_.end());
  disk_.use_epoch(epoch_);
  disk_.start(io);
  disk_.use_epoch(0);
}

void GatedDisk::pass(shelf::DiskCommand& command) {
  Command& passed = commands_.emplace_back(*this, command);
  passed.self = std::prev(commands_.end());
  disk_.use_epoch(epoch_);
  disk_.start_command(passed);
  disk_.use_epoch(0);
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

void GatedDisk::finish(Io& io) {
  BlockOperation& original = io.original;
  const Status result = io.result;
  io_.erase(io.self);
  if (keep(result)) {
    waiting_io_.push_back(&original);
  } else {
    original.result = result;
    scheduler_.post(original);
  }
  ended_.wake_all();
}

void GatedDisk::finish(Command& command) {
  shelf::DiskCommand& original = command.original;
  const Status result = command.result;
  commands_.erase(command.self);
  if (keep(result)) {
    waiting_commands_.push_back(&original);
  } else {
    original.result = result;
    scheduler_.post(original);
  }
  ended_.wake_all();
}

}  // namespace duet::failover
