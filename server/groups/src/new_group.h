// NewGroup: makes a group of disks: nothing of what they held is left, and its check data matches.
//
// What `duet init` of one node and of a pair share.  Each step gives an empty text, or why not.
//
// Ownership: borrows the disks and what describes them.  Thread-safety: the scheduler's thread.

#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "platform/block_device.h"
#include "platform/entropy.h"
#include "raid/group.h"

namespace duet::groups {

// Memory that a disk can take, zeros to begin with.
class Bytes {
 public:
  explicit Bytes(std::uint64_t blocks);
  [[nodiscard]] MutableBytes first(std::uint64_t blocks) const {
    return MutableBytes(memory_.get(), size_).first(blocks * kBlockBytes);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_;
};

struct NewDisk {
  const config::Disk* configured = nullptr;
  BlockDevice* device = nullptr;
  bool spare = false;
  bool zeros = false;  // known to hold nothing but zeros
};

class NewGroup {
 public:
  // `file`: the configuration's, for messages.
  NewGroup(Scheduler& scheduler, const std::string& file, const config::RaidGroup& configured,
           std::vector<NewDisk> disks);

  // Whether the disks can be the group.
  [[nodiscard]] std::string check() const;
  // REQUIRES: check() found nothing, for both.  What is zero already is only read.
  Task<std::string> write_zeros(const std::function<void(const std::string&)>& progress);
  // After this the group is there; its intents are not.
  Task<std::string> write_labels(const raid::GroupId& id, raid::NodeSet nodes, Entropy& entropy);

 private:
  [[nodiscard]] std::string place() const;
  [[nodiscard]] std::vector<raid::VirtualDiskEntry> parts() const;

  Scheduler& scheduler_;
  const std::string& file_;
  const config::RaidGroup& configured_;
  const std::vector<NewDisk> disks_;
  std::uint64_t smallest_ = ~std::uint64_t{0};  // bytes
  raid::Geometry geometry_;
};

}  // namespace duet::groups
