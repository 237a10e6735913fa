#include "sim/sim_block_device.h"

#include <iterator>

#include "base/check.h"

namespace duet::sim {

namespace {

// Few distinct times, so that operations end together and their order is drawn too;
// and now and then one that all others overtake.
constexpr Duration kStep = std::chrono::microseconds(20);
constexpr std::uint64_t kSteps = 8;
constexpr std::uint64_t kSlowOneIn = 40;
constexpr std::uint64_t kSlowSteps = 200;

void check(const BlockOperation& operation, std::uint64_t blocks) {
  std::uint64_t count = 0;
  for (const MutableBytes part : operation.parts) {
    DUET_CHECK(part.size() % kBlockBytes == 0);
    DUET_CHECK(reinterpret_cast<std::uintptr_t>(part.data()) % kBlockBytes == 0);
    count += part.size() / kBlockBytes;
  }
  DUET_CHECK(operation.block <= blocks);
  DUET_CHECK(count <= blocks - operation.block);
}

}  // namespace

SimBlockDevice::~SimBlockDevice() {
  for (const Pending& pending : under_way_) {
    if (pending.write) {  // the operation itself may be gone
      disk_.abandon_write(*pending.write, scheduler_.random());
    }
  }
}

void SimBlockDevice::start(BlockOperation& operation) {
  check(operation, block_count());
  Pending& pending = under_way_.emplace_back(*this, operation);
  pending.self = std::prev(under_way_.end());
  if (operation.kind == BlockOperation::Kind::kWrite) {
    pending.write = disk_.begin_write(operation.block, operation.parts);
  } else if (operation.kind == BlockOperation::Kind::kFlush) {
    pending.flush = disk_.begin_flush();
  }
  scheduler_.post_at(pending, scheduler_.now() + latency());
}

void SimBlockDevice::finish(Pending& pending) {
  BlockOperation& operation = pending.operation;
  switch (operation.kind) {
    case BlockOperation::Kind::kRead:
      read(operation);
      break;
    case BlockOperation::Kind::kWrite:
      DUET_CHECK(disk_.unchanged(*pending.write, operation.parts));
      disk_.end_write(*pending.write);
      break;
    case BlockOperation::Kind::kFlush:
      disk_.end_flush(pending.flush);
      break;
  }
  operation.result = Ok{};
  under_way_.erase(pending.self);
  scheduler_.post(operation);
}

void SimBlockDevice::read(const BlockOperation& operation) const {
  std::uint64_t number = operation.block;
  for (const MutableBytes part : operation.parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes) {
      copy_bytes(disk_.block(number), part.subspan(at));
      ++number;
    }
  }
}

Duration SimBlockDevice::latency() {
  Random& random = scheduler_.random();
  const std::uint64_t steps = 1 + random.below(random.one_in(kSlowOneIn) ? kSlowSteps : kSteps);
  return steps * kStep;
}

}  // namespace duet::sim
