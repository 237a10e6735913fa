// A stream of a snapshot: any header; and any frames with right checksums, of few inodes and names
// so that they meet.  What was taken is a sound tree at every moment, and goes without a trace.

#include <string>
#include <vector>

#include "base/check.h"
#include "input.h"
#include "platform/task_scope.h"
#include "sim/sim_block_device.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_entropy.h"
#include "sim/sim_scheduler.h"
#include "wafl/aggregate.h"
#include "wafl/receive.h"
#include "wafl_check/check.h"

namespace {

using namespace duet;        // NOLINT: one small file
using namespace duet::wafl;  // NOLINT

void append(std::vector<std::byte>& out, ConstBytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::vector<std::byte> body_of(FrameType type, fuzz::Input& input) {
  std::vector<std::byte> body;
  const auto few = [&input] { return std::uint64_t{input.take<std::uint8_t>()} % 12; };
  switch (type) {
    case FrameType::kRemoval:
    case FrameType::kEntry: {
      FrameName name;
      name.directory = few();
      name.inode = few();
      name.type = static_cast<std::uint8_t>(few() % 8);
      name.name_bytes = static_cast<std::uint8_t>(1 + few() % 3);
      append(body, bytes_of(name));
      for (int i = 0; i < name.name_bytes; ++i) {
        body.push_back(std::byte(unsigned{'-'} + input.take<std::uint8_t>() % 4));
      }
      break;
    }
    case FrameType::kFree:
      append(body, bytes_of(FrameFree{few()}));
      break;
    case FrameType::kInode: {
      FrameInode inode;
      inode.inode = few();
      inode.generation = static_cast<std::uint32_t>(1 + few() % 2);
      inode.type = static_cast<std::uint8_t>(few() % 8);
      inode.mode = 0644;
      if (inode.type == static_cast<std::uint8_t>(FileType::kRegular)) {
        inode.size_bytes = input.take<std::uint32_t>() >> (few() * 2);
        inode.used_blocks = few();
        inode.cut_blocks = few() < 6 ? kStreamNoCut : few();
      }
      if (inode.type == static_cast<std::uint8_t>(FileType::kSymlink)) {
        inode.size_bytes = inode.target_bytes = 2;
      }
      append(body, bytes_of(inode));
      body.resize(body.size() + inode.target_bytes, std::byte{'t'});
      break;
    }
    case FrameType::kBlocks:
      append(body, bytes_of(FrameBlocks{few(), few()}));
      body.resize(body.size() + (1 + few() % 3) * kBlockBytes, std::byte(few() < 6 ? 0 : 7));
      break;
    case FrameType::kEnd:
      append(body, bytes_of(FrameEnd{few()}));
      break;
  }
  if (input.take<std::uint8_t>() == 255) {  // and sometimes any byte
    body[input.take<std::uint16_t>() % body.size()] = input.take<std::byte>();
  }
  return body;
}

std::vector<std::byte> frame_of(std::uint32_t number, fuzz::Input& input) {
  const auto type = static_cast<FrameType>(1 + input.take<std::uint8_t>() % 6);
  const std::vector<std::byte> body = body_of(type, input);
  FrameHeader header;
  header.type = static_cast<std::uint32_t>(type);
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.number = number;
  header.checksum = crc32c(body, crc32c(bytes_of(header)));
  std::vector<std::byte> frame;
  append(frame, bytes_of(header));
  append(frame, body);
  return frame;
}

Task<Status> take(Aggregate& aggregate, SnapshotReceiver& receiver, ConstBytes frame) {
  Attempt attempt(aggregate);
  for (int rounds = 0; rounds < 1000; ++rounds) {
    const Status taken = receiver.take(attempt, frame);
    if (taken.ok() || taken.error().code != Errc::kMiss) {
      co_return taken;
    }
    const Status loaded = co_await attempt.load();
    DUET_CHECK(loaded.ok());
  }
  DUET_CHECK(false);
  co_return Ok{};
}

Task<void> cp_and_check(Aggregate& aggregate, BlockDevice& disk) {
  const LogPosition position;
  const Status written = co_await aggregate.consistency_point(position);
  DUET_CHECK(written.ok());
  std::vector<BlockDevice*> disks{&disk};
  CheckOptions options;
  const CheckReport report = co_await check(std::move(disks), std::move(options));
  DUET_CHECK(report.clean());
}

Task<void> run(sim::SimScheduler& scheduler, BlockDevice& disk, fuzz::Input input, bool& done) {
  sim::SimWallClock clock(scheduler);
  sim::SimEntropy entropy(1);
  std::vector<BlockDevice*> disks{&disk};
  FormatOptions format_options;
  const Status formatted = co_await format(scheduler, disks, std::move(format_options), entropy);
  DUET_CHECK(formatted.ok());
  AggregateOptions options;
  Result<std::unique_ptr<Aggregate>> opened =
      co_await Aggregate::open(scheduler, clock, disks, options);
  Aggregate& aggregate = *opened.value();
  DUET_CHECK(aggregate.create_volume("copy", 0, Timestamp{1}).ok());
  Volume& volume = *aggregate.find_volume("copy");
  volume.begin_receive();
  StreamHeader header;
  header.inodes_used = 1 + input.take<std::uint8_t>() % 4;
  SnapshotReceiver receiver(volume, header);
  Status taken = Ok{};
  for (std::uint32_t number = 1; taken.ok() && !input.empty() && number < 500; ++number) {
    const std::vector<std::byte> frame = frame_of(number, input);
    taken = co_await take(aggregate, receiver, frame);
    if (number % 20 == 0) {
      co_await cp_and_check(aggregate, disk);
    }
  }
  co_await cp_and_check(aggregate, disk);
  if (receiver.complete()) {
    DUET_CHECK(volume.end_receive("s", {{1, 1}, 1, 1, 1, 0}, Timestamp{1}).ok());
    co_await cp_and_check(aggregate, disk);  // names are held to account now
    DUET_CHECK(volume.delete_snapshot("s").ok());
    co_await cp_and_check(aggregate, disk);
  }
  DUET_CHECK(aggregate.destroy_volume("copy").ok());
  co_await cp_and_check(aggregate, disk);
  done = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  static_cast<void>(read_stream_header(bytes).ok());
  static_cast<void>(frame_bytes(bytes).ok());
  sim::SimScheduler scheduler(1);
  sim::SimDisk disk("disk", 4096);
  sim::SimBlockDevice device(scheduler, disk);
  bool done = false;
  TaskScope scope(scheduler);
  scope.spawn(run(scheduler, device, fuzz::Input(data, size), done));
  DUET_CHECK(scheduler.run(100'000'000));
  DUET_CHECK(done);
  return 0;
}
