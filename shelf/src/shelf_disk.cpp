#include "shelf/shelf_disk.h"

#include <algorithm>
#include <utility>

#include "shelf_request.h"

namespace duet::shelf {

namespace {

std::size_t bytes_in(std::span<const MutableBytes> parts) {
  std::size_t bytes = 0;
  for (const MutableBytes part : parts) {
    bytes += part.size();
  }
  return bytes;
}

// Whole blocks, at least one, and no more than the protocol carries.
std::uint32_t valid_transfer(std::uint32_t bytes) {
  constexpr auto kBlock = static_cast<std::uint32_t>(kBlockBytes);
  return std::clamp(bytes / kBlock, 1U, kTransferBlocksMax) * kBlock;
}

constexpr std::uint64_t kSlotBits = 20;  // of a tag; above them the serial number

}  // namespace

ShelfDisk::ShelfDisk(Scheduler& scheduler, std::unique_ptr<Connector> connector,
                     ShelfDiskOptions options)
    : scheduler_(scheduler),
      connector_(std::move(connector)),
      options_(std::move(options)),
      since_(scheduler.now()),
      watch_(*this),
      sender_(*this),
      attempted_(scheduler),
      scope_(scheduler) {
  options_.transfer_bytes_max = valid_transfer(options_.transfer_bytes_max);
  DUET_CHECK(options_.fail_after > Duration{} && options_.silence_max > Duration{} &&
             options_.retry > Duration{});
}

ShelfDisk::~ShelfDisk() {
  scope_.cancel();
  session_.reset();
  fail_all({Errc::kClosed, "the disk is closed"});
}

Task<Result<std::unique_ptr<ShelfDisk>>> ShelfDisk::open(Scheduler& scheduler,
                                                         std::unique_ptr<Connector> connector,
                                                         ShelfDiskOptions options) {
  if (options.disk.empty() || options.disk.size() > kDiskNameMax || options.key == kNoKey) {
    co_return Error{Errc::kInvalid, "a disk's name has 1 to 64 bytes"};
  }
  if (options.name.empty()) {
    options.name = options.disk;
  }
  std::unique_ptr<ShelfDisk> disk(
      new ShelfDisk(scheduler, std::move(connector), std::move(options)));
  const ShelfDiskOptions& now = disk->options_;
  const Duration patience = now.open_within > Duration{} ? now.open_within : now.fail_after;
  disk->scope_.spawn(disk->stay_connected());
  disk->watch_later();
  while (!disk->connected_) {
    co_await disk->attempted_.wait();
    const Errc code = disk->last_error_.code;
    const bool final = code == Errc::kNotSupported || code == Errc::kForeign ||
                       code == Errc::kFenced || code == Errc::kInvalid || code == Errc::kRefused ||
                       (code == Errc::kNotFound && disk->session_refused_);
    const bool late = scheduler.now() - disk->since_ > patience;
    if (!disk->connected_ && (final || late)) {
      co_return disk->last_error_;
    }
  }
  co_return disk;
}

DiskHealth ShelfDisk::health() const {
  return {.connected = connected_,
          .since = since_,
          .reconnects = sessions_ == 0 ? 0 : sessions_ - 1,
          .operations = requests_,
          .last_error = last_error_.context};
}

// ----------------------------------------------------------------------------------- starting

ShelfDisk::Request& ShelfDisk::take_request() {
  if (free_.empty()) {
    DUET_CHECK(all_.size() < std::size_t{1} << kSlotBits);
    Request& made = *all_.emplace_back(std::make_unique<Request>());
    made.header.tag = all_.size() - 1;
    free_.push_back(&made);
  }
  Request& request = *free_.back();
  free_.pop_back();
  const std::uint64_t slot = request.header.tag & ((std::uint64_t{1} << kSlotBits) - 1);
  request = Request{};
  request.header.tag = ++serial_ << kSlotBits | slot;
  request.active = true;
  return request;
}

void ShelfDisk::start(BlockOperation& operation) {
  const std::size_t bytes = bytes_in(operation.parts);
  DUET_CHECK(bytes % kBlockBytes == 0);
  DUET_CHECK(operation.block <= blocks_ && bytes / kBlockBytes <= blocks_ - operation.block);
  if (bytes == 0 && operation.kind != BlockOperation::Kind::kFlush) {
    operation.result = Ok{};
    scheduler_.post(operation);
    return;
  }
  const std::size_t most = options_.transfer_bytes_max;
  const std::size_t count = bytes <= most ? 1 : (bytes + most - 1) / most;
  Whole* const whole = count == 1 ? nullptr : new Whole{.operation = &operation, .left = count};
  for (std::size_t i = 0; i < count; ++i) {
    Request& request = take_request();
    request.operation = &operation;
    request.whole = whole;
    request.first_byte = i * most;
    request.bytes = std::min(bytes - i * most, most);
    RequestHeader& header = request.header;
    header.epoch = epoch_;
    header.block = operation.block + i * most / kBlockBytes;
    header.block_count = static_cast<std::uint32_t>(request.bytes / kBlockBytes);
    switch (operation.kind) {
      case BlockOperation::Kind::kRead:
        header.kind = static_cast<std::uint8_t>(WireKind::kRead);
        break;
      case BlockOperation::Kind::kWrite:
        header.kind = static_cast<std::uint8_t>(WireKind::kWrite);
        header.payload_bytes = static_cast<std::uint32_t>(request.bytes);
        break;
      case BlockOperation::Kind::kFlush:
        header.kind = static_cast<std::uint8_t>(WireKind::kFlush);
        request.covers = written_;
        break;
    }
    enqueue(request);
  }
}

void ShelfDisk::begin_anew() {
  flushed_ = written_;
  lost_writes_ = false;
}

void ShelfDisk::start_command(DiskCommand& command) {
  const DiskRequest& what = command.request;
  Request& request = take_request();
  request.command = &command;
  RequestHeader& header = request.header;
  header.kind = static_cast<std::uint8_t>(wire_kind(what.kind));
  header.reservation = static_cast<std::uint8_t>(what.reservation);
  header.victim = static_cast<std::uint64_t>(what.victim);
  header.block = what.block;
  header.epoch = what.epoch;
  if (what.kind == DiskRequest::Kind::kWriteDurable) {
    request.bytes = bytes_in(what.parts);
    DUET_CHECK(request.bytes > 0 && request.bytes <= kPayloadBytesMax);
    DUET_CHECK(what.block < blocks_ && request.bytes / kBlockBytes <= blocks_ - what.block);
    header.epoch = epoch_;
    header.block_count = static_cast<std::uint32_t>(request.bytes / kBlockBytes);
    header.payload_bytes = static_cast<std::uint32_t>(request.bytes);
  }
  if (what.kind == DiskRequest::Kind::kCompareAndSwap) {
    DUET_CHECK(what.expected.size() == kBlockBytes && what.desired.size() == kBlockBytes);
    DUET_CHECK(what.block < blocks_);
    request.bytes = 2 * kBlockBytes;
    header.payload_bytes = 2 * kBlockBytes;
  }
  enqueue(request);
}

void ShelfDisk::enqueue(Request& request) {
  if (requests_ == 0) {
    heard_ = scheduler_.now();
  }
  request.older = newest_;
  (newest_ == nullptr ? oldest_ : newest_->newer) = &request;
  newest_ = &request;
  ++requests_;
  if (next_to_send_ == nullptr) {
    next_to_send_ = &request;
  }
  send_later();
  watch_later();
}

// ------------------------------------------------------------------------------------- ending

void ShelfDisk::take_out(Request& request) {
  if (next_to_send_ == &request) {
    next_to_send_ = request.newer;
  }
  (request.older == nullptr ? oldest_ : request.older->newer) = request.newer;
  (request.newer == nullptr ? newest_ : request.newer->older) = request.older;
  --requests_;
  if (request.sent) {
    --at_shelf_;
    bytes_at_shelf_ -= request.bytes;
  }
  request.active = false;
  free_.push_back(&request);
}

// What the operation is told, which is not always what the shelf said.
Status ShelfDisk::settled(const Request& request, const Status& result) {
  if (!result.ok() || request.operation == nullptr) {
    return result;
  }
  switch (request.operation->kind) {
    case BlockOperation::Kind::kRead:
      break;
    case BlockOperation::Kind::kWrite:
      ++written_;
      break;
    case BlockOperation::Kind::kFlush:
      if (lost_writes_) {
        return Error{Errc::kIo, "the shelf lost its power, and writes with it"};
      }
      flushed_ = std::max(flushed_, request.covers);
      break;
  }
  return result;
}

void ShelfDisk::complete(Request& request, const Status& result) {
  take_out(request);
  const Status told = settled(request, result);
  if (request.command != nullptr) {
    request.command->result = told;
    scheduler_.post(*request.command);
    return;
  }
  if (request.whole != nullptr) {
    Whole& whole = *request.whole;
    if (whole.result.ok()) {
      whole.result = told;
    }
    if (--whole.left > 0) {
      return;
    }
    request.operation->result = whole.result;
    delete &whole;
  } else {
    request.operation->result = told;
  }
  scheduler_.post(*request.operation);
}

// REQUIRES: no stream uses the bytes of any.
void ShelfDisk::fail_all(const Error& error) {
  while (oldest_ != nullptr) {
    complete(*oldest_, error);
  }
}

}  // namespace duet::shelf
