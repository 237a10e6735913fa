// Image: a small valid aggregate, and copies of it in which bytes are changed and all checksums
// made right again, so that what lies behind them is reached.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "input.h"
#include "platform/block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_scheduler.h"

namespace duet::fuzz {

class Image {
 public:
  // The same for every call.
  static const Image& valid();

  // A copy with the changes that `input` says.
  [[nodiscard]] std::unique_ptr<sim::SimDisk> changed(Input& input) const;
  [[nodiscard]] const std::vector<std::uint64_t>& used() const { return used_; }
  [[nodiscard]] const sim::SimDisk& disk() const { return disk_; }

 private:
  struct Parent {
    std::uint64_t block;
    std::size_t offset;  // of the pointer
  };
  explicit Image(sim::SimDisk disk);
  void seal(sim::SimDisk& disk, std::map<std::uint64_t, bool>& touched) const;

  sim::SimDisk disk_;
  std::vector<std::uint64_t> used_;  // blocks that are not zero, children before parents
  std::map<std::uint64_t, std::vector<Parent>> parents_;
};

}  // namespace duet::fuzz
