// What a partner may send over a stream: packets whose checksums are right, frames that are
// anything.
//   first byte: 1: a hello goes first; 2: raw bytes; then frames {kind, channel, length, body}

#include "input.h"
#include "interconnect/stream_link.h"
#include "sim/sim_entropy.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"
#include "sim/sim_stream.h"

namespace duet::interconnect {
namespace {

constexpr std::array<std::uint64_t, 2> kPair{1, 2};
constexpr std::uint64_t kWindowBytes = 4096;
constexpr std::uint64_t kWindowOffset = 4096;

class OneStream final : public StreamSource {
 public:
  OneStream(sim::SimScheduler& scheduler, std::unique_ptr<ByteStream> stream)
      : stream_(std::move(stream)), never_(scheduler) {}
  Task<Result<std::unique_ptr<ByteStream>>> next() override {
    while (stream_ == nullptr) {
      co_await never_.wait();
    }
    co_return std::move(stream_);
  }

 private:
  std::unique_ptr<ByteStream> stream_;
  WaitList never_;
};

struct Nobody final : ChannelUser, RemoteWindowUser {
  void on_message(ConstBytes message) override { DUET_CHECK(message.size() <= kMessageBytesMax); }
  void on_link(const LinkStatus& /*status*/) override {}
  void on_window() override {}
};

void put(std::vector<std::byte>& to, ConstBytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void put_frame(std::vector<std::byte>& payload, std::uint8_t kind, std::uint8_t channel,
               ConstBytes body) {
  FrameHead head;
  head.kind = kind;
  head.channel = channel;
  head.body_bytes = static_cast<std::uint32_t>(body.size());
  put(payload, bytes_of(head));
  put(payload, body);
  payload.resize(padded(payload.size()));
}

void put_packet(std::vector<std::byte>& out, ConstBytes payload, std::uint64_t number) {
  PacketHeader header;
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  header.number = number;
  header.payload_checksum = crc32c(payload);
  header.checksum = crc32c(bytes_of(header).first(offsetof(PacketHeader, checksum)));
  put(out, bytes_of(header));
  put(out, payload);
}

std::vector<std::byte> packets(fuzz::Input& input) {
  std::vector<std::byte> out;
  const auto mode = input.take<std::uint8_t>();
  std::uint64_t number = 0;
  if ((mode & 1U) != 0) {
    HelloFrame hello;
    hello.pair = kPair;
    hello.incarnation = 9;
    std::vector<std::byte> payload;
    put_frame(payload, 1, 0, bytes_of(hello));
    put_packet(out, payload, ++number);
  }
  if ((mode & 2U) != 0) {
    put(out, input.rest());
    return out;
  }
  std::uint64_t writes = 0;
  while (!input.empty()) {
    std::vector<std::byte> payload;
    for (unsigned frames = input.take<std::uint8_t>() % 4; frames > 0; --frames) {
      const auto kind = static_cast<std::uint8_t>(input.take<std::uint8_t>() % 7);
      if (kind == 4 && (input.take<std::uint8_t>() & 1U) != 0) {
        WriteFrame write;
        write.number = ++writes;
        write.epoch = input.take<std::uint8_t>() % 2 + 5U;
        write.offset = input.take<std::uint16_t>();
        write.right = input.take<std::uint8_t>();
        write.window = input.take<std::uint8_t>();
        std::vector<std::byte> body;
        put(body, bytes_of(write));
        put(body, input.take(input.take<std::uint8_t>()));
        put_frame(payload, kind, 0, body);
      } else {
        put_frame(payload, kind, input.take<std::uint8_t>(),
                  input.take(input.take<std::uint8_t>()));
      }
    }
    put_packet(out, payload, ++number);
  }
  return out;
}

}  // namespace
}  // namespace duet::interconnect

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace duet;
  using namespace duet::interconnect;
  fuzz::Input input(data, size);
  const std::vector<std::byte> sent = packets(input);
  sim::SimScheduler scheduler(size);
  sim::SimEntropy entropy(1);
  sim::SimPersistentMemory memory(3 * kWindowBytes);
  sim::SimStream::Pair streams = sim::SimStream::make_pair(scheduler);
  OneStream source(scheduler, std::move(streams.second));
  Nobody nobody;
  StreamLink link(scheduler, memory, entropy, source, {kPair, Node::kB, Incarnation{3}}, {});
  link.attach(Channel::kLog, &nobody);
  link.grant(WindowId{1}, kWindowOffset, kWindowBytes, 5);
  struct Write final : WriteOperation {
    void run() override {}
  } write;
  ConstBytes part(sent);
  write.parts = std::span(&part, 1);
  if (!sent.empty()) {
    static_cast<void>(streams.first->start_write(write));
  }
  static_cast<void>(scheduler.run_for(std::chrono::milliseconds(100), 100'000));
  // Nothing outside of the window was touched.
  for (std::size_t i = 0; i < memory.bytes().size(); ++i) {
    const bool inside = i >= kWindowOffset && i < kWindowOffset + kWindowBytes;
    DUET_CHECK(inside || memory.bytes()[i] == std::byte{0});
  }
  return 0;
}
