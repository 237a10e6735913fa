// Bytes that strangers send: the server and the client end the connection, and nothing else.

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

#include "shelf/wire_format.h"
#include "wire_fixture.h"

namespace duet::shelf::testing {
namespace {

using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

void append(Bytes& bytes, ConstBytes more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

RequestHeader request(WireKind kind, std::uint32_t payload_bytes = 0,
                      std::uint32_t block_count = 0) {
  RequestHeader header{.kind = static_cast<std::uint8_t>(kind),
                       .tag = 7,
                       .block_count = block_count,
                       .payload_bytes = payload_bytes};
  seal(header);
  return header;
}

HelloBody hello_body(DiskKey key = kA1, std::uint64_t number = 1) {
  HelloBody body{.key = static_cast<std::uint64_t>(key), .number = number};
  body.disk[0] = 'd';
  body.disk[1] = '0';
  return body;
}

Bytes hello(const HelloBody& body = hello_body()) {
  RequestHeader header{.kind = static_cast<std::uint8_t>(WireKind::kHello),
                       .payload_bytes = sizeof(body),
                       .payload_checksum = crc32c(bytes_of(body))};
  seal(header);
  Bytes bytes;
  append(bytes, bytes_of(header));
  append(bytes, bytes_of(body));
  return bytes;
}

Task<void> write_all(ByteStream& stream, const Bytes& bytes) {
  ConstBytes part(bytes);
  const auto ignored1 = co_await stream.write_all(std::span(&part, 1));
  static_cast<void>(ignored1);
}
Task<void> read_all(ByteStream& stream, Bytes& into, bool& ended) {
  std::array<std::byte, 512> buffer;
  for (;;) {
    const Result<std::size_t> got = co_await stream.read_some(buffer);
    if (!got.ok() || got.value() == 0) {
      ended = true;
      co_return;
    }
    append(into, ConstBytes(buffer).first(got.value()));
  }
}

class HostileTest : public ::testing::Test {
 protected:
  struct Answer {
    Bytes bytes;
    bool ended = false;
    // Of the replies, in order.  Stops at what is no header.
    [[nodiscard]] std::vector<ReplyHeader> replies() const {
      std::vector<ReplyHeader> found;
      for (std::size_t at = 0; at + sizeof(ReplyHeader) <= bytes.size();) {
        const auto reply = parse_reply(ConstBytes(bytes).subspan(at));
        if (!reply.ok()) {
          break;
        }
        found.push_back(reply.value());
        at += sizeof(ReplyHeader) + reply.value().payload_bytes;
      }
      return found;
    }
  };

  // What a client hears that sends these bytes and waits.
  Answer send(const Bytes& bytes, Duration time = 100ms) {
    auto stream = wire_.connect();
    DUET_CHECK(stream.ok());
    Answer answer;
    TaskScope scope(shelf_.scheduler);
    scope.spawn(read_all(*stream.value(), answer.bytes, answer.ended));
    scope.spawn(write_all(*stream.value(), bytes));
    DUET_CHECK(shelf_.scheduler.run_for(time));
    return answer;
  }
  // After a hello that is accepted.
  Answer send_after_hello(ConstBytes more) {
    Bytes bytes = hello(hello_body(kA1, ++number_));
    append(bytes, more);
    return send(bytes);
  }
  std::uint16_t status_after_hello(const RequestHeader& header, const Bytes& payload = {}) {
    Bytes bytes;
    append(bytes, bytes_of(header));
    append(bytes, payload);
    const Answer answer = send_after_hello(bytes);
    EXPECT_FALSE(answer.ended);
    EXPECT_EQ(answer.replies().size(), 2U);
    return answer.replies().size() == 2 ? answer.replies()[1].status : std::uint16_t{0xFFFF};
  }

  Shelf shelf_{1};
  WireShelf wire_{shelf_};
  std::uint64_t number_ = 0;
};

TEST_F(HostileTest, AHelloIsAnswered) {
  const Answer answer = send(hello());
  ASSERT_EQ(answer.replies().size(), 1U);
  EXPECT_EQ(answer.replies()[0].status, 0U);
  EXPECT_EQ(answer.replies()[0].payload_bytes, sizeof(HelloReplyBody));
  EXPECT_FALSE(answer.ended);
}

TEST_F(HostileTest, NothingIsDoneBeforeAHello) {
  Bytes bytes;
  append(bytes, bytes_of(request(WireKind::kRead, 0, 1)));
  bytes.resize(bytes.size() + 200);
  const Answer answer = send(bytes);
  EXPECT_TRUE(answer.ended);
  EXPECT_TRUE(answer.bytes.empty());
  EXPECT_EQ(shelf_.target->counters().reads, 0U);
}

TEST_F(HostileTest, WhoSaysNothingIsLetGo) {
  EXPECT_FALSE(send({}, 9s).ended);
  EXPECT_TRUE(send({}, 11s).ended);
  EXPECT_EQ(wire_.server().counters().connections, 0U);
}

TEST_F(HostileTest, AnEveryByteOfAHelloCounts) {
  const Bytes good = hello();
  for (std::size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x10};
    const Answer answer = send(bad, 5ms);
    EXPECT_TRUE(answer.ended) << at;
    EXPECT_TRUE(answer.bytes.empty()) << at;
  }
  EXPECT_EQ(wire_.server().counters().corrupt, good.size());
}

TEST_F(HostileTest, AHelloThatIsRefusedIsToldWhy) {
  HelloBody body = hello_body();
  body.version_min = 2;
  body.version_max = 9;
  Answer answer = send(hello(body));
  ASSERT_EQ(answer.replies().size(), 1U);
  EXPECT_EQ(answer.replies()[0].status, static_cast<std::uint16_t>(WireStatus::kNotSupported));
  EXPECT_TRUE(answer.ended);
  answer = send(hello(hello_body(kNoKey)));
  ASSERT_EQ(answer.replies().size(), 1U);
  EXPECT_EQ(answer.replies()[0].status, static_cast<std::uint16_t>(WireStatus::kInvalid));
  body = hello_body();
  body.disk.fill('x');  // 64 bytes, no zero
  answer = send(hello(body));
  ASSERT_EQ(answer.replies().size(), 1U);
  EXPECT_EQ(answer.replies()[0].status, static_cast<std::uint16_t>(WireStatus::kNotFound));
  body = hello_body();
  body.disk[10] = 'x';  // behind the name's end
  answer = send(hello(body));
  ASSERT_EQ(answer.replies().size(), 1U);
  EXPECT_EQ(answer.replies()[0].status, static_cast<std::uint16_t>(WireStatus::kNotFound));
}

TEST_F(HostileTest, FramesThatCannotBeBelievedEndTheConnection) {
  std::vector<RequestHeader> bad;
  bad.push_back(request(WireKind::kHello, sizeof(HelloBody)));
  bad.push_back(request(WireKind::kRead, 0, 0));
  bad.push_back(request(WireKind::kRead, 0, kTransferBlocksMax + 1));
  bad.push_back(request(WireKind::kRead, 4096, 1));
  bad.push_back(request(WireKind::kWrite, 4096, 2));
  bad.push_back(request(WireKind::kWrite, 0, 0));
  bad.push_back(request(WireKind::kWrite, 0xFFFFF000, 0xFFFFF));
  bad.push_back(request(WireKind::kWriteDurable, 0x80001000, 0x80001));
  bad.push_back(request(WireKind::kFlush, 1));
  bad.push_back(request(WireKind::kCompareAndSwap, 4096));
  bad.push_back(
      request(static_cast<WireKind>(99), static_cast<std::uint32_t>(kPayloadBytesMax) + 1));
  bad.push_back(request(WireKind::kPing));
  bad.back().tag ^= 1;  // its checksum is wrong now
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const Answer answer = send_after_hello(bytes_of(bad[i]));
    EXPECT_TRUE(answer.ended) << i;
    EXPECT_LE(answer.replies().size(), 1U) << i;
  }
  EXPECT_EQ(wire_.server().counters().corrupt, bad.size());
  EXPECT_EQ(shelf_.target->counters().reads + shelf_.target->counters().writes, 0U);
}

TEST_F(HostileTest, APayloadWithAWrongChecksumIsNotWritten) {
  Bytes bytes;
  append(bytes, bytes_of(request(WireKind::kWrite, 4096, 1)));
  bytes.resize(bytes.size() + 4096, std::byte{1});
  const Answer answer = send_after_hello(bytes);
  EXPECT_TRUE(answer.ended);
  EXPECT_EQ(shelf_.target->counters().writes, 0U);
}

TEST_F(HostileTest, WhatIsBeyondTheDiskIsRefused) {
  const auto invalid = static_cast<std::uint16_t>(WireStatus::kInvalid);
  for (const std::uint64_t block : {kBlocks - 1, kBlocks, kBlocks + 1, ~std::uint64_t{0}}) {
    RequestHeader header = request(WireKind::kRead, 0, 2);
    header.block = block;
    seal(header);
    EXPECT_EQ(status_after_hello(header), invalid) << block;
    header = request(WireKind::kCompareAndSwap, 8192);
    header.block = block;
    header.payload_checksum = crc32c(Bytes(8192));
    seal(header);
    EXPECT_EQ(status_after_hello(header, Bytes(8192)), block < kBlocks ? 0 : invalid) << block;
  }
  EXPECT_EQ(shelf_.target->counters().reads, 0U);
}

TEST_F(HostileTest, UnknownKindsAndSenselessCommandsAreRefusedAndTheRestGoesOn) {
  Bytes bytes;
  append(bytes, bytes_of(request(static_cast<WireKind>(99), 700)));
  bytes.resize(bytes.size() + 700);
  RequestHeader header = request(WireKind::kReserve);
  header.reservation = 3;
  seal(header);
  append(bytes, bytes_of(header));
  header = request(WireKind::kReserve);  // of no kind
  append(bytes, bytes_of(header));
  append(bytes, bytes_of(request(WireKind::kPing)));
  const Answer answer = send_after_hello(bytes);
  EXPECT_FALSE(answer.ended);
  std::multiset<std::uint16_t> statuses;
  for (const ReplyHeader& reply : answer.replies()) {
    statuses.insert(reply.status);
  }
  EXPECT_EQ(statuses,
            (std::multiset<std::uint16_t>{0, 0, static_cast<std::uint16_t>(WireStatus::kInvalid),
                                          static_cast<std::uint16_t>(WireStatus::kInvalid),
                                          static_cast<std::uint16_t>(WireStatus::kNotSupported)}));
}

TEST_F(HostileTest, TooManyConnectionsAreRefused) {
  WireShelf small(shelf_, {.connections_max = 2});
  std::vector<std::unique_ptr<ByteStream>> streams;
  for (int i = 0; i < 5; ++i) {
    streams.push_back(std::move(small.connect().value()));
  }
  EXPECT_EQ(small.server().counters().connections, 2U);
  EXPECT_EQ(small.server().counters().refused, 3U);
}

// Nobody's word is taken for how much memory is needed: half a frame holds one buffer.
TEST_F(HostileTest, HalfAFrameHoldsNothingUp) {
  Bytes bytes;
  append(bytes, bytes_of(request(WireKind::kWrite, kPayloadBytesMax, kTransferBlocksMax)));
  bytes.resize(bytes.size() + 5000);
  const Answer answer = send_after_hello(bytes);
  EXPECT_FALSE(answer.ended);
  LocalDisk b = shelf_.enter(kB1);
  EXPECT_TRUE(run(shelf_.scheduler, do_register(b)).ok());
  EXPECT_TRUE(run(shelf_.scheduler, do_preempt(b, kA1)).ok()) << "a fence does not wait for it";
}

// ---- The client, and a shelf that lies.

// Says the first part at once, and the rest when something was asked.
Task<void> lie(ByteStream& stream, Bytes says) {
  constexpr std::size_t kHelloBytes = sizeof(ReplyHeader) + sizeof(HelloReplyBody);
  const std::size_t first = std::min(says.size(), kHelloBytes);
  const Bytes greeting(says.begin(), says.begin() + static_cast<std::ptrdiff_t>(first));
  const Bytes rest(says.begin() + static_cast<std::ptrdiff_t>(first), says.end());
  co_await write_all(stream, greeting);
  std::array<std::byte, 512> buffer;
  for (std::size_t heard = 0; heard < sizeof(RequestHeader) + sizeof(HelloBody) + 1;) {
    const Result<std::size_t> got = co_await stream.read_some(buffer);
    if (!got.ok() || got.value() == 0) {
      co_return;
    }
    heard += got.value();
  }
  co_await write_all(stream, rest);
}

class Liar final : public Connector {
 public:
  Liar(sim::SimScheduler& scheduler, std::vector<Bytes> says)
      : scheduler_(scheduler), says_(std::move(says)), scope_(scheduler) {}
  Task<Result<std::unique_ptr<ByteStream>>> connect() override {
    auto [client, server] = sim::SimStream::make_pair(scheduler_);
    streams_.push_back(std::move(server));
    if (next_ < says_.size()) {
      scope_.spawn(lie(*streams_.back(), says_[next_++]));
    }
    co_return std::unique_ptr<ByteStream>(std::move(client));
  }
  [[nodiscard]] std::string_view name() const override { return "liar"; }

 private:
  sim::SimScheduler& scheduler_;
  std::vector<Bytes> says_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<ByteStream>> streams_;
  TaskScope scope_;
};

Bytes hello_reply(std::uint64_t blocks = kBlocks) {
  const HelloReplyBody body{
      .requests_max = 8, .bytes_max = 1 << 20, .disk = {1, 2}, .blocks = blocks};
  ReplyHeader header{.kind = static_cast<std::uint8_t>(WireKind::kHello),
                     .payload_bytes = sizeof(body),
                     .payload_checksum = crc32c(bytes_of(body))};
  seal(header);
  Bytes bytes;
  append(bytes, bytes_of(header));
  append(bytes, bytes_of(body));
  return bytes;
}

Bytes reply(WireKind kind, std::uint64_t tag, std::uint16_t status, const Bytes& payload = {}) {
  ReplyHeader header{.kind = static_cast<std::uint8_t>(kind),
                     .status = status,
                     .tag = tag,
                     .payload_bytes = static_cast<std::uint32_t>(payload.size()),
                     .payload_checksum = crc32c(payload)};
  seal(header);
  Bytes bytes = hello_reply();
  append(bytes, bytes_of(header));
  append(bytes, payload);
  return bytes;
}

// What a read of one block gets, that is the first request (tag 1 << 20), from a shelf that says
// this, and then nothing more.
Status read_from_liar(const Bytes& says, std::string_view* why = nullptr) {
  sim::SimScheduler scheduler(3);
  auto liar = std::make_unique<Liar>(scheduler, std::vector<Bytes>{says});
  auto opened = run(scheduler, ShelfDisk::open(scheduler, std::move(liar), disk_options(kA1)));
  if (!opened.ok()) {
    return opened.error();
  }
  TestBlock block;
  const Status read = run(scheduler, do_read(*opened.value(), 3, block));
  if (why != nullptr) {
    *why = opened.value()->health().last_error;
  }
  return read;
}

TEST(LyingShelf, IsNotBelieved) {
  constexpr std::uint64_t kTag = std::uint64_t{1} << 20U;
  EXPECT_OK(read_from_liar(reply(WireKind::kRead, kTag, 0, Bytes(4096))));
  // Every other is dropped, and the read fails when its time is over.
  for (const Bytes& says :
       {reply(WireKind::kRead, kTag + 1, 0, Bytes(4096)), reply(WireKind::kWrite, kTag, 0),
        reply(WireKind::kRead, kTag, 0, Bytes(8192)), reply(WireKind::kRead, kTag, 0),
        reply(WireKind::kRead, kTag, 8, Bytes(4096)), reply(WireKind::kRead, 0, 0, Bytes(4096)),
        reply(WireKind::kRead, ~std::uint64_t{0}, 0, Bytes(4096)),
        reply(WireKind::kPing, 0, 0, Bytes(4096)),
        reply(WireKind::kReadState, kTag, 0, Bytes(544))}) {
    EXPECT_ERRC(read_from_liar(says), Errc::kIo);
  }
  EXPECT_ERRC(read_from_liar(reply(WireKind::kRead, kTag, 4711)), Errc::kIo);
}

TEST(LyingShelf, IsRefusedWhenItsHelloMakesNoSense) {
  EXPECT_ERRC(read_from_liar(hello_reply(0)), Errc::kNotSupported);
  EXPECT_ERRC(read_from_liar(hello_reply(~std::uint64_t{0})), Errc::kNotSupported);
  EXPECT_ERRC(read_from_liar(Bytes(500, std::byte{7})), Errc::kIo);
}

TEST(LyingShelf, IsNotAnotherDiskAfterAReconnection) {
  sim::SimScheduler scheduler(3);
  constexpr std::uint64_t kTag = std::uint64_t{1} << 20U;
  Bytes other = hello_reply();
  HelloReplyBody body = load<HelloReplyBody>(other, sizeof(ReplyHeader));
  body.disk = {3, 4};
  auto header = load<ReplyHeader>(other, 0);
  header.payload_checksum = crc32c(bytes_of(body));
  seal(header);
  other.clear();
  append(other, bytes_of(header));
  append(other, bytes_of(body));
  auto liar = std::make_unique<Liar>(
      scheduler, std::vector<Bytes>{reply(WireKind::kWrite, kTag, 0), other, other, other});
  auto opened = run(scheduler, ShelfDisk::open(scheduler, std::move(liar), disk_options(kA1)));
  ASSERT_TRUE(opened.ok());
  TestBlock block;
  EXPECT_ERRC(run(scheduler, do_read(*opened.value(), 3, block)), Errc::kIo);
}

TEST(WireState, RefusesWhatMakesNoSense) {
  DiskState state{.keys = {kA1, kB1}, .reservation = Reservation::kWriteExclusive, .holder = kA1};
  StateBody body = encode_state(state);
  EXPECT_EQ(parse_state(bytes_of(body)).value(), state);
  body.key_count = 65;
  EXPECT_FALSE(parse_state(bytes_of(body)).ok());
  body = encode_state(state);
  body.reservation = 3;
  EXPECT_FALSE(parse_state(bytes_of(body)).ok());
  body = encode_state(state);
  std::swap(body.keys[0], body.keys[1]);
  EXPECT_FALSE(parse_state(bytes_of(body)).ok());
  EXPECT_FALSE(parse_state(bytes_of(body).first(100)).ok());
}

}  // namespace
}  // namespace duet::shelf::testing
