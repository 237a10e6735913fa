#include "raid/virtual_disk.h"

namespace duet::raid {

VirtualDisk::VirtualDisk(Scheduler& scheduler, Group& group, const Part& part, Answer answer,
                         std::string name)
    : scheduler_(scheduler),
      group_(group),
      part_(part),
      first_block_(part.first * group.geometry().stripe_blocks()),
      blocks_(part.count * group.geometry().stripe_blocks()),
      answer_(answer),
      name_(std::move(name)),
      scope_(scheduler) {
  DUET_CHECK(part.first <= group.geometry().stripes &&
             part.count <= group.geometry().stripes - part.first);
}

VirtualDisk::~VirtualDisk() { group_.set_needed(part_, nullptr); }

void VirtualDisk::start(BlockOperation& operation) {
  std::uint64_t blocks = 0;
  for (const MutableBytes part : operation.parts) {
    DUET_CHECK(part.size() % kBlockBytes == 0);
    blocks += part.size() / kBlockBytes;
  }
  DUET_CHECK(operation.block <= blocks_ && blocks <= blocks_ - operation.block);
  scope_.spawn(run(*this, operation));
}

Task<void> VirtualDisk::run(VirtualDisk& disk, BlockOperation& operation) {
  const std::uint64_t block = disk.first_block_ + operation.block;
  switch (operation.kind) {
    case BlockOperation::Kind::kRead: {
      const Status read = co_await disk.group_.read(block, operation.parts);
      operation.result = read;
      break;
    }
    case BlockOperation::Kind::kWrite: {
      const WriteKind kind = operation.fresh ? WriteKind::kFresh : WriteKind::kInPlace;
      const Status written = co_await disk.group_.write(block, operation.parts, kind, disk.answer_);
      operation.result = written;
      break;
    }
    case BlockOperation::Kind::kFlush: {
      const Status flushed = co_await disk.group_.flush();
      operation.result = flushed;
      break;
    }
  }
  disk.scheduler_.post(operation);
}

void VirtualDisk::start(Redundancy::Operation& operation) {
  DUET_CHECK(operation.block < blocks_ && operation.bytes.size() == kBlockBytes);
  scope_.spawn(run_other(*this, operation));
}

Task<void> VirtualDisk::run_other(VirtualDisk& disk, Redundancy::Operation& operation) {
  const std::uint64_t block = disk.group_block(operation.block);
  if (operation.kind == Redundancy::Operation::Kind::kReadOther) {
    const Status read = co_await disk.group_.read_other(block, operation.attempt, operation.bytes);
    operation.result = read;
  } else {
    const Status repaired = co_await disk.group_.repair(block, operation.bytes);
    operation.result = repaired;
  }
  disk.scheduler_.post(operation);
}

void VirtualDisk::set_needed(Needed needed) {
  if (!needed) {
    group_.set_needed(part_, nullptr);
    return;
  }
  const std::uint64_t width = stripe_blocks();
  group_.set_needed(part_, [this, width, needed = std::move(needed)](Stripe stripe) {
    return needed((static_cast<std::uint64_t>(stripe) - part_.first) * width, width);
  });
}

}  // namespace duet::raid
