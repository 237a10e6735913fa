#include "connection.h"

#include <algorithm>
#include <array>

namespace duet::nbd {

namespace {

ReplyError error_of(const Status& status) {
  if (status.ok()) {
    return ReplyError::kNone;
  }
  return status.error().code == Errc::kNoSpace ? ReplyError::kNoSpace : ReplyError::kIo;
}

std::array<std::byte, kReplyBytes> reply_header(const Request& request, ReplyError error) {
  std::array<std::byte, kReplyBytes> header{};
  store_big(header, 0, kReplyMagic);
  store_big(header, 4, static_cast<std::uint32_t>(error));
  store_big(header, 8, request.cookie);
  return header;
}

// What WRITE_ZEROES writes, at most so much in one update.
constexpr std::size_t kZeroBytes = 64U << 10U;
constexpr std::size_t kZeroParts = 16;
alignas(kBlockBytes) std::array<std::byte, kZeroBytes> zeroes{};

std::uint64_t block_of(std::uint64_t offset) { return offset / kBlockBytes; }

}  // namespace

// A request of this connection, and what it holds.
class Connection::UnderWay {
 public:
  UnderWay(Connection& connection, std::size_t bytes) : connection_(connection), bytes_(bytes) {
    ++connection_.requests_;
    connection_.bytes_ += bytes_;
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() {
    --connection_.requests_;
    connection_.bytes_ -= bytes_;
    connection_.changed_.wake_all();
    if (connection_.draining_ && connection_.requests_ == 0) {
      connection_.close();
    }
  }

 private:
  Connection& connection_;
  const std::size_t bytes_;
};

Connection::Connection(Hub& hub, std::unique_ptr<ByteStream> stream, const filer::Address& address,
                       std::uint16_t port)
    : hub_(hub),
      stream_(std::move(stream)),
      address_(address),
      port_(port),
      receiver_(*stream_),
      member_(hub.all.insert(hub.all.end(), this)),
      changed_(hub.scheduler),
      sending_(hub.scheduler),
      receive_by_(hub.scheduler.now() + hub.options.handshake_timeout),
      scope_(hub.scheduler) {}

Connection::~Connection() {
  scope_.cancel();
  hub_.all.erase(member_);
  hub_.clients.leave(address_);
}

void Connection::close() {
  if (closed_) {
    return;
  }
  closed_ = true;
  receive_by_.reset();
  taken_by_.reset();
  stream_->close();
  changed_.wake_all();
  hub_.buffers.wake_all();  // it may wait there
}

void Connection::drain() {
  draining_ = true;
  changed_.wake_all();
  if (requests_ == 0) {
    close();
  }
}

bool Connection::overdue(Instant now) const {
  return (receive_by_ && now >= *receive_by_) || (taken_by_ && now >= *taken_by_);
}

ConnectionInfo Connection::info() const {
  ConnectionInfo info;
  info.client = filer::address_text(address_);
  info.port = port_;
  info.requests = requests_;
  if (choice_) {
    info.name = hub_.exports[choice_->index].name;
    info.read_only = choice_->read_only;
  }
  return info;
}

Task<void> Connection::run() {
  {
    Haggling haggling(hub_, *stream_, receiver_, address_);
    const std::optional<Choice> choice = co_await haggling.run();
    choice_ = choice;
  }
  receive_by_.reset();
  if (choice_ && !closed_) {
    co_await serve();
  }
  receive_by_.reset();
  while (requests_ > 0) {
    co_await changed_.wait();
  }
  close();
}

bool Connection::full() const {
  return requests_ >= hub_.options.requests_per_connection ||
         (requests_ > 0 && bytes_ >= hub_.options.bytes_per_connection);
}

Task<void> Connection::serve() {
  for (;;) {
    while (full() && !closed_) {
      co_await changed_.wait();
    }
    if (closed_ || draining_) {
      co_return;
    }
    const bool more = co_await receiver_.ready();
    if (!more || closed_ || draining_) {
      co_return;
    }
    receive_by_ = hub_.scheduler.now() + hub_.options.request_timeout;
    std::array<std::byte, kRequestBytes> header{};
    const bool there = co_await receiver_.fill(header);
    if (!there) {
      co_return;
    }
    const Request request = load_request(header);
    if (request.magic != kRequestMagic) {
      ++hub_.totals.violations;
      close();
      co_return;
    }
    if (request.command == static_cast<std::uint16_t>(Command::kDisconnect)) {
      co_return;
    }
    const bool goes_on = co_await take(request);
    receive_by_.reset();
    if (!goes_on) {
      co_return;
    }
  }
}

ReplyError Connection::check(const Request& request, const BlockDevice& disk) const {
  const auto command = static_cast<Command>(request.command);
  const bool zeroes_blocks = command == Command::kWriteZeroes;
  const auto flags = static_cast<std::uint16_t>(zeroes_blocks ? kFua | kNoHole : kFua);
  if ((request.flags & ~flags) != 0) {
    return ReplyError::kInvalid;
  }
  if (command == Command::kFlush) {
    return request.offset == 0 && request.bytes == 0 ? ReplyError::kNone : ReplyError::kInvalid;
  }
  const bool writes = command == Command::kWrite || zeroes_blocks;
  if (!writes && command != Command::kRead) {
    return ReplyError::kInvalid;
  }
  if (writes && choice_->read_only) {
    return ReplyError::kPermission;
  }
  const bool whole_blocks =
      request.bytes > 0 && request.bytes % kBlockBytes == 0 && request.offset % kBlockBytes == 0;
  if (!whole_blocks || (!zeroes_blocks && request.bytes > kBlockSizeMax)) {
    return ReplyError::kInvalid;
  }
  const std::uint64_t disk_bytes = disk.block_count() * kBlockBytes;
  if (request.offset > disk_bytes || request.bytes > disk_bytes - request.offset) {
    return writes ? ReplyError::kNoSpace : ReplyError::kInvalid;
  }
  return ReplyError::kNone;
}

// False: nothing more is read.
Task<bool> Connection::take(Request request) {
  BlockDevice* const disk = hub_.exports[choice_->index].disk();
  if (disk == nullptr) {
    close();
    co_return false;
  }
  const auto command = static_cast<Command>(request.command);
  if (command == Command::kWrite && request.bytes > kBlockSizeMax) {
    ++hub_.totals.violations;
    close();
    co_return false;
  }
  const ReplyError wrong = check(request, *disk);
  if (wrong != ReplyError::kNone) {
    const std::uint32_t data = command == Command::kWrite ? request.bytes : 0;
    const bool skipped = co_await receiver_.skip(data);
    scope_.spawn(refuse(request, wrong));
    co_return skipped;
  }
  if (command == Command::kFlush) {
    scope_.spawn(flush(request, *disk));
    co_return true;
  }
  if (command == Command::kWriteZeroes) {
    scope_.spawn(write_zeroes(request, *disk));
    co_return true;
  }
  co_return co_await take_data(request, *disk);
}

// It is we who do not read: the peer's time begins again afterwards.
Task<bool> Connection::wait_for_room(std::size_t bytes) {
  while (!closed_ && !hub_.buffers.has_room(bytes)) {
    receive_by_.reset();
    co_await hub_.buffers.room();
  }
  if (!closed_) {
    receive_by_ = hub_.scheduler.now() + hub_.options.request_timeout;
  }
  co_return !closed_;
}

Task<bool> Connection::take_data(Request request, BlockDevice& disk) {
  const std::size_t piece = std::min<std::size_t>(request.bytes, hub_.options.piece_bytes);
  const bool room = co_await wait_for_room(piece);
  if (!room) {
    co_return false;
  }
  Buffers::Buffer buffer = hub_.buffers.take(piece);
  if (request.command == static_cast<std::uint16_t>(Command::kRead)) {
    scope_.spawn(read(request, disk, std::move(buffer)));
    co_return true;
  }
  if (piece < request.bytes) {
    co_return co_await write_long(request, disk, std::move(buffer));
  }
  const bool there = co_await receiver_.fill(buffer.bytes());
  if (there && !closed_) {
    scope_.spawn(write(request, disk, std::move(buffer)));
  }
  co_return there;
}

bool Connection::may_tell(const Status& done) {
  if (!done.ok() && (done.error().code == Errc::kFenced || done.error().code == Errc::kClosed)) {
    close();
  }
  return !closed_;
}

Task<void> Connection::refuse(Request request, ReplyError why) {
  const UnderWay under_way(*this, 0);
  co_await reply(request, why);
}

// What a write asks for with FUA.  Answers that last need nothing more.
Task<Status> Connection::make_last(const Request& request, BlockDevice& disk, Status written) {
  const bool flush = (request.flags & kFua) != 0 && hub_.exports[choice_->index].volatile_answers;
  if (!flush || !written.ok()) {
    co_return written;
  }
  const Status flushed = co_await disk.flush();
  co_return flushed;
}

Task<void> Connection::write(Request request, BlockDevice& disk, Buffers::Buffer buffer) {
  const UnderWay under_way(*this, buffer.bytes().size());
  const MutableBytes part = buffer.bytes();
  const Status done =
      co_await disk.write(block_of(request.offset), std::span<const MutableBytes>(&part, 1));
  const Status written = co_await make_last(request, disk, done);
  if (written.ok()) {
    ++counters().writes;
    counters().written_bytes += request.bytes;
  }
  if (may_tell(written)) {
    co_await reply(request, error_of(written));
  }
}

// After an error the rest is taken off the stream.
Task<bool> Connection::write_long(Request request, BlockDevice& disk, Buffers::Buffer buffer) {
  const UnderWay under_way(*this, buffer.bytes().size());
  Status written = Ok{};
  for (std::uint64_t done = 0; done < request.bytes;) {
    const std::uint64_t left = request.bytes - done;
    const MutableBytes part =
        buffer.bytes().first(std::min<std::uint64_t>(left, buffer.bytes().size()));
    receive_by_ = hub_.scheduler.now() + hub_.options.request_timeout;
    const bool there = co_await receiver_.fill(part);
    receive_by_.reset();
    if (!there || closed_) {
      co_return false;
    }
    if (written.ok()) {
      const Status piece = co_await disk.write(block_of(request.offset + done),
                                               std::span<const MutableBytes>(&part, 1));
      written = piece;
    }
    done += part.size();
  }
  const Status last = co_await make_last(request, disk, written);
  written = last;
  if (written.ok()) {
    ++counters().writes;
    counters().written_bytes += request.bytes;
  }
  if (may_tell(written)) {
    scope_.spawn(refuse(request, error_of(written)));
  }
  co_return !closed_;
}

Task<void> Connection::write_zeroes(Request request, BlockDevice& disk) {
  const UnderWay under_way(*this, 0);
  Status written = Ok{};
  std::array<MutableBytes, kZeroParts> parts{};
  for (std::uint64_t done = 0; done < request.bytes && written.ok() && !closed_;) {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    while (count < parts.size() && done + bytes < request.bytes) {
      parts[count] = MutableBytes(zeroes).first(
          std::min<std::uint64_t>(kZeroBytes, request.bytes - done - bytes));
      bytes += parts[count++].size();
    }
    const std::span<const MutableBytes> these(parts.data(), count);
    const Status piece = co_await disk.write(block_of(request.offset + done), these);
    written = piece;
    done += bytes;
  }
  const Status last = co_await make_last(request, disk, written);
  written = last;
  if (written.ok() && !closed_) {
    ++counters().zeroes;
    counters().written_bytes += request.bytes;
  }
  if (may_tell(written)) {
    co_await reply(request, error_of(written));
  }
}

Task<void> Connection::flush(Request request, BlockDevice& disk) {
  const UnderWay under_way(*this, 0);
  const Status flushed = co_await disk.flush();
  if (flushed.ok()) {
    ++counters().flushes;
  }
  if (may_tell(flushed)) {
    co_await reply(request, error_of(flushed));
  }
}

Task<void> Connection::read(Request request, BlockDevice& disk, Buffers::Buffer buffer) {
  const UnderWay under_way(*this, buffer.bytes().size());
  const MutableBytes part = buffer.bytes();
  const Status got =
      co_await disk.read(block_of(request.offset), std::span<const MutableBytes>(&part, 1));
  if (!may_tell(got)) {
    co_return;
  }
  if (!got.ok()) {
    co_await reply(request, error_of(got));
    co_return;
  }
  co_await send_data(request, disk, part);
}

// `piece`: the first one.  Others are read into its place, one after another; an error there can
// only be said by ending the connection.
Task<void> Connection::send_data(Request request, BlockDevice& disk, MutableBytes piece) {
  const AsyncMutex::Guard turn = co_await sending_.lock();
  const std::array<std::byte, kReplyBytes> header = reply_header(request, ReplyError::kNone);
  bool sent = co_await send(header, piece);
  for (std::uint64_t done = piece.size(); sent && done < request.bytes;) {
    const std::uint64_t left = request.bytes - done;
    const MutableBytes next = piece.first(std::min<std::uint64_t>(left, piece.size()));
    const Status got = co_await disk.read(block_of(request.offset + done),
                                          std::span<const MutableBytes>(&next, 1));
    if (!got.ok()) {
      ++counters().errors;
      close();
      co_return;
    }
    const bool more = co_await send(next, ConstBytes());
    sent = more;
    done += next.size();
  }
  if (sent) {
    ++counters().reads;
    counters().read_bytes += request.bytes;
  }
}

Task<void> Connection::reply(Request request, ReplyError error) {
  counters().errors += error == ReplyError::kNone ? 0 : 1;
  const AsyncMutex::Guard turn = co_await sending_.lock();
  const std::array<std::byte, kReplyBytes> header = reply_header(request, error);
  const bool sent = co_await send(header, ConstBytes());
  static_cast<void>(sent);
}

// Last of all the lease is read.  REQUIRES: it is the caller's turn.
Task<bool> Connection::send(ConstBytes first, ConstBytes second) {
  while (!closed_ && hub_.gate != nullptr && !hub_.gate->may_answer()) {
    co_await hub_.gate->resumed().wait();
  }
  if (closed_) {
    co_return false;
  }
  std::array<ConstBytes, 2> parts{first, second};
  taken_by_ = hub_.scheduler.now() + hub_.options.reply_timeout;
  const std::span<ConstBytes> wanted = std::span(parts).first(second.empty() ? 1 : 2);
  const Status sent = co_await stream_->write_all(wanted);
  taken_by_.reset();
  if (!sent.ok()) {
    close();
  }
  co_return sent.ok();
}

}  // namespace duet::nbd
