// Single: the role of a node that serves its filer alone.
//
//   lock disks -> listen -> open the redundancy groups -> open the filer (replay) -> serve -> drain
//     -> last CP -> close the groups
//
// Until the filer is open nothing was changed, so every refusal before that is harmless.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "group_watch.h"
#include "groups/node_groups.h"
#include "host_disks.h"
#include "platform/linux/block_device.h"
#include "role.h"
#include "served_filer.h"

namespace duet::daemon {

class Single final : public Role {
 public:
  explicit Single(Machine& machine);
  ~Single() override;

  std::string open() override;
  Task<int> begin() override;
  Task<void> reload() override;
  Task<int> stop() override;
  Task<admin::Response> answer(admin::Request request) override;

 private:
  struct Disk {
    std::string path;
    std::unique_ptr<BlockDevice> device;
  };
  Task<int> open_all();
  Task<int> open_filer();
  Task<void> tell_rpcbind(bool set);
  [[nodiscard]] std::vector<admin::DiskInfo> disk_infos() const;
  std::pair<BlockDevice*, std::string> add_disk(const std::string& path);
  void close_disk(const BlockDevice* device);

  Machine& machine_;
  const config::Filer& configured_;
  std::vector<Disk> disks_;
  HostDisks host_disks_;  // before the groups, whose operations its requests hold
  groups::NodeGroups groups_;
  GroupWatch watch_;
  std::unique_ptr<filer::Filer> filer_;
  ServedFiler served_;
};

}  // namespace duet::daemon
