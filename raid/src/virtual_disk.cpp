#include "raid/virtual_disk.h"

namespace duet::raid {

VirtualDisk::VirtualDisk(Scheduler& scheduler, Group& group, const Part& part, WriteKind kind,
                         std::string name)
    : scheduler_(scheduler),
      group_(group),
      first_block_(part.first * group.geometry().stripe_blocks()),
      blocks_(part.count * group.geometry().stripe_blocks()),
      kind_(kind),
      name_(std::move(name)),
      scope_(scheduler) {
  DUET_CHECK(part.first <= group.geometry().stripes &&
             part.count <= group.geometry().stripes - part.first);
}

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
      const WriteKind kind = operation.fresh ? WriteKind::kFresh : disk.kind_;
      const Status written = co_await disk.group_.write(block, operation.parts, kind);
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

}  // namespace duet::raid
