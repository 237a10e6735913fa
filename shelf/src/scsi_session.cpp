// Commands on their way, and what becomes of them when a session ends.

#include <algorithm>

#include "scsi_call.h"
#include "shelf/scsi_disk.h"

namespace duet::shelf {

namespace {

constexpr Error kLostError{Errc::kIo, "the session with the target is lost"};
constexpr Error kForgotten{Errc::kFenced, "the unit has forgotten this node's key"};
constexpr Error kUnsettled{Errc::kIo, "the session was lost, and the unit cannot be reset"};

}  // namespace

DiskHealth ScsiDisk::health() const {
  const bool connected = up_ && transport_->connected();
  return {.connected = connected,
          .since = since_,
          .reconnects = recoveries_,
          .operations = operations_.size() + direct_.size() + commands_under_way_.size(),
          .last_error = connected ? "" : transport_->last_error()};
}

void ScsiDisk::begin_anew() {
  flushed_ = written_;
  lost_writes_ = false;
}

bool ScsiDisk::given_up() const { return !up_ && scheduler_.now() - since_ >= options_.fail_after; }

// ------------------------------------------------------------------------------ commands

Task<Status> ScsiDisk::call(Call& call, bool* repeated) {
  const Instant begun = scheduler_.now();
  bool unsettled = false;  // an attempt that writes was lost
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    while ((resetting_ || !up_) && !call.recovers) {
      if (given_up()) {
        co_return kLostError;
      }
      co_await changed_.wait();
    }
    if (call.for_data && key_lost_) {
      co_return kForgotten;
    }
    if (unsettled && !settled_) {
      co_return kUnsettled;
    }
    const std::uint64_t losses = losses_;
    writing_ += call.writes ? 1 : 0;
    co_await Call::Await(*transport_, call);
    const bool first_to_know = call.status == ScsiStatus::kLost && losses == losses_;
    if (first_to_know && transport_->reconnects() && !call.recovers) {
      session_lost();
    }
    writing_ -= call.writes ? 1 : 0;
    switch (call.status) {
      case ScsiStatus::kGood:
        co_return Ok{};
      case ScsiStatus::kReservationConflict:
        co_return Error{Errc::kFenced, "a reservation conflict"};
      case ScsiStatus::kLost:
        if (!transport_->reconnects() || call.recovers) {
          co_return kLostError;
        }
        unsettled = unsettled || call.writes;
        if (repeated != nullptr) {
          *repeated = true;
        }
        continue;
      case ScsiStatus::kBusy:
      case ScsiStatus::kTaskSetFull:
        co_await sleep(scheduler_, kBusyPause);
        continue;
      case ScsiStatus::kTaskAborted:
      case ScsiStatus::kCancelled:
        // It ends with the reset, which may fail yet.
        unsettled = unsettled || (call.writes && call.status == ScsiStatus::kCancelled);
        if (repeated != nullptr) {
          *repeated = true;
        }
        if (scheduler_.now() - begun > options_.fail_after) {
          co_return Error{Errc::kIo, "the unit does not do the command"};
        }
        continue;
      case ScsiStatus::kCheckCondition:
        break;
    }
    if (call.sense_key == kUnitAttention) {
      continue;  // said before the command is looked at
    }
    if (call.sense_key == kAbortedCommand) {
      if (repeated != nullptr) {
        *repeated = true;
      }
      continue;
    }
    switch (call.sense_key) {
      case kMiscompare:
        co_return Error{Errc::kOutOfSync, "the block holds something else"};
      case kIllegalRequest:
        co_return Error{Errc::kNotSupported, "the unit does not know the command"};
      default:
        co_return Error{Errc::kIo, "the unit failed the command"};
    }
  }
  co_return Error{Errc::kIo, "the unit stays busy"};
}

Task<bool> ScsiDisk::reset_once() {
  resetting_ = true;
  const bool done = co_await ResetAwait(*transport_);
  resetting_ = false;
  settled_ = done;
  unsettled_ = unsettled_ || !done;
  changed_.wake_all();
  co_return done;
}

Task<Status> ScsiDisk::reset() {
  for (;;) {
    while (resetting_ || !up_) {
      if (given_up()) {
        co_return kLostError;
      }
      co_await changed_.wait();
    }
    const bool done = co_await reset_once();
    if (done) {
      co_return Ok{};
    }
    if (transport_->connected() || !transport_->reconnects()) {
      co_return Error{Errc::kIo, "the unit could not be reset"};
    }
    session_lost();
  }
}

// ------------------------------------------------------------------------------ sessions

void ScsiDisk::session_changed() {
  if (!transport_->connected()) {
    session_lost();
  } else if (!up_ && !recovering_) {
    recovering_ = true;
    scope_.spawn(recover());
  }
}

void ScsiDisk::session_lost() {
  if (!up_) {
    return;
  }
  up_ = false;
  ++losses_;
  unsettled_ = unsettled_ || writing_ > 0;
  since_ = scheduler_.now();
  scheduler_.post_at(patience_, since_ + options_.fail_after);
  if (transport_->connected()) {
    session_changed();
  }
}

// What is to be known before anything is sent in a new session.
Task<void> ScsiDisk::recover() {
  while (transport_->connected()) {
    const bool begun = co_await begin_session();
    if (begun) {
      break;
    }
    co_await sleep(scheduler_, kBusyPause);
  }
  recovering_ = false;
  if (!transport_->connected()) {
    co_return;  // the next session begins it anew
  }
  up_ = true;
  since_ = scheduler_.now();
  ++recoveries_;
  patience_.unlink();
  changed_.wake_all();
}

Task<bool> ScsiDisk::begin_session() {
  if (unsettled_) {
    const bool done = co_await reset_once();
    if (!done && !transport_->connected()) {
      co_return false;
    }
  }
  if (registered_) {
    const Result<DiskState> now = co_await state(true);
    if (!now.ok()) {
      co_return false;
    }
    key_lost_ = !std::ranges::binary_search(now.value().keys, options_.key);
  }
  unsettled_ = false;
  lost_writes_ = lost_writes_ || (volatile_cache_ && written_ > flushed_);
  co_return true;
}

}  // namespace duet::shelf
