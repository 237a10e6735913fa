// A shelf and its clients: what a stranger says to the one, a lying shelf to the other, and a
// label.
//   byte 0: which of them, and (bit 7) whether checksums are made right
//   server: a byte (7 modulo 8: and a key), then per request a header (60 bytes as they stand) and
//   the payload it asks for, at most 16 bytes of it from the input; client: raw bytes, or replies
//   likewise; label: one or both copies

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/check.h"
#include "input.h"
#include "platform/task_scope.h"
#include "shelf/label.h"
#include "shelf/label_format.h"
#include "shelf/server.h"
#include "shelf/shelf_disk.h"
#include "shelf/wire_format.h"
#include "sim/sim_block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_stream.h"

namespace {

using namespace duet;         // NOLINT: one small file
using namespace duet::shelf;  // NOLINT

constexpr std::uint64_t kBlocks = 64;
constexpr DiskKey kKey = make_key(0, 1);

void append(std::vector<std::byte>& to, ConstBytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Task<void> create(Label& label) {
  const DiskIdentity identity{.id = {1, 2}, .blocks = kBlocks};
  const Status created = co_await label.create(identity);
  DUET_CHECK(created.ok());
}

// A label made once; a copy of the disk costs little.
const sim::SimDisk& valid_label() {
  static const sim::SimDisk kLabel = [] {
    sim::SimScheduler scheduler(1);
    sim::SimDisk disk("label", kLabelBlocks);
    sim::SimBlockDevice device(scheduler, disk);
    Label label(device);
    TaskScope scope(scheduler);
    scope.spawn(create(label));
    DUET_CHECK(scheduler.run());
    return disk;
  }();
  return kLabel;
}

Task<void> say(ByteStream& stream, const std::vector<std::byte>& bytes) {
  ConstBytes part(bytes);
  const auto ignored1 = co_await stream.write_all(std::span(&part, 1));
  static_cast<void>(ignored1);
}
Task<void> listen(ByteStream& stream) {
  std::array<std::byte, 512> buffer;
  for (;;) {
    const Result<std::size_t> got = co_await stream.read_some(buffer);
    if (!got.ok() || got.value() == 0) {
      co_return;
    }
  }
}

std::vector<std::byte> requests(fuzz::Input& input, bool sealed) {
  std::vector<std::byte> bytes;
  HelloBody body{.key = input.take<std::uint8_t>() % 8 == 7 ? input.take<std::uint64_t>()
                                                            : static_cast<std::uint64_t>(kKey),
                 .number = 1};
  body.disk[0] = 'd';
  RequestHeader hello{.kind = static_cast<std::uint8_t>(WireKind::kHello),
                      .payload_bytes = sizeof(body),
                      .payload_checksum = crc32c(bytes_of(body))};
  seal(hello);
  append(bytes, bytes_of(hello));
  append(bytes, bytes_of(body));
  while (!input.empty() && bytes.size() < (1U << 20U)) {
    auto header = input.take<RequestHeader>();
    std::vector<std::byte> payload;
    if (sealed) {
      header.magic = kRequestMagic;
      header.payload_bytes %= 20'000;
      const ConstBytes part = input.take(std::min<std::size_t>(header.payload_bytes, 16));
      append(payload, part);
      payload.resize(header.payload_bytes);
      header.payload_checksum = crc32c(payload);
      seal(header);
    }
    append(bytes, bytes_of(header));
    append(bytes, payload);
  }
  return bytes;
}

Task<void> open_target(sim::SimScheduler& scheduler, BlockDevice& disk, BlockDevice& label,
                       std::unique_ptr<Target>& target) {
  auto opened = co_await Target::open(scheduler, disk, label);
  DUET_CHECK(opened.ok());
  target = std::move(opened.value());
}

void fuzz_server(fuzz::Input& input, bool sealed) {
  sim::SimScheduler scheduler(1);
  sim::SimDisk disk("d", kBlocks);
  sim::SimDisk label(valid_label());
  sim::SimBlockDevice disk_device(scheduler, disk);
  sim::SimBlockDevice label_device(scheduler, label);
  std::unique_ptr<Target> target;
  TaskScope scope(scheduler);
  scope.spawn(open_target(scheduler, disk_device, label_device, target));
  DUET_CHECK(scheduler.run());
  ShelfServer server(scheduler, {});
  DUET_CHECK(server.add_disk("d", *target).ok());
  auto [here, there] = sim::SimStream::make_pair(scheduler);
  const std::vector<std::byte> bytes = requests(input, sealed);
  scope.spawn(server.serve(std::move(there)));
  scope.spawn(listen(*here));
  scope.spawn(say(*here, bytes));
  DUET_CHECK(scheduler.run_for(std::chrono::seconds(1)));
  here->close();
  DUET_CHECK(scheduler.run_for(std::chrono::seconds(1)));
  DUET_CHECK(server.counters().connections == 0);
  scope.cancel();
}

class OneConnection final : public Connector {
 public:
  explicit OneConnection(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}
  Task<Result<std::unique_ptr<ByteStream>>> connect() override {
    if (stream_ == nullptr) {
      co_return Error{Errc::kIo, "no more"};
    }
    co_return std::move(stream_);
  }
  [[nodiscard]] std::string_view name() const override { return "fuzz"; }

 private:
  std::unique_ptr<ByteStream> stream_;
};

struct alignas(kBlockBytes) Blocks {
  std::array<std::byte, 4 * kBlockBytes> bytes{};
};

Task<void> use(sim::SimScheduler& scheduler, std::unique_ptr<ByteStream> stream, Blocks& memory) {
  ShelfDiskOptions options{.disk = "d",
                           .key = kKey,
                           .fail_after = std::chrono::milliseconds(50),
                           .silence_max = std::chrono::milliseconds(50)};
  auto connector = std::make_unique<OneConnection>(std::move(stream));
  auto opened = co_await ShelfDisk::open(scheduler, std::move(connector), std::move(options));
  if (!opened.ok() || opened.value()->block_count() < 4) {
    co_return;
  }
  SharedDisk& disk = *opened.value();
  const MutableBytes part(memory.bytes);
  const std::span<const MutableBytes> parts(&part, 1);
  const auto ignored2 = co_await disk.read(0, parts);
  static_cast<void>(ignored2);
  const auto ignored3 = co_await disk.write(0, parts);
  static_cast<void>(ignored3);
  const auto ignored4 = co_await disk.read_state();
  static_cast<void>(ignored4);
}

void fuzz_client(fuzz::Input& input, bool sealed) {
  std::vector<std::byte> bytes;
  if (sealed) {
    HelloReplyBody body{.requests_max = 8, .bytes_max = 65536, .disk = {1, 2}, .blocks = kBlocks};
    ReplyHeader hello{.kind = static_cast<std::uint8_t>(WireKind::kHello),
                      .payload_bytes = sizeof(body),
                      .payload_checksum = crc32c(bytes_of(body))};
    seal(hello);
    append(bytes, bytes_of(hello));
    append(bytes, bytes_of(body));
    while (!input.empty()) {
      auto header = input.take<ReplyHeader>();
      header.magic = kReplyMagic;
      header.tag = std::uint64_t{header.reserved0} << 20U;
      header.payload_bytes %= 20'000;
      std::vector<std::byte> payload;
      append(payload, input.take(std::min<std::size_t>(header.payload_bytes, 64)));
      payload.resize(header.payload_bytes);
      header.payload_checksum = crc32c(payload);
      seal(header);
      append(bytes, bytes_of(header));
      append(bytes, payload);
    }
  } else {
    append(bytes, input.rest());
  }
  sim::SimScheduler scheduler(1);
  Blocks memory;
  auto [client, shelf] = sim::SimStream::make_pair(scheduler);
  TaskScope scope(scheduler);
  scope.spawn(use(scheduler, std::move(client), memory));
  scope.spawn(say(*shelf, bytes));
  scope.spawn(listen(*shelf));
  DUET_CHECK(scheduler.run_for(std::chrono::seconds(2)));
}

Task<void> load_and_save(Label& label) {
  const Status loaded = co_await label.load();
  if (loaded.ok()) {
    const Status saved = co_await label.save(label.state());
    DUET_CHECK(saved.ok());
  }
}

void fuzz_label(fuzz::Input& input, bool sealed) {
  const bool both = input.take<std::uint8_t>() % 2 == 0;
  auto record = load<LabelRecord>(valid_label().block(kLabelCopyA), 0);
  while (!input.empty()) {
    const std::size_t at = input.take<std::uint16_t>() % (128 + 8 * kKeysMax);
    const auto byte = input.take<std::byte>();
    store(std::as_writable_bytes(std::span(&record, 1)), at, byte);
  }
  if (sealed) {
    record.checksum = 0;
    record.checksum = crc32c(bytes_of(record));
  }
  sim::SimScheduler scheduler(1);
  sim::SimDisk disk(valid_label());
  disk.put(kLabelCopyA, bytes_of(record));
  if (both) {
    disk.put(kLabelCopyB, bytes_of(record));
  }
  sim::SimBlockDevice device(scheduler, disk);
  Label label(device);
  TaskScope scope(scheduler);
  scope.spawn(load_and_save(label));
  DUET_CHECK(scheduler.run());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto mode = input.take<std::uint8_t>();
  const bool sealed = (mode & 0x80U) != 0;
  switch (mode % 3) {
    case 0:
      fuzz_server(input, sealed);
      break;
    case 1:
      fuzz_client(input, sealed);
      break;
    default:
      fuzz_label(input, sealed);
      break;
  }
  return 0;
}
