#include "server_connection.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace duet::shelf {

namespace {

// A name has no zero within it, and nothing but zeros behind it.
std::optional<std::string_view> name_in(const HelloBody& body) {
  const auto end = std::ranges::find(body.disk, '\0');
  if (std::any_of(end, body.disk.end(), [](char c) { return c != '\0'; })) {
    return std::nullopt;
  }
  return std::string_view(body.disk.data(), static_cast<std::size_t>(end - body.disk.begin()));
}

}  // namespace

ShelfServer::ShelfServer(Scheduler& scheduler, const ShelfServerOptions& options)
    : scheduler_(scheduler), options_(options), buffers_(std::make_unique<BufferPool>()) {}

ShelfServer::~ShelfServer() = default;

Status ShelfServer::add_disk(const std::string& name, Target& target) {
  if (name.empty() || name.size() > kDiskNameMax || name.find('\0') != std::string::npos) {
    return Error{Errc::kInvalid, "a disk's name has 1 to 64 bytes"};
  }
  if (!disks_.emplace(name, &target).second) {
    return Error{Errc::kExists, "another disk has this name"};
  }
  return Ok{};
}

Task<void> ShelfServer::serve(std::unique_ptr<ByteStream> stream) {
  if (counters_.connections >= options_.connections_max) {
    ++counters_.refused;
    co_return;
  }
  ++counters_.connections;
  ++counters_.accepted;
  const auto connection = std::make_unique<ServerConnection>(*this, *stream);
  co_await connection->run();
  --counters_.connections;
}

ServerConnection::ServerConnection(ShelfServer& server, ByteStream& stream)
    : server_(server),
      scheduler_(server.scheduler_),
      stream_(stream),
      reader_(stream),
      sender_(*this),
      write_(*this),
      room_(scheduler_),
      scope_(scheduler_) {}

ServerConnection::~ServerConnection() = default;

Task<void> ServerConnection::run() {
  scope_.spawn(end_late_hello());
  const bool let_in = co_await hello();
  scope_.cancel();
  if (let_in) {
    scope_.spawn(close_when_replaced());
    co_await receive();
    session_->close();
    co_await session_->drained();
    scope_.cancel();
  }
  // The last answers leave, unless nobody takes them: closing ends a write that waits.
  if (writing_ && let_in) {
    stream_.close();
  }
  while (writing_ || !ready_.empty()) {
    co_await room_.wait();
  }
  stream_.close();
}

Task<void> ServerConnection::end_late_hello() {
  co_await sleep(scheduler_, server_.options_.hello_max);
  stream_.close();
}

Task<void> ServerConnection::close_when_replaced() {
  co_await session_->wait_closed();
  stream_.close();
}

// ------------------------------------------------------------------------------ receiving

bool ServerConnection::corrupt() {
  ++server_.counters_.corrupt;
  return false;
}

Task<bool> ServerConnection::hello() {
  const bool arrived = co_await reader_.fill(sizeof(RequestHeader) + sizeof(HelloBody));
  if (!arrived) {
    co_return false;
  }
  const Result<ParsedRequest> parsed = parse_request(reader_.buffered());
  if (!parsed.ok() || !parsed.value().known ||
      static_cast<WireKind>(parsed.value().header.kind) != WireKind::kHello) {
    co_return corrupt();
  }
  const RequestHeader header = parsed.value().header;
  reader_.consume(sizeof(RequestHeader));
  const auto body = load<HelloBody>(reader_.buffered(), 0);
  if (crc32c(bytes_of(body)) != header.payload_checksum) {
    co_return corrupt();
  }
  reader_.consume(sizeof(HelloBody));
  Request& request = take_request(header);
  const std::optional<std::string_view> name = name_in(body);
  const auto disk = name ? server_.disks_.find(*name) : server_.disks_.end();
  Status refusal = Ok{};
  if (body.version_min > kWireVersion || body.version_max < kWireVersion) {
    refusal = Error{Errc::kNotSupported, "the client speaks another version"};
  } else if (disk == server_.disks_.end()) {
    refusal = Error{Errc::kNotFound, "no disk of that name"};
  }
  if (refusal.ok()) {
    target_ = disk->second;
    const Target::Initiator initiator{.key = DiskKey{body.key}, .number = body.number};
    auto entered = co_await target_->enter(initiator);
    if (entered.ok()) {
      session_ = std::move(entered.value());
    } else {
      refusal = entered.error();
    }
  }
  if (!refusal.ok()) {
    ++server_.counters_.refused;
    answer(request, refusal, {});
    co_return false;
  }
  const HelloReplyBody reply{.requests_max = server_.options_.requests_max,
                             .bytes_max = server_.options_.bytes_max,
                             .disk = target_->identity().id,
                             .blocks = target_->identity().blocks,
                             .power = server_.options_.power,
                             .features = encode_features(Target::features())};
  const ConstBytes bytes = bytes_of(reply);
  request.body.assign(bytes.begin(), bytes.end());
  answer(request, Ok{}, request.body);
  co_return true;
}

bool ServerConnection::has_room() const {
  return under_way_ < server_.options_.requests_max &&
         bytes_under_way_ < server_.options_.bytes_max;
}

Task<void> ServerConnection::receive() {
  for (;;) {
    if (reader_.buffered().size() < sizeof(RequestHeader)) {
      const bool arrived = co_await reader_.fill(sizeof(RequestHeader));
      if (!arrived) {
        co_return;
      }
    }
    while (!has_room() && !session_->closed()) {
      co_await room_.wait();
    }
    const Result<ParsedRequest> parsed = parse_request(reader_.buffered());
    if (!parsed.ok() || static_cast<WireKind>(parsed.value().header.kind) == WireKind::kHello) {
      corrupt();
      co_return;
    }
    const RequestHeader header = parsed.value().header;
    reader_.consume(sizeof(RequestHeader));
    if (!parsed.value().known) {
      const bool skipped = co_await skip(header.payload_bytes);
      if (!skipped) {
        co_return;
      }
      answer(take_request(header), Error{Errc::kNotSupported, "an unknown kind of request"}, {});
      continue;
    }
    Request& request = take_request(header);
    if (header.payload_bytes > 0) {
      MutableBytes rest(request.buffer.data(), header.payload_bytes);
      reader_.expect_large(header.payload_bytes >= FrameReader::kDirectBytes);
      bool whole = reader_.take(rest);
      if (!whole) {
        whole = co_await reader_.take_rest(rest);
      }
      const ConstBytes payload(request.buffer.data(), header.payload_bytes);
      if (!whole || crc32c(payload) != header.payload_checksum) {
        if (whole) {
          corrupt();
        }
        release(request);
        co_return;
      }
    }
    execute(request);
  }
}

Task<bool> ServerConnection::skip(std::size_t bytes) {
  while (bytes > 0) {
    const bool arrived = co_await reader_.fill(1);
    if (!arrived) {
      co_return false;
    }
    const std::size_t count = std::min(bytes, reader_.buffered().size());
    reader_.consume(count);
    bytes -= count;
  }
  co_return true;
}

ServerConnection::Request& ServerConnection::take_request(const RequestHeader& header) {
  if (free_.empty()) {
    free_.push_back(all_.emplace_back(std::make_unique<Request>(*this)).get());
  }
  Request& request = *free_.back();
  free_.pop_back();
  request.header = header;
  const bool reads = static_cast<WireKind>(header.kind) == WireKind::kRead;
  request.buffer_bytes =
      reads ? std::size_t{header.block_count} * kBlockBytes : header.payload_bytes;
  if (request.buffer_bytes > 0) {
    request.buffer = server_.buffers_->take(request.buffer_bytes);
  }
  ++under_way_;
  bytes_under_way_ += request.buffer_bytes;
  return request;
}

void ServerConnection::release(Request& request) {
  if (request.buffer_bytes > 0) {
    server_.buffers_->give(std::move(request.buffer));
  }
  bytes_under_way_ -= request.buffer_bytes;
  --under_way_;
  request.command.reset();
  free_.push_back(&request);
  if (!room_.empty()) {
    room_.wake_all();
  }
}

// ------------------------------------------------------------------------------- carrying out

void ServerConnection::execute(Request& request) {
  const auto kind = static_cast<WireKind>(request.header.kind);
  if (kind == WireKind::kPing) {
    answer(request, Ok{}, {});
  } else if (const auto command = command_of(kind)) {
    execute_command(request, *command);
  } else {
    execute_io(request);
  }
}

void ServerConnection::execute_io(Request& request) {
  const RequestHeader& header = request.header;
  const auto kind = static_cast<WireKind>(header.kind);
  const std::uint64_t blocks = target_->identity().blocks;
  if (kind == WireKind::kFlush) {
    request.kind = BlockOperation::Kind::kFlush;
    request.block = 0;
    request.parts = {};
    session_->start(request, header.epoch);
    return;
  }
  if (header.block > blocks || header.block_count > blocks - header.block) {
    answer(request, Error{Errc::kInvalid, "beyond the end of the disk"}, {});
    return;
  }
  request.kind =
      kind == WireKind::kRead ? BlockOperation::Kind::kRead : BlockOperation::Kind::kWrite;
  request.block = header.block;
  request.part = MutableBytes(request.buffer.data(), request.buffer_bytes);
  request.parts = {&request.part, 1};
  if (kind == WireKind::kWriteDurable) {
    session_->start_durable(request, header.epoch);
  } else {
    session_->start(request, header.epoch);
  }
}

void ServerConnection::execute_command(Request& request, DiskRequest::Kind kind) {
  const RequestHeader& header = request.header;
  DiskRequest what{.kind = kind,
                   .reservation = static_cast<Reservation>(header.reservation),
                   .victim = DiskKey{header.victim},
                   .epoch = header.epoch,
                   .block = header.block};
  bool sensible = header.reservation <= static_cast<std::uint8_t>(Reservation::kExclusiveAccess);
  if (kind == DiskRequest::Kind::kCompareAndSwap) {
    sensible = sensible && header.block < target_->identity().blocks;
    const ConstBytes payload(request.buffer.data(), 2 * kBlockBytes);
    what.expected = payload.first(kBlockBytes);
    what.desired = payload.subspan(kBlockBytes);
  }
  if (!sensible) {
    answer(request, Error{Errc::kInvalid, "a command that makes no sense"}, {});
    return;
  }
  request.command = std::make_unique<Command>(request, what);
  session_->start_command(*request.command, (header.flags & kFlagRepeated) != 0);
}

void ServerConnection::finish(Request& request, const Status& result) {
  const bool data = result.ok() && request.kind == BlockOperation::Kind::kRead;
  answer(request, result, data ? ConstBytes(request.part) : ConstBytes());
}

void ServerConnection::finish(Command& command) {
  Request& request = command.owner;
  ConstBytes payload;
  if (command.result.ok() && command.request.kind == DiskRequest::Kind::kReadState) {
    const StateBody state = encode_state(command.state);
    const ConstBytes bytes = bytes_of(state);
    request.body.assign(bytes.begin(), bytes.end());
    payload = request.body;
  }
  answer(request, command.result, payload);
}

// ---------------------------------------------------------------------------------- answering

// `payload` stands in the request.
void ServerConnection::answer(Request& request, const Status& result, ConstBytes payload) {
  if (broken_) {
    release(request);
    return;
  }
  ReplyHeader& reply = request.reply;
  reply = ReplyHeader{.kind = request.header.kind,
                      .status = static_cast<std::uint16_t>(wire_status(result)),
                      .tag = request.header.tag,
                      .payload_bytes = static_cast<std::uint32_t>(payload.size()),
                      .payload_checksum = crc32c(payload)};
  seal(reply);
  request.part = MutableBytes(const_cast<std::byte*>(payload.data()), payload.size());
  ready_.push_back(&request);
  if (!writing_ && !sender_.linked()) {
    scheduler_.post_last(sender_);
  }
}

void ServerConnection::send() {
  while (!writing_ && !ready_.empty()) {
    std::swap(ready_, sending_);
    parts_.clear();
    for (const Request* request : sending_) {
      parts_.push_back(bytes_of(request->reply));
      if (!request->part.empty()) {
        parts_.push_back(request->part);
      }
    }
    write_.parts = parts_;
    write_.result = Ok{};
    writing_ = true;
    if (!stream_.start_write(write_)) {
      return;
    }
    sent();
  }
}

void ServerConnection::sent() {
  writing_ = false;
  if (!write_.result.ok()) {
    broken_ = true;
    stream_.close();
  }
  for (Request* request : std::exchange(sending_, {})) {
    release(*request);
  }
  if (broken_) {
    for (Request* request : std::exchange(ready_, {})) {
      release(*request);
    }
  }
  room_.wake_all();
}

}  // namespace duet::shelf
