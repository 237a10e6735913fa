#include <algorithm>
#include <utility>

#include "shelf/shelf_disk.h"
#include "shelf_request.h"

namespace duet::shelf {

namespace {

// What one call hands to the stream: enough to be worth it, and not more than the stream takes
// soon.
constexpr std::size_t kGatherRequests = 16;
constexpr std::size_t kGatherBytes = std::size_t{1} << 20U;
constexpr std::uint64_t kBlocksMax = std::uint64_t{1} << 48U;
constexpr std::uint64_t kSlotMask = (std::uint64_t{1} << 20U) - 1;

constexpr Error kEnded{Errc::kIo, "the shelf closed the connection"};
constexpr Error kGarbled{Errc::kIo, "the connection garbled what it carried"};

std::uint32_t checksum_of(std::span<const MutableBytes> parts) {
  std::uint32_t checksum = 0;
  for (const MutableBytes part : parts) {
    checksum = crc32c(part, checksum);
  }
  return checksum;
}

}  // namespace

// --------------------------------------------------------------------------- connecting

Task<void> ShelfDisk::stay_connected() {
  for (;;) {
    attempt_ = scheduler_.now();
    Status ended = co_await connect_once();
    if (ended.ok()) {
      ended = co_await receive();
    }
    disconnected(ended.error());
    co_await sleep(scheduler_, options_.retry);
  }
}

// Ok: the shelf let us in.
Task<Status> ShelfDisk::connect_once() {
  session_refused_ = false;
  auto stream = co_await connector_->connect();
  if (!stream.ok()) {
    co_return stream.error();
  }
  session_ = std::make_unique<Session>(*this, std::move(stream.value()));
  const Status greeted = co_await hello();
  co_return greeted;
}

Task<Status> ShelfDisk::hello() {
  // The clock makes it grow over several ShelfDisks of one process, too.
  const auto now = static_cast<std::uint64_t>(scheduler_.now().since_start.count());
  number_ = std::max(number_ + 1, now);
  HelloBody body{.key = static_cast<std::uint64_t>(options_.key), .number = number_};
  std::ranges::copy(options_.disk, body.disk.begin());
  RequestHeader header{.kind = static_cast<std::uint8_t>(WireKind::kHello),
                       .payload_bytes = sizeof(body),
                       .payload_checksum = crc32c(bytes_of(body))};
  seal(header);
  std::array<ConstBytes, 2> parts{bytes_of(header), bytes_of(body)};
  const Status written = co_await session_->stream->write_all(parts);
  if (!written.ok()) {
    co_return written;
  }
  FrameReader& reader = session_->reader;
  const bool answered = co_await reader.fill(sizeof(ReplyHeader));
  if (!answered) {
    co_return kEnded;
  }
  const Result<ReplyHeader> reply = parse_reply(reader.buffered());
  if (!reply.ok() || static_cast<WireKind>(reply.value().kind) != WireKind::kHello) {
    co_return kGarbled;
  }
  reader.consume(sizeof(ReplyHeader));
  const Status said = status_of(reply.value().status);
  if (!said.ok()) {
    session_refused_ = true;
    co_return said;
  }
  if (reply.value().payload_bytes != sizeof(HelloReplyBody)) {
    co_return kGarbled;
  }
  const bool whole = co_await reader.fill(sizeof(HelloReplyBody));
  if (!whole) {
    co_return kEnded;
  }
  const ConstBytes bytes = reader.buffered().first(sizeof(HelloReplyBody));
  if (crc32c(bytes) != reply.value().payload_checksum) {
    co_return kGarbled;
  }
  const Status taken = take_hello(bytes);
  reader.consume(sizeof(HelloReplyBody));
  co_return taken;
}

Status ShelfDisk::take_hello(ConstBytes reply) {
  const auto body = load<HelloReplyBody>(reply, 0);
  if (body.version != kWireVersion || body.requests_max == 0 || body.blocks == 0 ||
      body.blocks > kBlocksMax) {
    return Error{Errc::kNotSupported, "the shelf is of another version"};
  }
  const bool known = blocks_ != 0;
  if (known && (body.disk != disk_id_ || body.blocks < blocks_)) {
    return Error{Errc::kForeign, "another disk has this name now"};
  }
  lost_writes_ = lost_writes_ || (known && body.power != power_ && written_ > flushed_);
  power_ = body.power;
  disk_id_ = body.disk;
  blocks_ = known ? blocks_ : body.blocks;
  features_ = decode_features(body.features);
  requests_max_ = body.requests_max;
  bytes_max_ = body.bytes_max;
  connected_ = true;
  ++sessions_;
  since_ = heard_ = scheduler_.now();
  attempted_.wake_all();
  send_later();
  return Ok{};
}

void ShelfDisk::disconnected(const Error& why) {
  if (std::exchange(connected_, false)) {
    since_ = scheduler_.now();
  }
  last_error_ = why;
  session_.reset();  // from here on no stream uses anybody's bytes
  for (Request* request = oldest_; request != nullptr; request = request->newer) {
    request->sent = false;
  }
  next_to_send_ = oldest_;
  at_shelf_ = 0;
  bytes_at_shelf_ = 0;
  ping_due_ = false;
  if (why.code == Errc::kFenced) {
    fail_all(why);
  }
  attempted_.wake_all();
  watch_later();
}

void ShelfDisk::watch_later() {
  if (watch_.linked() || (connected_ && requests_ == 0)) {
    return;
  }
  const Duration look = std::min(options_.silence_max, options_.fail_after) / 10;
  scheduler_.post_at(watch_, scheduler_.now() + look);
}

void ShelfDisk::watch() {
  const Instant now = scheduler_.now();
  if (connected_) {
    if (requests_ > 0 && now - heard_ > options_.silence_max) {
      scope_.cancel();
      disconnected({Errc::kIo, "the shelf does not answer"});
      scope_.spawn(stay_connected());
    } else if (requests_ > 0 && now - heard_ > options_.silence_max / 3) {
      ping_due_ = true;
      send_later();
    }
  } else {
    if (now - attempt_ > options_.silence_max) {
      scope_.cancel();
      disconnected({Errc::kIo, "the shelf does not answer"});
      scope_.spawn(stay_connected());
    }
    if (now - since_ > options_.fail_after) {
      fail_all({Errc::kIo, "the shelf is lost"});
    }
  }
  watch_later();
}

// ---------------------------------------------------------------------------- receiving

Task<Status> ShelfDisk::receive() {
  FrameReader& reader = session_->reader;
  for (;;) {
    if (reader.buffered().size() < sizeof(ReplyHeader)) {
      const bool arrived = co_await reader.fill(sizeof(ReplyHeader));
      if (!arrived) {
        co_return kEnded;
      }
    }
    const Result<ReplyHeader> parsed = parse_reply(reader.buffered());
    if (!parsed.ok()) {
      co_return kGarbled;
    }
    const ReplyHeader header = parsed.value();
    reader.consume(sizeof(ReplyHeader));
    heard_ = scheduler_.now();
    if (static_cast<WireKind>(header.kind) == WireKind::kPing) {
      if (header.payload_bytes != 0) {
        co_return kGarbled;
      }
      continue;
    }
    const Result<Request*> awaits = awaited(header);
    if (!awaits.ok()) {
      co_return awaits.error();
    }
    Request& request = *awaits.value();
    const Status result = status_of(header.status);
    if (header.payload_bytes > 0) {
      const bool data = static_cast<WireKind>(header.kind) == WireKind::kRead;
      Status received = Ok{};
      if (data) {
        received = co_await receive_data(request, header);
      } else {
        received = co_await receive_state(request, header);
      }
      if (!received.ok()) {
        co_return received;
      }
    }
    complete(request, result);
    send_later();
  }
}

// Some of its bytes are with the stream.
bool ShelfDisk::still_leaving(const Request& request) const {
  const Session& session = *session_;
  const std::span<ConstBytes> left = session.write.parts;
  if (!session.writing || request.batch != session.batch || left.empty()) {
    return false;
  }
  return request.out_end > static_cast<std::size_t>(left.data() - session.out.data());
}

// The request that a reply is for.  Error: it is for none, or not as that demands.
Result<ShelfDisk::Request*> ShelfDisk::awaited(const ReplyHeader& header) {
  const std::uint64_t slot = header.tag & kSlotMask;
  Request* const request = slot < all_.size() ? all_[slot].get() : nullptr;
  if (request == nullptr || !request->active || !request->sent ||
      request->header.tag != header.tag || request->header.kind != header.kind ||
      still_leaving(*request)) {
    return Error{Errc::kIo, "the shelf answers what was not asked"};
  }
  const auto kind = static_cast<WireKind>(header.kind);
  const bool ok = header.status == static_cast<std::uint16_t>(WireStatus::kOk);
  std::size_t expected = 0;
  if (ok && kind == WireKind::kRead) {
    expected = request->bytes;
  } else if (ok && kind == WireKind::kReadState) {
    expected = sizeof(StateBody);
  }
  if (header.payload_bytes != expected) {
    return Error{Errc::kIo, "the shelf's answer has a wrong length"};
  }
  if (header.status == static_cast<std::uint16_t>(WireStatus::kClosed)) {
    return Error{Errc::kIo, "the shelf ended the session"};
  }
  return request;
}

Task<Status> ShelfDisk::receive_data(Request& request, const ReplyHeader& header) {
  Session& session = *session_;
  session.in.clear();
  slice(request.operation->parts, request.first_byte, request.bytes, session.in);
  session.reader.expect_large(request.bytes / session.in.size() >= FrameReader::kDirectBytes);
  for (std::size_t i = 0; i < session.in.size(); ++i) {
    MutableBytes rest = session.in[i];
    if (session.reader.take(rest)) {
      continue;
    }
    const bool whole = co_await session.reader.take_rest(rest);
    if (!whole) {
      co_return kEnded;
    }
  }
  heard_ = scheduler_.now();
  if (checksum_of(session.in) != header.payload_checksum) {
    co_return kGarbled;
  }
  co_return Ok{};
}

Task<Status> ShelfDisk::receive_state(Request& request, const ReplyHeader& header) {
  FrameReader& reader = session_->reader;
  const bool whole = co_await reader.fill(sizeof(StateBody));
  if (!whole) {
    co_return kEnded;
  }
  const ConstBytes bytes = reader.buffered().first(sizeof(StateBody));
  if (crc32c(bytes) != header.payload_checksum) {
    co_return kGarbled;
  }
  const Result<DiskState> state = parse_state(bytes);
  if (!state.ok()) {
    co_return kGarbled;
  }
  reader.consume(sizeof(StateBody));
  request.command->state = state.value();
  co_return Ok{};
}

// ------------------------------------------------------------------------------ sending

void ShelfDisk::send_later() {
  const bool idle = connected_ && !session_->writing;
  if (idle && (next_to_send_ != nullptr || ping_due_) && !sender_.linked()) {
    scheduler_.post_last(sender_);
  }
}

void ShelfDisk::send() {
  while (connected_ && !session_->writing) {
    Session& session = *session_;
    session.out.clear();
    gather();
    if (session.out.empty()) {
      return;
    }
    session.write.parts = session.out;
    session.write.result = Ok{};
    session.writing = true;
    if (!session.stream->start_write(session.write)) {
      return;
    }
    session.writing = false;
    if (!session.write.result.ok()) {
      session.stream->close();  // the receiver sees the end
      return;
    }
  }
}

// What is to be sent next, as far as the shelf has room.
void ShelfDisk::gather() {
  Session& session = *session_;
  std::size_t bytes = 0;
  ++session.batch;
  if (std::exchange(ping_due_, false)) {
    session.ping = RequestHeader{.kind = static_cast<std::uint8_t>(WireKind::kPing)};
    seal(session.ping);
    session.out.push_back(bytes_of(session.ping));
  }
  for (std::size_t i = 0; i < kGatherRequests && bytes < kGatherBytes; ++i) {
    Request* const request = next_to_send_;
    const bool room = request != nullptr && at_shelf_ < requests_max_ &&
                      (bytes_at_shelf_ == 0 || bytes_at_shelf_ + request->bytes <= bytes_max_);
    if (!room) {
      return;
    }
    RequestHeader& header = request->header;
    header.flags = std::exchange(request->sent_ever, true) ? kFlagRepeated : std::uint8_t{0};
    const std::size_t first = session.out.size();
    session.out.push_back(bytes_of(header));
    if (header.payload_bytes > 0) {
      if (request->operation != nullptr) {
        slice(request->operation->parts, request->first_byte, request->bytes, session.out);
      } else if (static_cast<WireKind>(header.kind) == WireKind::kCompareAndSwap) {
        session.out.push_back(request->command->request.expected);
        session.out.push_back(request->command->request.desired);
      } else {
        slice(request->command->request.parts, 0, request->bytes, session.out);
      }
      header.payload_checksum = 0;
      for (std::size_t part = first + 1; part < session.out.size(); ++part) {
        header.payload_checksum = crc32c(session.out[part], header.payload_checksum);
      }
      bytes += header.payload_bytes;
    }
    seal(header);
    request->batch = session.batch;
    request->out_end = session.out.size();
    request->sent = true;
    ++at_shelf_;
    bytes_at_shelf_ += request->bytes;
    next_to_send_ = request->newer;
  }
}

}  // namespace duet::shelf
