#include "groups/virtual_port.h"

#include <algorithm>

namespace duet::groups {

namespace {

constexpr Error kNotManaged{Errc::kIo, "the redundancy group is not managed by this node"};
constexpr Error kNoOtherWay{Errc::kNotFound, "the redundancy group is not managed by this node"};
constexpr Error kNoCommands{Errc::kNotSupported, "a virtual disk takes no reservations"};

}  // namespace

BlockDevice* VirtualPort::disk() const {
  return group_.managed() ? group_.virtual_disk(name_) : nullptr;
}

std::uint64_t VirtualPort::block_count() const {
  const BlockDevice* const managed = disk();
  return managed != nullptr ? managed->block_count() : 0;
}

std::uint32_t VirtualPort::stripe_blocks() const {
  const BlockDevice* const managed = disk();
  return managed != nullptr ? managed->stripe_blocks() : 1;
}

shelf::DiskHealth VirtualPort::health() const {
  shelf::DiskHealth health;
  health.connected = disk() != nullptr;
  return health;
}

void VirtualPort::start(BlockOperation& operation) {
  if (BlockDevice* const managed = disk(); managed != nullptr) {
    managed->start(operation);
  } else if (operation.kind == BlockOperation::Kind::kRead) {
    scope_.spawn(look(*this, operation));
  } else {
    operation.result = kNotManaged;
    scheduler_.post(operation);
  }
}

void VirtualPort::start(Redundancy::Operation& operation) {
  if (BlockDevice* const managed = disk(); managed != nullptr) {
    managed->redundancy()->start(operation);
  } else {
    operation.result = kNoOtherWay;
    scheduler_.post(operation);
  }
}

void VirtualPort::set_needed(Needed needed) {
  if (BlockDevice* const managed = disk(); managed != nullptr) {
    managed->redundancy()->set_needed(std::move(needed));
  }
}

void VirtualPort::start_command(shelf::DiskCommand& command) {
  command.result = kNoCommands;
  scheduler_.post(command);
}

Task<void> VirtualPort::look(VirtualPort& port, BlockOperation& operation) {
  const Status read = co_await port.read_unlocked(operation);
  operation.result = read;
  port.scheduler_.post(operation);
}

Task<Status> VirtualPort::read_unlocked(const BlockOperation& operation) {
  const Result<std::unique_ptr<raid::Onlooker>> opened = co_await group_.look(memory_);
  if (!opened.ok()) {
    // Not that there is no file system: nothing is known of it.
    co_return Error{Errc::kIo, opened.error().context};
  }
  raid::Onlooker& onlooker = *opened.value();
  const auto entries = raid::virtual_disks_of(onlooker.label());
  const auto entry = std::ranges::find(entries, name_, &raid::VirtualDiskEntry::name);
  if (entry == entries.end()) {
    co_return Error{Errc::kIo, "the redundancy group has no virtual disk of that name"};
  }
  std::uint64_t blocks = 0;
  for (const MutableBytes part : operation.parts) {
    blocks += part.size() / kBlockBytes;
  }
  const std::uint64_t there = entry->part.blocks;
  if (operation.block > there || blocks > there - operation.block) {
    co_return Error{Errc::kInvalid, "a read beyond the end of a virtual disk"};
  }
  const std::uint64_t first = entry->part.first_block + operation.block;
  co_return co_await onlooker.read(first, operation.parts);
}

}  // namespace duet::groups
