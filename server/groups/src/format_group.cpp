// A new group: nothing of what its disks held is left, and its check data matches.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "groups/managed_group.h"
#include "new_group.h"

namespace duet::groups {

void ManagedGroup::note_zeros(const config::Disk& disk) {
  for (Slot& slot : slots_) {
    slot.zeros = slot.zeros || slot.configured == &disk;
  }
}

Task<Status> ManagedGroup::must_be_blank(BlockDevice& disk) {
  const Bytes bytes(raid::kDataStartBlock);
  const std::array<MutableBytes, 1> parts = {
      bytes.first(std::min(raid::kDataStartBlock, disk.block_count()))};
  const Status read = co_await disk.read(0, parts);
  if (read.ok() && !all_zero(parts[0])) {
    co_return Error{Errc::kRefused, "the disk holds something"};
  }
  co_return read;
}

Task<std::string> ManagedGroup::format(PersistentMemory& memory, Entropy& entropy,
                                       const std::function<void(const std::string&)>& progress) {
  std::vector<NewDisk> disks;
  for (const Slot& slot : slots_) {
    if (slot.device == nullptr) {
      co_return fmt::format("{}:{}: disk {}: {}; a new group needs all its disks", file_,
                            slot.configured->path.line, slot.configured->path.text, slot.problem);
    }
    disks.push_back({slot.configured, slot.device.get(), slot.spare, slot.zeros});
  }
  NewGroup made(scheduler_, file_, configured_, std::move(disks));
  std::string wrong = made.check();
  if (!wrong.empty()) {
    co_return wrong;
  }
  std::string not_zeroed = co_await made.write_zeros(progress);
  if (!not_zeroed.empty()) {
    co_return not_zeroed;
  }
  const raid::GroupId id = {entropy.next(), entropy.next()};
  const raid::MemoryLayout layout = configured_.intents();
  const Status intents = raid::format_intents(memory, id, self_, layout.slots, layout.pages);
  if (!intents.ok()) {
    co_return fmt::format("{}: the memory: {}", place(), intents.error().context);
  }
  std::string not_labelled = co_await made.write_labels(id, raid::only(self_), entropy);
  co_return not_labelled;
}

}  // namespace duet::groups
