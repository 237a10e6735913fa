#include "sim_initiator.h"

#include <cstring>
#include <utility>

#include "sim_connection.h"

namespace duet::shelf::testing {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(5);

std::vector<SimBlock> copy_of(std::span<const MutableBytes> parts, bool contents) {
  std::size_t bytes = 0;
  for (const MutableBytes part : parts) {
    bytes += part.size();
  }
  std::vector<SimBlock> data(bytes / kBlockBytes);
  auto* to = reinterpret_cast<std::byte*>(data.data());
  for (const MutableBytes part : parts) {
    if (contents) {
      std::memcpy(to, part.data(), part.size());
    }
    to += part.size();
  }
  return data;
}

}  // namespace

SimInitiator::SimInitiator(SimTarget& target, SimPath& path, DiskKey key, Scheduler& process)
    : target_(target), path_(path), key_(key), process_(process), watch_(*this) {
  lost_ = since_ = process.now();
}

SimInitiator::~SimInitiator() {
  if (connection_ != nullptr) {
    connection_->leave();
  }
}

std::uint64_t SimInitiator::block_count() const { return target_.data_.block_count(); }
std::string_view SimInitiator::name() const { return target_.data_.name(); }
DiskFeatures SimInitiator::features() const { return target_.options_.features; }

DiskHealth SimInitiator::health() const {
  return {.connected = entered_ || !was_connected_,
          .since = since_,
          .reconnects = reconnects_,
          .operations = waiting_.size(),
          .last_error = last_error_};
}

void SimInitiator::use_epoch(std::uint64_t epoch) {
  epoch_ = target_.options_.features.epochs ? epoch : 0;
}

void SimInitiator::start(BlockOperation& operation) {
  add({.operation = &operation, .epoch = epoch_});
}

void SimInitiator::start_command(DiskCommand& command) {
  const DiskFeatures& features = target_.options_.features;
  const DiskRequest& request = command.request;
  const bool refused =
      (request.kind == DiskRequest::Kind::kCompareAndSwap && !features.compare_and_swap) ||
      (request.kind == DiskRequest::Kind::kRaiseEpoch && !features.epochs) ||
      (request.reservation == Reservation::kExclusiveAccess && !features.exclusive_access);
  if (refused) {
    command.result = Error{Errc::kNotSupported, "the target does not offer it"};
    process_.post(command);
    return;
  }
  add({.command = &command, .epoch = epoch_});
}

void SimInitiator::add(const Waiting& waiting) {
  const bool first = waiting_.empty();
  Waiting& added = waiting_.emplace(++tag_, waiting).first->second;
  if (first) {
    heard_ = process_.now();
    if (!entered_) {
      lost_ = heard_;
    }
  }
  if (entered_) {
    send(tag_, added);
  } else if (connection_ == nullptr) {
    connection_ = &target_.dial(path_, *this, key_, ++number_);
  }
  watch_later();
}

void SimInitiator::send(std::uint64_t tag, Waiting& waiting) {
  auto request = std::make_unique<SimRequest>();
  request->tag = tag;
  request->repeated = std::exchange(waiting.sent, true);
  request->epoch = waiting.epoch;
  if (waiting.operation != nullptr) {
    const BlockOperation& operation = *waiting.operation;
    request->io = operation.kind;
    request->block = operation.block;
    request->data = copy_of(operation.parts, operation.kind == BlockOperation::Kind::kWrite);
  } else {
    const DiskRequest& command = waiting.command->request;
    request->command = command.kind;
    request->reservation = command.reservation;
    request->victim = command.victim;
    request->block = command.block;
    request->data = copy_of(command.parts, true);
    if (command.kind == DiskRequest::Kind::kRaiseEpoch) {
      request->epoch = command.epoch;
    }
    if (command.kind == DiskRequest::Kind::kCompareAndSwap) {
      DUET_CHECK(command.expected.size() == kBlockBytes && command.desired.size() == kBlockBytes);
      request->data.resize(2);
      copy_bytes(command.expected, request->data[0].bytes);
      copy_bytes(command.desired, request->data[1].bytes);
    }
  }
  connection_->send(std::move(request));
}

void SimInitiator::entered(SimConnection& connection, const Status& result) {
  DUET_CHECK(&connection == connection_);
  heard_ = process_.now();
  if (!result.ok()) {
    connection_->leave();
    disconnected(result.error().context);
    if (result.error().code == Errc::kFenced) {
      fail_all(result.error());
    }
    return;
  }
  entered_ = true;
  since_ = heard_;
  reconnects_ += std::exchange(was_connected_, true) ? 1 : 0;
  for (auto& [tag, waiting] : waiting_) {
    send(tag, waiting);
  }
}

void SimInitiator::answered(SimConnection& connection, SimReply& reply) {
  DUET_CHECK(&connection == connection_);
  heard_ = process_.now();
  const auto found = waiting_.find(reply.tag);
  DUET_CHECK(found != waiting_.end());
  if (!reply.result.ok() && reply.result.error().code == Errc::kClosed) {
    return;  // the session was closed under us: send it again in the next one
  }
  Waiting waiting = found->second;
  waiting_.erase(found);
  if (waiting.operation != nullptr && waiting.operation->kind == BlockOperation::Kind::kRead) {
    const auto* from = reinterpret_cast<const std::byte*>(reply.data.data());
    for (const MutableBytes part : waiting.operation->parts) {
      if (!reply.result.ok()) {
        break;
      }
      std::memcpy(part.data(), from, part.size());
      from += part.size();
    }
  }
  if (waiting.command != nullptr) {
    waiting.command->state = std::move(reply.state);
  }
  complete(waiting, reply.result);
}

void SimInitiator::complete(Waiting& waiting, const Status& result) {
  if (waiting.operation != nullptr) {
    waiting.operation->result = result;
    process_.post(*waiting.operation);
  } else {
    waiting.command->result = result;
    process_.post(*waiting.command);
  }
}

void SimInitiator::fail_all(const Error& error) {
  for (auto& [tag, waiting] : std::exchange(waiting_, {})) {
    complete(waiting, error);
  }
}

void SimInitiator::lost(SimConnection& connection, std::string_view why) {
  DUET_CHECK(&connection == connection_);
  disconnected(why);
}

void SimInitiator::disconnected(std::string_view why) {
  connection_ = nullptr;
  if (std::exchange(entered_, false)) {
    lost_ = since_ = process_.now();
  }
  last_error_ = why;
  watch_later();
}

void SimInitiator::watch_later() {
  if (!waiting_.empty() && !watch_.linked()) {
    process_.post_at(watch_, process_.now() + kLook);
  }
}

void SimInitiator::watch() {
  const Instant now = process_.now();
  const SimTargetOptions& options = target_.options_;
  if (connection_ != nullptr && now - heard_ > options.silence) {
    connection_->leave();
    disconnected("the shelf does not answer");
  }
  if (!entered_ && now - lost_ > options.fail_after) {
    fail_all({Errc::kIo, "the shelf is lost"});
  }
  if (connection_ == nullptr && !waiting_.empty()) {
    heard_ = now;
    connection_ = &target_.dial(path_, *this, key_, ++number_);
  }
  watch_later();
}

}  // namespace duet::shelf::testing
