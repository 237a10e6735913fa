// Local: the disks and the memory of a node, opened by this program itself, without the server.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "groups/node_groups.h"
#include "platform/linux/block_device.h"
#include "platform/linux/clock.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"
#include "platform/linux/run_task.h"
#include "shelf/shared_disk.h"

namespace duet::cli {

using os::run;

struct Local {
  os::EpollScheduler scheduler;
  os::SystemClock clock;
  os::SystemEntropy entropy;
  std::vector<std::unique_ptr<BlockDevice>> disks;  // those that are not virtual
  std::unique_ptr<os::MappedMemory> memory;
  std::unique_ptr<PersistentMemory> copy;  // of `memory`, when it is not to be changed
  std::unique_ptr<groups::NodeGroups> groups;

  ~Local();

  // Of the filer, virtual ones too.  REQUIRES: of those: groups are open.
  [[nodiscard]] std::vector<BlockDevice*> disk_pointers(const config::Filer& filer) const;

  // Each gives an empty text, or why not.
  enum class Disks { kReadOnly, kExisting, kCreate };
  // kExisting leaves out those that are not there.  REQUIRES: no pair.
  std::string open_disks(const config::Config& config, const config::Filer& filer, Disks how);
  // The disks of the node's redundancy groups.  kReadOnly: what is written stays in memory.
  std::string open_members(const config::Config& config, const config::Node& node, Disks how);
  std::string open_memory(const config::Config& config, const config::Node& node, bool create);
};

// A disk of a pair.  Error: as shelf::open_shared_disk().
Result<std::unique_ptr<shelf::SharedDisk>> reach_shared(os::EpollScheduler& scheduler,
                                                        const config::Disk& disk,
                                                        shelf::DiskKey key);
// The same.  Empty, or why not, with a remedy.
std::string open_shared(os::EpollScheduler& scheduler, const config::Config& config,
                        const config::Disk& disk, shelf::DiskKey key,
                        std::unique_ptr<shelf::SharedDisk>& to);

// Leaves `to` alone when the memory is not there and `create` is false.  Empty, or why not.
std::string open_memory(const config::Config& config, const config::Memory& memory, bool create,
                        std::unique_ptr<os::MappedMemory>& to);

// This program's key at shelves.  It is no node's: nodes that live keep their sessions and keys.
enum class Purpose { kFormat, kRead };
[[nodiscard]] shelf::DiskKey draw_key(Purpose purpose, const WallClock& clock, Entropy& entropy);

[[nodiscard]] std::string error_text(const Error& error);

}  // namespace duet::cli
