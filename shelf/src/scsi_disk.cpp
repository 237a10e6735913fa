#include "shelf/scsi_disk.h"

#include <algorithm>
#include <utility>

#include "scsi_call.h"

namespace duet::shelf {

namespace {

std::size_t bytes_in(std::span<const MutableBytes> parts) {
  std::size_t bytes = 0;
  for (const MutableBytes part : parts) {
    bytes += part.size();
  }
  return bytes;
}

std::vector<MutableBytes> slice(std::span<const MutableBytes> parts, std::size_t first,
                                std::size_t bytes) {
  std::vector<MutableBytes> sliced;
  for (const MutableBytes part : parts) {
    if (first >= part.size()) {
      first -= part.size();
      continue;
    }
    const std::size_t count = std::min(bytes, part.size() - first);
    if (count > 0) {
      sliced.push_back(part.subspan(first, count));
    }
    first = 0;
    bytes -= count;
  }
  return sliced;
}

}  // namespace

// A read or write on its own way.
struct ScsiDisk::Direct final : BlockOperation {
  Direct(ScsiDisk& owner, BlockOperation& what, std::uint64_t which)
      : disk(owner), operation(what), number(which) {
    kind = what.kind;
    block = what.block;
    parts = what.parts;
  }
  void run() override {
    BlockOperation& whole = operation;
    whole.result = result;
    ScsiDisk& owner = disk;
    owner.direct_.erase(self);  // and this with it
    owner.direct_ended_.wake_all();
    whole.run();
  }
  ScsiDisk& disk;
  BlockOperation& operation;
  const std::uint64_t number;
  std::list<Direct>::iterator self;
};

ScsiDisk::ScsiDisk(Scheduler& scheduler, std::unique_ptr<ScsiTransport> transport,
                   ScsiDiskOptions options)
    : scheduler_(scheduler),
      options_(std::move(options)),
      since_(scheduler.now()),
      direct_ended_(scheduler),
      commands_(scheduler),
      patience_(*this),
      changed_(scheduler),
      transport_(std::move(transport)),
      scope_(scheduler) {
  transport_->observe(this);
}

ScsiDisk::~ScsiDisk() {
  transport_.reset();     // from here on nobody uses anybody's bytes
  options_.data.reset();  // waits, and posts what has ended
  scope_.cancel();
  for (Direct& direct : direct_) {
    direct.operation.result = direct.linked() ? direct.result : kClosedError;
    scheduler_.post(direct.operation);
  }
  for (BlockOperation* operation : operations_) {
    operation->result = kClosedError;
    scheduler_.post(*operation);
  }
  for (DiskCommand* command : commands_under_way_) {
    command->result = kClosedError;
    scheduler_.post(*command);
  }
}

Task<Result<std::unique_ptr<ScsiDisk>>> ScsiDisk::open(Scheduler& scheduler,
                                                       std::unique_ptr<ScsiTransport> transport,
                                                       ScsiDiskOptions options) {
  std::unique_ptr<ScsiDisk> disk(new ScsiDisk(scheduler, std::move(transport), std::move(options)));
  const Status probed = co_await disk->probe();
  if (!probed.ok()) {
    co_return probed.error();
  }
  if (disk->options_.data != nullptr && disk->options_.data->block_count() != disk->blocks_) {
    co_return Error{Errc::kForeign, "the device is not as large as the unit behind it"};
  }
  co_return disk;
}

// ------------------------------------------------------------------------------- probing

Task<Status> ScsiDisk::probe() {
  Call ready(kTestUnitReady, 6);
  const Status is_ready = co_await call(ready);
  // A conflict comes from a unit that another node holds for itself: it answers what is asked next.
  if (!is_ready.ok() && is_ready.error().code != Errc::kFenced) {
    co_return is_ready;
  }
  const Status capacity = co_await probe_capacity();
  if (!capacity.ok()) {
    co_return capacity;
  }
  if (transport_->reconnects()) {
    co_await probe_cache();
  }
  co_return co_await probe_reservations();
}

// A unit that does not say is taken to have a cache that it can lose.
Task<void> ScsiDisk::probe_cache() {
  const auto page = std::make_unique<Page>();
  const MutableBytes part = MutableBytes(page->bytes).first(64);
  Call sense(kModeSense, 6);
  sense.cdb[1] = kNoBlockDescriptors;
  sense.cdb[2] = kCachingPage;
  sense.cdb[4] = static_cast<std::uint8_t>(part.size());
  sense.data = ScsiCommand::Data::kIn;
  sense.parts = Parts(&part, 1);
  const Status told = co_await call(sense);
  const std::size_t at = 4 + get<1>(part, 3);
  const bool known =
      told.ok() && sense.received >= at + 3 && (get<1>(part, at) & 0x3FU) == kCachingPage;
  volatile_cache_ = !known || (get<1>(part, at + 2) & kWriteCacheEnabled) != 0;
}

Task<Status> ScsiDisk::probe_capacity() {
  const auto page = std::make_unique<Page>();
  const MutableBytes part = MutableBytes(page->bytes).first(32);
  Call capacity(kServiceActionIn, 16);
  capacity.cdb[1] = kReadCapacity16;
  put<4>(capacity.cdb, 10, part.size());
  capacity.data = ScsiCommand::Data::kIn;
  capacity.parts = Parts(&part, 1);
  const Status asked = co_await call(capacity);
  const bool shut_out = !asked.ok() && asked.error().code == Errc::kFenced;
  if (!asked.ok() && !(shut_out && options_.data != nullptr)) {
    co_return asked;
  }
  if (shut_out) {  // of a unit that is another's alone; its device knows
    put_big<8>(part, 0,
               options_.data->block_count() * (kBlockBytes / options_.data_unit_bytes) - 1);
    put_big<4>(part, 8, options_.data_unit_bytes);
  } else if (capacity.received < 12) {
    co_return Error{Errc::kIo, "the unit does not say how large it is"};
  }
  const std::uint64_t last = get<8>(part, 0);
  const std::uint64_t block_bytes = get<4>(part, 8);
  if ((block_bytes != 512 && block_bytes != 1024 && block_bytes != 2048 && block_bytes != 4096) ||
      last >= std::uint64_t{1} << 60U) {
    co_return Error{Errc::kNotSupported, "the unit's blocks do not divide 4096"};
  }
  unit_block_bytes_ = static_cast<std::uint32_t>(block_bytes);
  blocks_ = (last + 1) / (kBlockBytes / block_bytes);
  transfer_bytes_max_ = kTransferBytes;

  const MutableBytes limits = MutableBytes(page->bytes).subspan(512, 64);
  Call inquiry(kInquiry, 6);
  inquiry.cdb[1] = 1;
  inquiry.cdb[2] = kBlockLimitsPage;
  put<2>(inquiry.cdb, 3, limits.size());
  inquiry.data = ScsiCommand::Data::kIn;
  inquiry.parts = Parts(&limits, 1);
  const Status told = co_await call(inquiry);
  if (!told.ok() || inquiry.received < 16) {
    co_return Ok{};  // no limits are told, and no compare-and-write
  }
  const std::uint64_t transfer = get<4>(limits, 8) * block_bytes / kBlockBytes * kBlockBytes;
  if (transfer > 0) {
    transfer_bytes_max_ =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(transfer, kTransferBytes));
  }
  const bool swaps = co_await may_support(kCompareAndWrite, 0);
  features_.compare_and_swap = swaps && get<1>(limits, 5) * block_bytes >= kBlockBytes;
  co_return Ok{};
}

Task<Status> ScsiDisk::probe_reservations() {
  const Result<DiskState> found = co_await state();
  if (!found.ok()) {
    co_return found.error();
  }
  if (transport_->aborts_are_believed()) {
    features_.drains_on_abort = co_await may_support(kReserveOut, kPreemptAndAbort);
  }
  const auto page = std::make_unique<Page>();
  const MutableBytes part = MutableBytes(page->bytes).first(8);
  Call capabilities(kReserveIn, 10);
  capabilities.cdb[1] = kReportCapabilities;
  put<2>(capabilities.cdb, 7, part.size());
  capabilities.data = ScsiCommand::Data::kIn;
  capabilities.parts = Parts(&part, 1);
  const Status told = co_await call(capabilities);
  if (told.ok() && capabilities.received == 8) {
    persists_ = (get<1>(part, 2) & 0x01U) != 0;  // PTPL_C
    const bool mask_valid = (get<1>(part, 3) & 0x80U) != 0;
    features_.exclusive_access = mask_valid && (get<1>(part, 4) & 0x40U) != 0;
  }
  features_.survives_power_loss = persists_;
  co_return Ok{};
}

// A unit that lists nothing may have it: try_abort() and try_swap() find out.
Task<bool> ScsiDisk::may_support(std::uint8_t opcode, std::uint8_t service_action) {
  const auto page = std::make_unique<Page>();
  const MutableBytes part = MutableBytes(page->bytes).first(32);
  Call codes(kMaintenanceIn, 12);
  codes.cdb[1] = kReportSupportedCodes;
  codes.cdb[2] = service_action == 0 ? 1 : 2;
  codes.cdb[3] = opcode;
  put<2>(codes.cdb, 4, service_action);
  put<4>(codes.cdb, 6, part.size());
  codes.data = ScsiCommand::Data::kIn;
  codes.parts = Parts(&part, 1);
  const Status told = co_await call(codes);
  if (!told.ok()) {
    const Errc why = told.error().code;  // kFenced: a unit that is another's alone may keep it back
    co_return why == Errc::kNotSupported || why == Errc::kFenced;
  }
  // SUPPORT: 3, as a standard says; 0: the list has nothing about it now.
  const std::uint64_t support = codes.received >= 4 ? get<1>(part, 1) & 0x07U : 0;
  co_return support == 3 || support == 0;
}

// ---------------------------------------------------------------------------------- I/O

void ScsiDisk::start(BlockOperation& operation) {
  if (options_.data != nullptr && operation.kind != BlockOperation::Kind::kFlush) {
    start_direct(operation);
    return;
  }
  operations_.push_back(&operation);
  scope_.spawn(run(operation));
}

Task<void> ScsiDisk::run(BlockOperation& operation) {
  const Status done = co_await execute(operation);
  operation.result = done;
  std::erase(operations_, &operation);
  scheduler_.post(operation);
}

void ScsiDisk::start_direct(BlockOperation& operation) {
  Direct& direct = direct_.emplace_back(*this, operation, ++direct_started_);
  direct.self = std::prev(direct_.end());
  options_.data->start(direct);
}

// Until what has begun so far has ended.
Task<void> ScsiDisk::direct_ended() {
  const std::uint64_t last = direct_started_;
  while (!direct_.empty() && direct_.front().number <= last) {
    co_await direct_ended_.wait();
  }
}

Task<Status> ScsiDisk::execute(BlockOperation& operation) {
  if (operation.kind == BlockOperation::Kind::kFlush) {
    co_return co_await flush();
  }
  const bool write = operation.kind == BlockOperation::Kind::kWrite;
  co_return co_await transfer(write, false, operation.block, operation.parts);
}

Task<Status> ScsiDisk::transfer(bool write, bool durable, std::uint64_t block, Parts parts) {
  const std::size_t bytes = bytes_in(parts);
  DUET_CHECK(bytes % kBlockBytes == 0);
  DUET_CHECK(block <= blocks_ && bytes / kBlockBytes <= blocks_ - block);
  const std::uint64_t per_block = kBlockBytes / unit_block_bytes_;
  for (std::size_t at = 0; at < bytes; at += transfer_bytes_max_) {
    const std::size_t count = std::min<std::size_t>(bytes - at, transfer_bytes_max_);
    const std::vector<MutableBytes> some = slice(parts, at, count);
    Call moves(write ? kWrite16 : kRead16, 16);
    moves.cdb[1] = durable ? kForceUnitAccess : 0;
    put<8>(moves.cdb, 2, (block + at / kBlockBytes) * per_block);
    put<4>(moves.cdb, 10, count / unit_block_bytes_);
    moves.data = write ? ScsiCommand::Data::kOut : ScsiCommand::Data::kIn;
    moves.parts = some;
    moves.for_data = true;
    moves.writes = write;
    const Status moved = co_await call(moves);
    if (!moved.ok()) {
      co_return moved;
    }
    if (!write && moves.received != count) {
      co_return Error{Errc::kIo, "the unit gave less than was asked"};
    }
  }
  written_ += write && !durable ? 1 : 0;
  co_return Ok{};
}

Task<Status> ScsiDisk::flush() {
  const std::uint64_t covers = written_;
  Call flushes(kSynchronizeCache16, 16);
  flushes.for_data = true;
  Status flushed = co_await call(flushes);
  if (!flushed.ok() && flushes.refused_as_unknown()) {
    Call older(kSynchronizeCache10, 10);
    older.for_data = true;
    flushed = co_await call(older);
  }
  if (flushed.ok() && lost_writes_) {
    co_return Error{Errc::kIo, "the unit may have lost its power, and writes with it"};
  }
  if (flushed.ok()) {
    flushed_ = std::max(flushed_, covers);
  }
  co_return flushed;
}

// -------------------------------------------------------------------------- reservations

void ScsiDisk::start_command(DiskCommand& command) {
  commands_under_way_.push_back(&command);
  scope_.spawn(run(command));
}

Task<void> ScsiDisk::run(DiskCommand& command) {
  const Status done = co_await execute(command);
  command.result = done;
  std::erase(commands_under_way_, &command);
  scheduler_.post(command);
}

Task<Status> ScsiDisk::execute(DiskCommand& command) {
  const DiskRequest& request = command.request;
  if (request.kind == DiskRequest::Kind::kWriteDurable) {
    co_return co_await transfer(true, true, request.block, request.parts);
  }
  const AsyncMutex::Guard guard = co_await commands_.lock();
  if (request.reservation == Reservation::kExclusiveAccess && !features_.exclusive_access) {
    co_return Error{Errc::kNotSupported, "the unit has no such reservation"};
  }
  switch (request.kind) {
    case DiskRequest::Kind::kRegister:
      co_return co_await register_mine();
    case DiskRequest::Kind::kUnregister:
      co_return co_await unregister_mine();
    case DiskRequest::Kind::kReserve:
      co_return co_await take_reservation(request.reservation);
    case DiskRequest::Kind::kRelease:
      co_return co_await release_mine();
    case DiskRequest::Kind::kPreemptAndAbort:
      co_return co_await preempt(request.victim, request.reservation);
    case DiskRequest::Kind::kClear:
      co_return co_await clear_all();
    case DiskRequest::Kind::kCompareAndSwap:
      co_return co_await swap(request);
    case DiskRequest::Kind::kReadState: {
      Result<DiskState> found = co_await state();
      if (!found.ok()) {
        co_return found.error();
      }
      command.state = std::move(found.value());
      co_return Ok{};
    }
    case DiskRequest::Kind::kRaiseEpoch:
    case DiskRequest::Kind::kWriteDurable:
      break;
  }
  co_return Error{Errc::kNotSupported, "a SCSI disk knows no epochs"};
}

Task<Status> ScsiDisk::reserve_out(std::uint8_t action, Reservation kind, DiskKey key,
                                   DiskKey other, bool persist) {
  const auto page = std::make_unique<Page>();
  const MutableBytes part = MutableBytes(page->bytes).first(24);
  std::array<std::uint8_t, 24> list{};
  put<8>(list, 0, static_cast<std::uint64_t>(key));
  put<8>(list, 8, static_cast<std::uint64_t>(other));
  list[20] = persist ? 1 : 0;  // APTPL
  std::ranges::copy(std::as_bytes(std::span(list)), part.begin());
  Call out(kReserveOut, 10);
  out.cdb[1] = action;
  out.cdb[2] = kind == Reservation::kNone ? 0 : type_of(kind);
  put<4>(out.cdb, 5, list.size());
  out.data = ScsiCommand::Data::kOut;
  out.parts = Parts(&part, 1);
  co_return co_await call(out);
}

Task<Result<DiskState>> ScsiDisk::state(bool recovers) {
  const auto page = std::make_unique<Page>();
  const MutableBytes part(page->bytes);
  DiskState found;
  for (const std::uint8_t action : {kReadKeys, kReadReservation}) {
    Call in(kReserveIn, 10);
    in.cdb[1] = action;
    put<2>(in.cdb, 7, part.size());
    in.data = ScsiCommand::Data::kIn;
    in.parts = Parts(&part, 1);
    in.recovers = recovers;
    const Status told = co_await call(in);
    if (!told.ok()) {
      co_return told.error();
    }
    if (in.received < 8) {
      co_return Error{Errc::kIo, "the unit's reservations cannot be read"};
    }
    const std::size_t length = get<4>(part, 4);
    if (length > in.received - 8) {
      co_return Error{Errc::kIo, "the unit has more keys than are read"};
    }
    found.generation = get<4>(part, 0);
    if (action == kReadKeys) {
      for (std::size_t at = 8; at + 8 <= 8 + length; at += 8) {
        found.keys.push_back(DiskKey{get<8>(part, at)});
      }
    } else if (length >= 16) {
      found.holder = DiskKey{get<8>(part, 8)};
      found.reservation = kind_of(static_cast<std::uint8_t>(get<1>(part, 21)));
    }
  }
  // Several nexuses may have registered one key.
  std::ranges::sort(found.keys);
  found.keys.erase(std::unique(found.keys.begin(), found.keys.end()), found.keys.end());
  co_return found;
}

Task<Status> ScsiDisk::register_mine() {
  co_await direct_ended();
  const Result<DiskState> now = co_await state();
  if (!now.ok()) {
    co_return now.error();
  }
  const auto newer = [this](DiskKey other) {
    return node_of(other) == node_of(options_.key) &&
           incarnation_of(other) > incarnation_of(options_.key);
  };
  if (std::ranges::any_of(now.value().keys, newer)) {
    co_return Error{Errc::kFenced, "a newer incarnation of this node is registered"};
  }
  const Status registered =
      co_await reserve_out(kRegisterAndIgnore, Reservation::kNone, kNoKey, options_.key, persists_);
  if (registered.ok()) {
    registered_ = true;
    key_lost_ = false;
  }
  if (!registered.ok() || tried_) {
    co_return registered;
  }
  const Status abort = co_await try_abort();
  if (!abort.ok()) {
    co_return abort;
  }
  const Status swaps = co_await try_swap();
  tried_ = swaps.ok();
  co_return swaps;
}

// Units have been met that list PREEMPT AND ABORT and refuse it (tgt).  One that knows it finds a
// conflict, as nobody has this key.
Task<Status> ScsiDisk::try_abort() {
  if (!features_.drains_on_abort) {
    co_return Ok{};
  }
  constexpr DiskKey kNobodys{~std::uint64_t{0}};
  const Status tried = co_await reserve_out(kPreemptAndAbort, Reservation::kWriteExclusive,
                                            options_.key, kNobodys, false);
  const bool known = tried.ok() || tried.error().code == Errc::kFenced;
  if (!known && tried.error().code != Errc::kNotSupported) {
    co_return tried;
  }
  features_.drains_on_abort = known;
  co_return Ok{};
}

// A swap that changes nothing, whatever the block holds.
Task<Status> ScsiDisk::try_swap() {
  if (!features_.compare_and_swap) {
    co_return Ok{};
  }
  const auto unlikely = std::make_unique<Page>();
  unlikely->bytes.fill(std::byte{0xA5});
  store(MutableBytes(unlikely->bytes), 8, options_.key);
  const DiskRequest request{.kind = DiskRequest::Kind::kCompareAndSwap,
                            .expected = unlikely->bytes,
                            .desired = unlikely->bytes};
  const Status tried = co_await swap(request);
  const bool known = tried.ok() || tried.error().code == Errc::kOutOfSync;
  if (!known && tried.error().code != Errc::kNotSupported) {
    co_return tried;
  }
  features_.compare_and_swap = known;
  co_return Ok{};
}

Task<Status> ScsiDisk::unregister_mine() {
  const Status removed =
      co_await reserve_out(kRegister, Reservation::kNone, options_.key, kNoKey, persists_);
  // A conflict: this nexus has no key, or another one.
  const bool gone = !removed.ok() && removed.error().code == Errc::kFenced;
  registered_ = registered_ && !removed.ok() && !gone;
  co_return gone ? Status(Ok{}) : removed;
}

Task<Status> ScsiDisk::take_reservation(Reservation kind) {
  if (kind == Reservation::kNone) {
    co_return Error{Errc::kInvalid, "a reservation of no kind"};
  }
  const Status taken = co_await reserve_out(kReserve, kind, options_.key, kNoKey, false);
  if (taken.ok()) {
    co_return taken;
  }
  // Units differ in what they say to a nexus without a key (LIO: a failure of its own).
  const Result<DiskState> now = co_await state();
  if (!now.ok()) {
    co_return now.error();
  }
  if (!std::ranges::binary_search(now.value().keys, options_.key)) {
    co_return Error{Errc::kFenced, "this node's key is not registered"};
  }
  if (taken.error().code != Errc::kFenced) {
    co_return taken;
  }
  co_return Error{Errc::kRefused, "another reservation is held"};
}

Task<Status> ScsiDisk::release_mine() {
  const Result<DiskState> now = co_await state();
  if (!now.ok()) {
    co_return now.error();
  }
  if (now.value().holder != options_.key) {
    co_return Ok{};
  }
  co_return co_await reserve_out(kRelease, now.value().reservation, options_.key, kNoKey, false);
}

Task<Status> ScsiDisk::preempt(DiskKey victim, Reservation kind) {
  if (victim == options_.key || kind == Reservation::kNone) {
    co_return Error{Errc::kInvalid, "a node cannot remove its own key so"};
  }
  const Result<DiskState> before = co_await state();
  if (!before.ok()) {
    co_return before.error();
  }
  if (!std::ranges::binary_search(before.value().keys, options_.key)) {
    co_return Error{Errc::kFenced, "this node's key is not registered"};
  }
  if (std::ranges::binary_search(before.value().keys, victim)) {
    const std::uint8_t action = features_.drains_on_abort ? kPreemptAndAbort : kPreempt;
    const Status removed = co_await reserve_out(action, kind, options_.key, victim, false);
    // A conflict also when the victim has gone meanwhile.
    const Result<DiskState> after = co_await state();
    if (!after.ok()) {
      co_return after.error();
    }
    if (!std::ranges::binary_search(after.value().keys, options_.key)) {
      co_return Error{Errc::kFenced, "this node's key is not registered"};
    }
    if (std::ranges::binary_search(after.value().keys, victim)) {
      co_return removed.ok() ? Status(Error{Errc::kIo, "the unit kept the key"}) : removed;
    }
  }
  if (features_.drains_on_abort) {
    co_return Ok{};
  }
  co_return co_await reset();
}

Task<Status> ScsiDisk::clear_all() {
  if (features_.drains_on_abort) {  // each of the others, as no reset will
    const Result<DiskState> found = co_await state();
    if (!found.ok()) {
      co_return found.error();
    }
    for (const DiskKey other : found.value().keys) {
      if (other == options_.key) {
        continue;
      }
      const Status removed = co_await preempt(other, Reservation::kWriteExclusive);
      if (!removed.ok()) {
        co_return removed;
      }
    }
  }
  const std::uint64_t lost_before = losses_;
  const Status cleared =
      co_await reserve_out(kClear, Reservation::kNone, options_.key, kNoKey, false);
  if (!cleared.ok()) {
    // It may have been done before its session was lost; then nobody has a key.
    const Result<DiskState> now = co_await state();
    const bool done = lost_before != losses_ && now.ok() && now.value().keys.empty();
    if (!done) {
      co_return cleared;
    }
  }
  registered_ = false;
  Status drained = Ok{};
  if (!features_.drains_on_abort) {
    drained = co_await reset();
  }
  co_return drained;
}

Task<Status> ScsiDisk::swap(const DiskRequest& request) {
  if (!features_.compare_and_swap) {
    co_return Error{Errc::kNotSupported, "the unit has no compare-and-write"};
  }
  const auto pages = std::make_unique<std::array<Page, 2>>();
  copy_bytes(request.expected, (*pages)[0].bytes);
  copy_bytes(request.desired, (*pages)[1].bytes);
  const std::array<MutableBytes, 2> parts{MutableBytes((*pages)[0].bytes),
                                          MutableBytes((*pages)[1].bytes)};
  const std::uint64_t per_block = kBlockBytes / unit_block_bytes_;
  Call swaps(kCompareAndWrite, 16);
  swaps.cdb[1] = kForceUnitAccess;
  put<8>(swaps.cdb, 2, request.block * per_block);
  swaps.cdb[13] = static_cast<std::uint8_t>(per_block);
  swaps.data = ScsiCommand::Data::kOut;
  swaps.parts = parts;
  swaps.for_data = true;
  swaps.writes = true;
  bool repeated = false;
  const Status swapped = co_await call(swaps, &repeated);
  if (swapped.ok() || swapped.error().code != Errc::kOutOfSync || !repeated) {
    co_return swapped;
  }
  // An attempt that was said to be aborted may have been done.
  const std::span<const MutableBytes> first(parts.data(), 1);
  const Status read = co_await transfer(false, false, request.block, first);
  if (!read.ok()) {
    co_return read;
  }
  co_return same_bytes(parts[0], request.desired) ? Status(Ok{}) : swapped;
}

}  // namespace duet::shelf
