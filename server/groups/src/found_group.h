// What whoever opens a group of the configuration does first and last, whichever node he is:
// which group the disks are, whose intents a memory holds, and the virtual disks.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "platform/persistent_memory.h"
#include "raid/group.h"
#include "raid/intent_format.h"
#include "raid/virtual_disk.h"

namespace duet::groups {

// For people; without an option that there is not where groups are opened.
[[nodiscard]] std::string text_of(const Error& error);

// Whose intents the memory holds.  None: nobody's.
[[nodiscard]] std::optional<raid::MemoryHeader> header_of(const PersistentMemory& memory);

// The id of a group is drawn when it is made.  Of several that the disks name the one counts that
// most of them name; a memory, which names one too, is as good as a disk.
struct NamedGroup {
  std::optional<raid::GroupId> id;  // none: no disk names one, or
  bool tied = false;                // as many name one as another
};
[[nodiscard]] NamedGroup most_named(std::span<const Result<raid::GroupLabel>> labels,
                                    std::span<const PersistentMemory* const> memories);

using VirtualDisks = std::vector<std::unique_ptr<raid::VirtualDisk>>;
// Those that the configuration names, in its order.  Empty, or what the group lacks.  REQUIRES: the
// group is managed here.
[[nodiscard]] std::string make_virtual_disks(Scheduler& scheduler, const std::string& file,
                                             const config::RaidGroup& configured,
                                             raid::Group& group, VirtualDisks& disks);
// Null: the group has none of that name.
[[nodiscard]] BlockDevice* virtual_disk_called(std::string_view name,
                                               const config::RaidGroup& configured,
                                               const VirtualDisks& disks);

}  // namespace duet::groups
