#include "raid/virtual_disk.h"

namespace duet::raid {

VirtualDisk::VirtualDisk(Scheduler& scheduler, Group& group, const Part& part, Answer answer,
                         std::string name)
    : scheduler_(scheduler),
      group_(group),
      part_(part),
      answer_(answer),
      name_(std::move(name)),
      scope_(scheduler) {
  const std::uint64_t capacity = group.geometry().block_count();
  DUET_CHECK(part.first_block <= capacity && part.blocks <= capacity - part.first_block);
}

VirtualDisk::~VirtualDisk() { group_.set_needed(part_, nullptr); }

void VirtualDisk::start(BlockOperation& operation) {
  std::uint64_t blocks = 0;
  for (const MutableBytes part : operation.parts) {
    DUET_CHECK(part.size() % kBlockBytes == 0);
    blocks += part.size() / kBlockBytes;
  }
  DUET_CHECK(operation.block <= part_.blocks && blocks <= part_.blocks - operation.block);
  scope_.spawn(run(*this, operation));
}

Task<void> VirtualDisk::run(VirtualDisk& disk, BlockOperation& operation) {
  const std::uint64_t block = disk.group_block(operation.block);
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
  DUET_CHECK(operation.block < part_.blocks && operation.bytes.size() == kBlockBytes);
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
  group_.set_needed(part_,
                    [this, needed = std::move(needed)](std::uint64_t first, std::uint64_t count) {
                      return needed(first - part_.first_block, count);
                    });
}

}  // namespace duet::raid
