#include "shelf/target.h"

#include <algorithm>
#include <utility>

#include "shelf/label_format.h"

namespace duet::shelf {

namespace {

constexpr Error kRemoved{Errc::kFenced, "this node's key is not registered"};
constexpr Error kOldEpoch{Errc::kFenced, "the epoch is older than the disk's"};

std::uint64_t blocks_of(std::span<const MutableBytes> parts) {
  std::uint64_t bytes = 0;
  for (const MutableBytes part : parts) {
    bytes += part.size();
  }
  return bytes / kBlockBytes;
}

}  // namespace

// One operation from admission to completion, in place of the session's own.
struct Target::Io final : BlockOperation {
  explicit Io(Target& owner) : target(owner) {}
  void run() override { target.finish(*this); }

  Target& target;
  Session* session = nullptr;  // null: free
  BlockOperation* original = nullptr;
  std::uint64_t epoch = 0;
  std::uint64_t started = 0;
  bool durable = false;  // a write that a flush follows
};

Target::Target(Scheduler& scheduler, BlockDevice& disk, BlockDevice& label)
    : scheduler_(scheduler),
      disk_(disk),
      label_(label),
      buffer_(std::make_unique<Buffer>()),
      ended_(scheduler),
      commands_(scheduler),
      scope_(scheduler) {}

Target::~Target() = default;

Task<Result<std::unique_ptr<Target>>> Target::open(Scheduler& scheduler, BlockDevice& disk,
                                                   BlockDevice& label) {
  std::unique_ptr<Target> target(new Target(scheduler, disk, label));
  const Status loaded = co_await target->label_.load();
  if (!loaded.ok()) {
    co_return loaded.error();
  }
  if (target->identity().blocks > disk.block_count()) {
    co_return Error{Errc::kForeign, "the shelf label is of a larger disk"};
  }
  target->state_ = target->label_.state();
  co_return target;
}

DiskFeatures Target::features() {
  return {.survives_power_loss = true,
          .drains_on_abort = true,
          .exclusive_access = true,
          .compare_and_swap = true,
          .epochs = true};
}

void Target::tell(const TargetEvent& event) const {
  if (observer_) {
    observer_(event);
  }
}

bool Target::registered(DiskKey key) const { return std::ranges::binary_search(state_.keys, key); }

// ------------------------------------------------------------------------------- sessions

Task<Result<std::unique_ptr<Target::Session>>> Target::enter(Initiator initiator) {
  if (initiator.key == kNoKey) {
    co_return Error{Errc::kInvalid, "a node without a key"};
  }
  const AsyncMutex::Guard guard = co_await commands_.lock();
  const auto same_node = [&](const Session* session) {
    return node_of(session->key_) == node_of(initiator.key);
  };
  const auto older = std::ranges::find_if(sessions_, same_node);
  TargetEvent event{.kind = TargetEvent::Kind::kEntered, .who = initiator.key};
  if (older != sessions_.end()) {
    Session& old = **older;
    if (std::pair(old.key_, old.number_) >= std::pair(initiator.key, initiator.number)) {
      co_return Error{Errc::kFenced, "a newer session of this node is there"};
    }
    old.replaced_ = true;
    event.kind = TargetEvent::Kind::kReplaced;
    event.other = old.key_;
    old.close();
    ++counters_.replaced;
  }
  // Not only of the one just closed: one that was closed before may still have I/O under way.
  const DiskKey key = initiator.key;
  const auto of_node = [key](const Io& io) { return node_of(io.session->key_) == node_of(key); };
  co_await drain(of_node);
  ++counters_.sessions;
  std::unique_ptr<Session> session(new Session(*this, initiator));
  sessions_.push_back(session.get());
  tell(event);
  co_return session;
}

void Target::remove(Session& session) { std::erase(sessions_, &session); }

Target::Session::Session(Target& target, Initiator initiator)
    : target_(target),
      key_(initiator.key),
      number_(initiator.number),
      closing_(target.scheduler_) {}

Target::Session::~Session() { close(); }

void Target::Session::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  target_.remove(*this);
  closing_.wake_all();
}

Task<void> Target::Session::wait_closed() {
  while (!closed_) {
    co_await closing_.wait();
  }
}

Task<void> Target::Session::drained() {
  while (under_way() > 0) {
    co_await target_.ended_.wait();
  }
}

// ------------------------------------------------------------------------------------ I/O

Status Target::admit(const Session& session, bool read, std::uint64_t epoch) {
  if (session.closed_) {
    return session.replaced_ ? Error{Errc::kFenced, "a newer session of this node is there"}
                             : Error{Errc::kClosed, "the session is closed"};
  }
  const Reservation reservation = state_.reservation;
  const bool needs_key = reservation == Reservation::kExclusiveAccess ||
                         (reservation == Reservation::kWriteExclusive && !read);
  if (needs_key && !registered(session.key_)) {
    return kRemoved;
  }
  if (epoch != 0 && epoch < state_.epoch) {
    return kOldEpoch;
  }
  return Ok{};
}

void Target::Session::start(BlockOperation& operation, std::uint64_t epoch) {
  Io& io = target_.take_io();
  io.session = this;
  io.original = &operation;
  io.epoch = epoch;
  io.durable = false;
  io.kind = operation.kind;
  io.block = operation.block;
  io.parts = operation.parts;
  target_.start(io);
}

void Target::Session::start_durable(BlockOperation& write, std::uint64_t epoch) {
  DUET_CHECK(write.kind == BlockOperation::Kind::kWrite);
  Io& io = target_.take_io();
  io.session = this;
  io.original = &write;
  io.epoch = epoch;
  io.durable = true;
  io.kind = write.kind;
  io.block = write.block;
  io.parts = write.parts;
  target_.start(io);
}

Target::Io& Target::take_io() {
  if (free_.empty()) {
    free_.push_back(all_.emplace_back(std::make_unique<Io>(*this)).get());
  }
  Io& io = *free_.back();
  free_.pop_back();
  return io;
}

void Target::start(Io& io) {
  ++io.session->io_;
  io.started = ++started_;
  if (held_by_swap(io)) {
    parked_.push_back(&io);
    return;
  }
  submit(io);
}

void Target::submit(Io& io) {
  const Status admitted = admit(*io.session, io.kind == BlockOperation::Kind::kRead, io.epoch);
  if (!admitted.ok()) {
    counters_.fenced += admitted.error().code == Errc::kFenced ? 1 : 0;
    io.result = admitted;
    scheduler_.post(io);
    return;
  }
  switch (io.kind) {
    case BlockOperation::Kind::kRead:
      ++counters_.reads;
      break;
    case BlockOperation::Kind::kWrite:
      ++counters_.writes;
      break;
    case BlockOperation::Kind::kFlush:
      ++counters_.flushes;
      break;
  }
  disk_.start(io);
}

void Target::finish(Io& io) {
  if (io.durable && io.result.ok()) {
    io.durable = false;
    io.kind = BlockOperation::Kind::kFlush;  // it keeps its block and parts: a swap looks at them
    disk_.start(io);
    return;
  }
  Session& session = *std::exchange(io.session, nullptr);
  BlockOperation& original = *io.original;
  original.result = io.result;
  free_.push_back(&io);
  --session.io_;
  if (!ended_.empty()) {
    ended_.wake_all();
  }
  original.run();
}

bool Target::held_by_swap(const Io& io) const {
  return swapping_ && io.kind == BlockOperation::Kind::kWrite && *swapping_ >= io.block &&
         *swapping_ - io.block < blocks_of(io.parts);
}

void Target::unpark() {
  swapping_.reset();
  for (Io* io : std::exchange(parked_, {})) {
    submit(*io);
  }
}

// Resumes when all I/O of which `which` holds, and that has started before, has ended.
template <typename Which>
Task<void> Target::drain(Which which) {
  const std::uint64_t last = started_;
  const auto waits_for = [&](const std::unique_ptr<Io>& io) {
    return io->session != nullptr && io->started <= last && which(*io);
  };
  while (std::ranges::any_of(all_, waits_for)) {
    co_await ended_.wait();
  }
}

// ------------------------------------------------------------------------------- commands

void Target::Session::start_command(DiskCommand& command, bool repeated) {
  DUET_CHECK(command.request.kind != DiskRequest::Kind::kWriteDurable);
  ++commands_;
  ++target_.counters_.commands;
  target_.scope_.spawn(target_.run(*this, command, repeated));
}

Task<void> Target::run(Session& session, DiskCommand& command, bool repeated) {
  const AsyncMutex::Guard guard = co_await commands_.lock();
  Status result = Ok{};
  if (session.closed_) {
    result = admit(session, true, 0);
  } else if (unsaved_) {
    result = co_await save(state_);
  }
  const DiskState before = state_;
  if (result.ok()) {
    result = co_await execute(session, command, repeated);
  }
  if (unsaved_) {
    tell({.kind = TargetEvent::Kind::kLabelFailed, .who = session.key_});
  } else if (result.ok()) {
    tell_difference(before, session.key_, command.request);
  }
  counters_.fenced += !result.ok() && result.error().code == Errc::kFenced ? 1 : 0;
  command.result = result;
  --session.commands_;
  ended_.wake_all();
  scheduler_.post(command);
}

// Only what changed is worth a word: most commands find their work done.
void Target::tell_difference(const DiskState& before, DiskKey who,
                             const DiskRequest& request) const {
  using Kind = TargetEvent::Kind;
  TargetEvent event{.who = who, .other = request.victim, .epoch = state_.epoch};
  switch (request.kind) {
    case DiskRequest::Kind::kRegister:
      event.kind = Kind::kRegistered;
      break;
    case DiskRequest::Kind::kUnregister:
      event.kind = Kind::kUnregistered;
      break;
    case DiskRequest::Kind::kReserve:
      event.kind = Kind::kReserved;
      break;
    case DiskRequest::Kind::kRelease:
      event.kind = Kind::kReleased;
      break;
    case DiskRequest::Kind::kPreemptAndAbort:
      event.kind = Kind::kRemoved;
      break;
    case DiskRequest::Kind::kClear:
      event.kind = Kind::kCleared;
      break;
    case DiskRequest::Kind::kRaiseEpoch:
      event.kind = Kind::kEpoch;
      break;
    case DiskRequest::Kind::kReadState:
    case DiskRequest::Kind::kCompareAndSwap:
    case DiskRequest::Kind::kWriteDurable:
      return;
  }
  if (state_ != before) {
    tell(event);
  }
}

Task<Status> Target::execute(Session& session, DiskCommand& command, bool repeated) {
  const DiskRequest& request = command.request;
  const DiskKey key = session.key_;
  switch (request.kind) {
    case DiskRequest::Kind::kRegister:
      co_return co_await add_key(key);
    case DiskRequest::Kind::kUnregister:
      co_return co_await remove_own_key(key);
    case DiskRequest::Kind::kReserve:
      co_return co_await reserve(key, request.reservation);
    case DiskRequest::Kind::kRelease:
      co_return co_await release(key);
    case DiskRequest::Kind::kPreemptAndAbort:
      co_return co_await preempt(key, request.victim, request.reservation);
    case DiskRequest::Kind::kClear:
      co_return co_await clear(key, repeated);
    case DiskRequest::Kind::kReadState:
      command.state = state_;
      co_return Ok{};
    case DiskRequest::Kind::kRaiseEpoch:
      co_return co_await raise_epoch(key, request.epoch);
    case DiskRequest::Kind::kCompareAndSwap:
      co_return co_await swap(session, request, repeated);
    case DiskRequest::Kind::kWriteDurable:
      break;
  }
  co_return Error{Errc::kInvalid, "not a command"};
}

Task<Status> Target::save(DiskState next) {
  unsaved_ = true;
  const Status saved = co_await label_.save(next);
  if (saved.ok()) {
    unsaved_ = false;
    state_ = std::move(next);
  }
  co_return saved;
}

Task<Status> Target::add_key(DiskKey key) {
  const auto newer = [key](DiskKey other) {
    return node_of(other) == node_of(key) && incarnation_of(other) > incarnation_of(key);
  };
  if (std::ranges::any_of(state_.keys, newer)) {
    co_return Error{Errc::kFenced, "a newer incarnation of this node is registered"};
  }
  if (registered(key)) {
    co_return Ok{};
  }
  if (state_.keys.size() == kKeysMax) {
    co_return Error{Errc::kNoSpace, "no more keys fit"};
  }
  DiskState next = state_;
  next.keys.insert(std::ranges::upper_bound(next.keys, key), key);
  ++next.generation;
  co_return co_await save(std::move(next));
}

Task<Status> Target::remove_own_key(DiskKey key) {
  if (!registered(key)) {
    co_return Ok{};
  }
  DiskState next = state_;
  std::erase(next.keys, key);
  ++next.generation;
  if (next.holder == key) {
    next.holder = kNoKey;
    next.reservation = Reservation::kNone;
  }
  co_return co_await save(std::move(next));
}

Task<Status> Target::reserve(DiskKey key, Reservation kind) {
  if (kind == Reservation::kNone) {
    co_return Error{Errc::kInvalid, "a reservation of no kind"};
  }
  if (!registered(key)) {
    co_return kRemoved;
  }
  if (state_.reservation != Reservation::kNone) {
    const bool mine = state_.holder == key && state_.reservation == kind;
    co_return mine ? Status(Ok{}) : Error{Errc::kRefused, "another reservation is held"};
  }
  DiskState next = state_;
  next.reservation = kind;
  next.holder = key;
  co_return co_await save(std::move(next));
}

Task<Status> Target::release(DiskKey key) {
  if (state_.holder != key) {
    co_return Ok{};
  }
  DiskState next = state_;
  next.reservation = Reservation::kNone;
  next.holder = kNoKey;
  co_return co_await save(std::move(next));
}

Task<Status> Target::preempt(DiskKey key, DiskKey victim, Reservation kind) {
  if (!registered(key)) {
    co_return kRemoved;
  }
  if (victim == key || kind == Reservation::kNone) {
    co_return Error{Errc::kInvalid, "a node cannot remove its own key so"};
  }
  if (registered(victim)) {
    DiskState next = state_;
    std::erase(next.keys, victim);
    ++next.generation;
    if (next.holder == victim) {
      next.holder = key;
      next.reservation = kind;
    }
    state_ = next;  // nothing more of it is admitted
    const Status saved = co_await save(std::move(next));
    if (!saved.ok()) {
      co_return saved;
    }
  }
  const auto of_victim = [victim](const Io& io) { return io.session->key_ == victim; };
  co_await drain(of_victim);
  co_return Ok{};
}

Task<Status> Target::clear(DiskKey key, bool repeated) {
  if (repeated && state_.keys.empty()) {
    co_return Ok{};
  }
  if (!registered(key)) {
    co_return kRemoved;
  }
  DiskState next = state_;
  next.keys.clear();
  ++next.generation;
  next.reservation = Reservation::kNone;
  next.holder = kNoKey;
  const Status saved = co_await save(std::move(next));
  if (saved.ok()) {
    const auto all = [](const Io& /*io*/) { return true; };
    co_await drain(all);
  }
  co_return saved;
}

Task<Status> Target::raise_epoch(DiskKey key, std::uint64_t epoch) {
  if (!registered(key)) {
    co_return kRemoved;
  }
  if (epoch < state_.epoch) {
    co_return kOldEpoch;
  }
  if (epoch > state_.epoch) {
    state_.epoch = epoch;  // nothing older is admitted
    const Status saved = co_await save(state_);
    if (!saved.ok()) {
      co_return saved;
    }
  }
  const auto older = [epoch](const Io& io) { return io.epoch != 0 && io.epoch < epoch; };
  co_await drain(older);
  co_return Ok{};
}

Task<Status> Target::swap(Session& session, const DiskRequest& request, bool repeated) {
  const Status admitted = admit(session, false, 0);
  if (!admitted.ok()) {
    co_return admitted;
  }
  const std::uint64_t block = request.block;
  swapping_ = block;
  // A write followed by its flush has become a flush, which changes nothing.
  const auto overlaps = [block](const Io& io) {
    return io.kind == BlockOperation::Kind::kWrite && block >= io.block &&
           block - io.block < blocks_of(io.parts);
  };
  co_await drain(overlaps);
  const Status swapped = co_await swap_now(request, repeated);
  unpark();
  co_return swapped;
}

Task<Status> Target::swap_now(const DiskRequest& request, bool repeated) {
  const MutableBytes part(buffer_->bytes);
  const std::span<const MutableBytes> parts(&part, 1);
  const Status read = co_await disk_.read(request.block, parts);
  if (!read.ok()) {
    co_return read;
  }
  if (repeated && same_bytes(part, request.desired)) {
    co_return co_await disk_
        .flush();  // it has happened, and a crash may have come before its flush
  }
  if (!same_bytes(part, request.expected)) {
    co_return Error{Errc::kOutOfSync, "the block holds something else"};
  }
  copy_bytes(request.desired, part);
  const Status written = co_await disk_.write(request.block, parts);
  if (!written.ok()) {
    co_return written;
  }
  co_return co_await disk_.flush();
}

}  // namespace duet::shelf
