// An aggregate on a virtual disk of a redundancy group, whose disks and memory are simulated.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "platform/wait.h"
#include "raid/group.h"
#include "raid/intent_format.h"
#include "raid/lone_peers.h"
#include "raid/virtual_disk.h"
#include "sim/faulty_block_device.h"
#include "sim/sim_block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_persistent_memory.h"
#include "world.h"

namespace duet::wafl::testing {

class GroupWorld : public World {
 public:
  static constexpr raid::GroupId kGroup = {0x11, 0x22};
  static constexpr std::uint32_t kSlots = 64;

  // `spares`: disks that can be given to the group later.
  GroupWorld(raid::Geometry geometry, std::size_t spares = 0, std::uint64_t seed = 1)
      : World(seed, 16U << 20U, NoDisks{}), shape(geometry) {
    const std::uint32_t pages = shape.disks * shape.chunk_blocks * 8;
    memory = std::make_unique<sim::SimPersistentMemory>(
        raid::MemoryLayout{kSlots, pages}.memory_bytes(1));
    EXPECT_TRUE(raid::format_intents(*memory, kGroup, raid::NodeId{0}, kSlots, pages).ok());
    std::vector<raid::DiskId> ids;
    for (std::size_t i = 0; i < shape.disks + spares; ++i) {
      disks.push_back(std::make_unique<sim::SimDisk>("d" + std::to_string(i), shape.disk_blocks()));
      ids.push_back({0xD15C, 1 + i});
      holders_.push_back(i);
    }
    connect();
    const std::span<BlockDevice* const> all = devices_;
    const std::span<const raid::DiskId> names = ids;
    EXPECT_TRUE(run(raid::format_group(all.first(shape.disks), names.first(shape.disks), kGroup,
                                       shape, 1, {.step_stripes = 1}))
                    .ok());
    open_group();
    make();
  }
  ~GroupWorld() override { kill(); }
  GroupWorld(const GroupWorld&) = delete;
  GroupWorld& operator=(const GroupWorld&) = delete;

  std::vector<BlockDevice*> pointers() override { return {virtual_disk.get()}; }

  void open_group() {
    auto opened = run(raid::Group::open(
        scheduler, devices_, *memory, peers_,
        {.group = kGroup, .self = raid::NodeId{0}, .incarnation = ++incarnation_, .force = true}));
    ASSERT_TRUE(opened.ok()) << opened.error().context;
    group = std::move(opened.value());
    ASSERT_TRUE(run(group->wait_active()).ok());
    virtual_disk = std::make_unique<raid::VirtualDisk>(
        scheduler, *group, raid::Part{0, shape.block_count()}, raid::Answer::kWritten, "v");
  }

  // The process is gone, and perhaps power.
  void crash(bool power) {
    kill();
    if (power) {
      for (const auto& disk : disks) {
        disk->lose_power(scheduler.random());
      }
      memory->lose_power(scheduler.random());
    }
    connect();
    open_group();
    reopen();
  }
  // What is there now as disk `i` of the group fails for good.
  void fail(std::size_t i) {
    broken_.insert(holders_[i]);
    break_disk(holders_[i]);
    group->disk_failed(static_cast<std::uint32_t>(i));
  }
  // A blank disk takes the place of one that has failed.
  void replace(std::size_t failed_disk, std::size_t by) {
    ASSERT_TRUE(until([&] { return state_of(failed_disk) == raid::DiskState::kFailed; }));
    const Status replaced = run(group->replace(static_cast<std::uint32_t>(failed_disk),
                                               *devices_[by], {0x5BA7E, ++incarnation_}, true));
    ASSERT_TRUE(replaced.ok()) << replaced.error().context;
    holders_[failed_disk] = by;
  }
  [[nodiscard]] raid::DiskState state_of(std::size_t disk) const {
    return static_cast<raid::DiskState>(group->status().label.members[disk].state);
  }
  template <typename Done>
  bool until(Done done) {
    return scheduler.run_until(done, 100'000'000) && done();
  }
  void wait_for_rebuild(std::size_t disk) {
    ASSERT_TRUE(until([&] { return state_of(disk) == raid::DiskState::kInSync; }));
  }

  // Where a block of the aggregate lies.
  struct Spot {
    std::uint32_t disk;
    std::uint64_t block;
  };
  [[nodiscard]] Spot spot_of(std::uint64_t block) const {
    const raid::Place place = shape.place_of(block);
    return {shape.disk_of(place.stripe, place.cell.column),
            shape.disk_block(place.stripe, place.cell.row)};
  }
  // Of a disk of the group that was there at first.
  void flip(const Spot& spot) { disks[spot.disk]->flip_bit(spot.block, 100, 3); }

  raid::ScrubStatus scrub_group() {
    EXPECT_TRUE(group->start_scrub().ok());
    EXPECT_TRUE(until([&] { return !group->status().scrub.running; }));
    return group->status().scrub;
  }

  const raid::Geometry shape;
  std::unique_ptr<sim::SimPersistentMemory> memory;
  std::vector<std::unique_ptr<sim::SimDisk>> disks;
  std::unique_ptr<raid::Group> group;
  std::unique_ptr<raid::VirtualDisk> virtual_disk;

 private:
  void break_disk(std::size_t disk) {
    for (const sim::Fault fault :
         {sim::Fault::kReadError, sim::Fault::kWriteError, sim::Fault::kFlushError}) {
      faulty_[disk]->arm({.fault = fault, .always = true});
    }
  }
  void connect() {
    for (const auto& disk : disks) {
      raw_.push_back(std::make_unique<sim::SimBlockDevice>(scheduler, *disk));
      faulty_.push_back(std::make_unique<sim::FaultyBlockDevice>(scheduler, *raw_.back()));
      devices_.push_back(faulty_.back().get());
    }
    for (const std::size_t disk : broken_) {
      break_disk(disk);
    }
  }
  // No turn runs in between.
  void kill() {
    aggregate.reset();
    raw_.clear();
    faulty_.clear();
    devices_.clear();
    virtual_disk.reset();
    group.reset();
  }

  raid::LonePeers peers_;
  std::vector<std::size_t> holders_;  // of the members: which disk is there now
  std::set<std::size_t> broken_;      // disks
  std::uint64_t incarnation_ = 0;
  std::vector<std::unique_ptr<sim::SimBlockDevice>> raw_;
  std::vector<std::unique_ptr<sim::FaultyBlockDevice>> faulty_;
  std::vector<BlockDevice*> devices_;
};

}  // namespace duet::wafl::testing
