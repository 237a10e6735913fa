#include "groups/node_groups.h"

#include <gmock/gmock.h>

#include "world.h"

namespace duet::groups {
namespace {

using testing::Blocks;
using testing::flush;
using ::testing::HasSubstr;
using testing::World;

constexpr std::uint64_t kDiskBlocks = 1024;

TEST(NodeGroups, WhatWasWrittenIsReadAfterAnOrderlyEnd) {
  World world("raid6", 5, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_EQ(world.device().stripe_blocks(), 3U * 8U);
  EXPECT_EQ(world.device().block_count() % world.device().stripe_blocks(), 0U);
  EXPECT_EQ(world.device().name(), "tank/all");
  Blocks blocks(40);
  blocks.fill(7);
  ASSERT_TRUE(world.run(write(world.device(), 5, blocks)).ok());
  world.close();
  ASSERT_EQ(world.open(), "");
  EXPECT_EQ(world.tank().can_lose(), 2U);
  const Blocks again(40);
  ASSERT_TRUE(world.run(read(world.device(), 5, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
}

TEST(NodeGroups, ANewGroupHoldsNothingOfWhatItsDisksHeld) {
  World world("raid6", 5, kDiskBlocks);
  Blocks junk(1);
  for (const auto& [name, disk] : world.disks) {
    for (std::uint64_t block = 0; block < kDiskBlocks; block += 3) {
      junk.fill(block);
      disk->put(block, junk.bytes());
    }
  }
  ASSERT_EQ(world.format_and_open(), "");
  world.close();
  // Its check data matches: without two disks it is all zeros too.
  world.away = {"d0", "d3"};
  ASSERT_EQ(world.open(), "");
  const Blocks found(24);
  for (std::uint64_t at = 0; at + 24 <= world.device().block_count(); at += 24) {
    ASSERT_TRUE(world.run(read(world.device(), at, found)).ok());
    ASSERT_EQ(found, Blocks(24)) << at;
  }
}

// An older label of greater sequence must not count.
TEST(NodeGroups, AGroupIsMadeAnewOverAnOlderOne) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(1);
  blocks.fill(1);
  ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
  for (int i = 0; i < 5; ++i) {
    world.close();
    ASSERT_EQ(world.open(), "");
  }
  world.close();
  ASSERT_EQ(world.format_and_open(), "");
  const Blocks again(1);
  ASSERT_TRUE(world.run(read(world.device(), 0, again)).ok());
  EXPECT_EQ(again, Blocks(1));
  world.close();
}

TEST(NodeGroups, ADiskThatIsNotThereIsDoneWithoutAndNamed) {
  World world("raid6", 5, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(100);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 11, blocks)).ok());
  world.close();
  world.away = {"d1"};
  ASSERT_EQ(world.open(), "");
  EXPECT_EQ(world.tank().can_lose(), 1U);
  const DiskView lost = world.tank().disks()[1];
  EXPECT_EQ(lost.state, raid::DiskState::kFailed);
  ASSERT_NE(lost.slot, nullptr);
  EXPECT_EQ(lost.slot->configured->path.text, "d1");
  EXPECT_EQ(lost.slot->problem, "No such file or directory");
  const Blocks again(100);
  ASSERT_TRUE(world.run(read(world.device(), 11, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
  // It comes back, is older than the group, and is rebuilt.
  world.away = {};
  ASSERT_EQ(world.open(), "");
  EXPECT_NE(world.tank().disks()[1].state, raid::DiskState::kInSync);
  world.wait_for(2);
  world.close();
  world.away = {"d4", "d0"};
  ASSERT_EQ(world.open(), "");
  EXPECT_EQ(world.tank().can_lose(), 0U);
  ASSERT_TRUE(world.run(read(world.device(), 11, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
  world.away = {"d4", "d0", "d2"};
  EXPECT_THAT(world.open(), HasSubstr("sim.yaml:4: redundancy group tank: too few disks"));
}

TEST(NodeGroups, ASpareTakesThePlaceOfADiskThatFails) {
  World world("raid5", 3, kDiskBlocks, 1, 1);
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_TRUE(world.tank().disks()[3].spare);
  EXPECT_EQ(world.tank().disks()[3].slot->configured->path.text, "s0");
  Blocks blocks(100);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 11, blocks)).ok());
  world.tank().group().disk_failed(0);
  world.wait_for(0);
  world.wait_for(1);
  EXPECT_EQ(world.tank().disks()[0].slot->configured->path.text, "s0");
  world.close();
  world.away = {"d0", "d2"};
  ASSERT_EQ(world.open(), "");
  const Blocks again(100);
  ASSERT_TRUE(world.run(read(world.device(), 11, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
}

TEST(NodeGroups, ARebuildKeepsTheConfiguredRate) {
  const auto seconds = [](std::uint64_t rate) {
    World world("raid5", 3, kDiskBlocks, 1, 1);
    world.config.groups[0].background_bytes_per_s = rate;
    EXPECT_EQ(world.format_and_open(), "");
    const Instant before = world.scheduler.now();
    world.tank().group().disk_failed(0);
    world.wait_for(0);
    world.wait_for(1);
    const Duration took = world.scheduler.now() - before;
    world.close();
    return std::chrono::duration<double>(took).count();
  };
  // All of three disks of 3 MiB are read or written.
  EXPECT_LT(seconds(0), 1.0);
  EXPECT_GT(seconds(1U << 20U), 8.0);
  EXPECT_LT(seconds(1U << 20U), 12.0);
  EXPECT_GT(seconds(4U << 20U), 2.0);
  EXPECT_LT(seconds(4U << 20U), 3.0);
}

TEST(NodeGroups, ADiskIsReplacedByOneThatIsGiven) {
  World world("raid5", 3, kDiskBlocks);
  world.add_disk("new", kDiskBlocks);
  world.add_disk("used", kDiskBlocks);
  world.add_disk("small", kDiskBlocks / 2);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(100);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 11, blocks)).ok());
  for (std::uint64_t i = 0; i < 100; ++i) {
    world.disks["used"]->put(i, blocks.bytes().first(kBlockBytes));
  }
  ManagedGroup& tank = world.tank();
  const auto replace = [&](const std::string& path, bool force) {
    return world.run(tank.replace(1, path, force, world.opener(), world.entropy));
  };
  EXPECT_THAT(replace("new", false), HasSubstr("disk 1 of group tank has not failed"));
  tank.group().disk_failed(1);
  world.wait_for(0);
  EXPECT_EQ(replace("d0", false), "group tank uses disk d0 already");
  EXPECT_EQ(replace("none", false), "disk none: No such file or directory");
  EXPECT_THAT(replace("small", false), HasSubstr("give a larger disk"));
  EXPECT_THAT(replace("used", false), HasSubstr("--force gives up what it holds"));
  EXPECT_EQ(replace("used", true), "");
  world.wait_for(1);
  EXPECT_EQ(tank.disks()[1].slot->configured->path.text, "used");
  world.close();
  world.config.groups[0].disks[1].path.text = "used";
  world.away = {"d0"};
  ASSERT_EQ(world.open(), "");
  const Blocks again(100);
  ASSERT_TRUE(world.run(read(world.device(), 11, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
}

TEST(HeldDisk, IsLetGoOfWhenNothingIsUnderWay) {
  sim::SimScheduler scheduler(1);
  sim::SimDisk disk("d", 64);
  HeldDisk held(scheduler, std::make_unique<sim::SimBlockDevice>(scheduler, disk));
  struct Write final : BlockOperation {
    void run() override { ended = true; }
    bool ended = false;
  };
  Blocks blocks(2);
  blocks.fill(7);
  std::array<Write, 2> writes;
  for (Write& write : writes) {
    write.kind = BlockOperation::Kind::kWrite;
    write.block = 5;
    write.parts = blocks.parts();
  }
  EXPECT_TRUE(held.idle());
  held.start(writes[0]);
  held.set_shut(true);
  EXPECT_FALSE(held.idle());
  held.start(writes[1]);
  ASSERT_TRUE(scheduler.run_until([&] { return writes[0].ended && writes[1].ended; }));
  EXPECT_TRUE(writes[0].result.ok()) << "what was under way goes on";
  EXPECT_EQ(writes[1].result.error().code, Errc::kIo);
  ASSERT_TRUE(held.idle());
  held.close();
  EXPECT_EQ(held.block_count(), 64U);
  writes[0].ended = false;
  held.start(writes[0]);
  ASSERT_TRUE(scheduler.run_until([&] { return writes[0].ended; }));
  EXPECT_EQ(writes[0].result.error().code, Errc::kIo);
}

// Which disks the process has open.
std::set<std::string> open_disks(const ManagedGroup& group) {
  std::set<std::string> open;
  for (const Slot& slot : group.slots()) {
    if (slot.device != nullptr) {
      open.insert(slot.configured->path.text);
    }
  }
  return open;
}

TEST(NodeGroups, ADiskThatHasFailedIsClosedErasedAndTakenAgain) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(200);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
  ManagedGroup& tank = world.tank();
  EXPECT_EQ(world.run(tank.remove("d1")).wrong,
            "group tank uses disk d1; take it out first: `duet disk fail d1`");
  EXPECT_EQ(world.run(tank.remove("none")).wrong, "group tank has no disk none");
  tank.group().disk_failed(1);
  world.wait_for(0);
  const ManagedGroup::Removal removed = world.run(tank.remove("d1"));
  EXPECT_EQ(removed.wrong, "");
  EXPECT_EQ(removed.left, "");
  EXPECT_TRUE(removed.closed);
  EXPECT_TRUE(removed.missed);
  EXPECT_EQ(open_disks(tank), (std::set<std::string>{"d0", "d2"}));
  // Its place is known, and the group works on.
  EXPECT_EQ(tank.find_disk("d1"), 1U);
  EXPECT_EQ(tank.disks()[1].slot->problem, "it was taken out");
  blocks.fill(4);
  ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
  // Once more is no harm; and without force it is a new disk.
  EXPECT_EQ(world.run(tank.remove("d1")).wrong, "");
  EXPECT_EQ(world.run(tank.replace(1, "d1", false, world.opener(), world.entropy)), "");
  world.wait_for(1);
  EXPECT_EQ(tank.disks()[1].slot->problem, "");
  world.close();
  world.away = {"d0"};
  ASSERT_EQ(world.open(), "");
  const Blocks again(200);
  ASSERT_TRUE(world.run(read(world.device(), 0, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
}

TEST(NodeGroups, WhatWasReplacedAndWhatIsASpareCanBeTakenAway) {
  World world("raid5", 3, kDiskBlocks, 1, 1);
  world.add_disk("new", kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  ManagedGroup& tank = world.tank();
  tank.group().disk_failed(0);
  world.wait_for(0);
  world.wait_for(1);  // the spare has its place
  ASSERT_EQ(tank.disks().size(), 4U);
  const ManagedGroup::Removal old = world.run(tank.remove("d0"));
  EXPECT_EQ(old.wrong, "");
  EXPECT_EQ(old.left, "");
  EXPECT_FALSE(old.missed);
  EXPECT_EQ(tank.disks().size(), 3U) << "nobody is to see it any more";
  EXPECT_EQ(world.run(tank.remove("d0")).wrong, "group tank has no disk d0");
  EXPECT_EQ(world.run(tank.add_spare("new", false, world.opener(), world.entropy)), "");
  EXPECT_TRUE(tank.disks()[3].spare);
  EXPECT_EQ(world.run(tank.remove("new")).wrong, "");
  EXPECT_EQ(tank.disks().size(), 3U);
  EXPECT_EQ(open_disks(tank), (std::set<std::string>{"d1", "d2", "s0"}));
  // Both are blank disks again.
  EXPECT_EQ(world.run(tank.add_spare("d0", false, world.opener(), world.entropy)), "");
  EXPECT_EQ(world.run(tank.add_spare("new", false, world.opener(), world.entropy)), "");
  EXPECT_EQ(tank.disks().size(), 5U);
  world.close();
}

TEST(NodeGroups, ADiskThatIsTakenAwayLosesNothingOfAnothersGroup) {
  World world("raid6", 5, kDiskBlocks);
  World other("raid6", 5, kDiskBlocks, 2);
  ASSERT_EQ(world.format_and_open(), "");
  ASSERT_EQ(other.format_and_open(), "");
  world.close();
  other.close();
  std::swap(world.disks["d2"], other.disks["d2"]);
  ASSERT_EQ(world.open(), "");
  const ManagedGroup::Removal removed = world.run(world.tank().remove("d2"));
  EXPECT_EQ(removed.wrong, "");
  EXPECT_EQ(removed.left, "it is a disk of another redundancy group");
  EXPECT_TRUE(removed.closed);
  world.close();
  std::swap(world.disks["d2"], other.disks["d2"]);
  ASSERT_EQ(other.open(), "");
  EXPECT_EQ(other.tank().can_lose(), 2U);
  other.close();
}

TEST(NodeGroups, ADiskThatIsNotThereCanBeLetGoOf) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  world.close();
  world.away = {"d1"};
  ASSERT_EQ(world.open(), "");
  const ManagedGroup::Removal removed = world.run(world.tank().remove("d1"));
  EXPECT_EQ(removed.wrong, "");
  EXPECT_EQ(removed.left, "this node could not open it");
  EXPECT_TRUE(removed.closed);
  world.close();
}

TEST(NodeGroups, AWholePathSaysMoreThanTheEndOfOne) {
  World world("raid5", 3, kDiskBlocks);
  const std::string url = "iscsi://duet%secret@h:3260/iqn.x/1";
  world.add_disk("x/d0", kDiskBlocks);
  world.add_disk(url, kDiskBlocks);
  world.config.groups[0].disks[1].path.text = url;
  world.config.groups[0].disks[2].path.text = "x/d0";
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_EQ(world.tank().find_disk("d0"), 0U);
  EXPECT_EQ(world.tank().find_disk("x/d0"), 2U);
  // With its password, and as it is shown.
  const std::string shown = world.config.groups[0].disks[1].shown();
  EXPECT_EQ(shown.find("secret"), std::string::npos);
  EXPECT_EQ(world.tank().find_disk(url), 1U);
  EXPECT_EQ(world.tank().find_disk(shown), 1U);
  world.close();
}

TEST(NodeGroups, AShelfsDiskIsFoundByItsName) {
  World world("raid5", 3, kDiskBlocks);
  const std::string url = "shelf+unix://run/shelf1.sock#c1";
  world.add_disk(url, kDiskBlocks);
  world.config.groups[0].disks[1].path.text = url;
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_EQ(world.tank().find_disk("c1"), 1U);
  EXPECT_EQ(world.tank().find_disk("1"), 1U);
  EXPECT_EQ(world.tank().find_disk("#c1"), std::nullopt);
  world.close();
}

TEST(NodeGroups, SparesComeAndGo) {
  World world("raid5", 3, kDiskBlocks);
  world.add_disk("new", kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  ManagedGroup& tank = world.tank();
  EXPECT_EQ(world.run(tank.add_spare("new", false, world.opener(), world.entropy)), "");
  EXPECT_TRUE(tank.disks()[3].spare);
  EXPECT_EQ(tank.not_found("new"), "disk new is a spare of group tank, and holds nothing");
  EXPECT_EQ(world.run(tank.add_spare("new", true, world.opener(), world.entropy)),
            "group tank uses disk new already");
  EXPECT_EQ(world.run(tank.remove_spare("d1")), "group tank has no spare d1");
  EXPECT_EQ(world.run(tank.remove_spare("new")), "");
  EXPECT_FALSE(tank.disks()[3].spare);
  EXPECT_THAT(tank.not_found("new"), HasSubstr("`duet raid spare tank new --force`"));
  EXPECT_EQ(tank.not_found("none"),
            "group tank has no disk none, or several; write its path or its number");
  world.close();
}

// Half a mirror could be the older half; the node's memory knows that it is not.
TEST(NodeGroups, HalfAMirrorIsEnoughForTheNodeThatWroteIt) {
  for (const bool crash : {false, true}) {
    World world("raid1", 2, kDiskBlocks);
    ASSERT_EQ(world.format_and_open(), "");
    Blocks blocks(30);
    blocks.fill(3);
    ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
    if (crash) {
      world.kill(/*power=*/true);
    } else {
      world.close();
    }
    world.away = {"d0"};
    ASSERT_EQ(world.open(), "");
    const Blocks again(30);
    ASSERT_TRUE(world.run(read(world.device(), 0, again)).ok());
    EXPECT_EQ(again, blocks);
    Blocks other(30);
    other.fill(4);
    ASSERT_TRUE(world.run(write(world.device(), 0, other)).ok());
    world.close();
    // The older half alone is refused.
    world.away = {"d1"};
    EXPECT_THAT(world.open(), HasSubstr("may be newer"));
    // And both together give the newer one.
    world.away = {};
    ASSERT_EQ(world.open(), "");
    ASSERT_TRUE(world.run(read(world.device(), 0, again)).ok());
    EXPECT_EQ(again, other);
    world.close();
  }
}

TEST(NodeGroups, ADiskIsFoundByItsPathOrNumber) {
  World world("raid6", 5, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_EQ(world.tank().find_disk("d3"), 3U);
  EXPECT_EQ(world.tank().find_disk("3"), 3U);
  EXPECT_EQ(world.tank().find_disk("5"), std::nullopt);
  EXPECT_EQ(world.tank().find_disk(""), std::nullopt);
  world.close();
}

TEST(NodeGroups, DisksMayBeListedInAnotherOrder) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(30);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
  world.close();
  std::swap(world.config.groups[0].disks[0], world.config.groups[0].disks[2]);
  ASSERT_EQ(world.open(), "");
  const Blocks again(30);
  ASSERT_TRUE(world.run(read(world.device(), 0, again)).ok());
  EXPECT_EQ(again, blocks);
  EXPECT_EQ(world.tank().find_disk("d2"), 2U);
  EXPECT_EQ(world.tank().disks()[2].slot->configured->path.text, "d2");
  world.close();
}

TEST(NodeGroups, ADiskOfAnotherGroupIsRefusedByName) {
  World world("raid6", 5, kDiskBlocks);
  World other("raid6", 5, kDiskBlocks, 2);
  ASSERT_EQ(world.format_and_open(), "");
  ASSERT_EQ(other.format_and_open(), "");
  world.close();
  other.close();
  std::swap(world.disks["d2"], other.disks["d2"]);
  ASSERT_EQ(world.open(), "");
  EXPECT_EQ(world.tank().can_lose(), 1U);
  EXPECT_THAT(world.tank().disks()[2].slot->problem, HasSubstr("another redundancy group"));
  world.close();
}

TEST(NodeGroups, DisksOfNobodyAreRefused) {
  World world("raid5", 3, kDiskBlocks);
  EXPECT_EQ(world.open(),
            "sim.yaml:4: redundancy group tank: none of its disks carries the label of a group; "
            "correct their paths, or format them with `duet init`");
}

TEST(NodeGroups, LostMemoryIsNoLossAfterAnOrderlyEnd) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(30);
  blocks.fill(3);
  ASSERT_TRUE(world.run(write(world.device(), 0, blocks)).ok());
  world.close();
  const std::vector<std::byte> zeros(16U << 20U);
  world.memory.store(World::kMemoryBytes - zeros.size(), zeros);
  ASSERT_TRUE(world.memory.persist().ok());
  ASSERT_EQ(world.open(), "");
  world.kill();
  world.memory.store(World::kMemoryBytes - zeros.size(), zeros);
  ASSERT_TRUE(world.memory.persist().ok());
  EXPECT_THAT(world.open(), HasSubstr("does not hold what the group was writing"));
}

TEST(NodeGroups, VirtualDisksThatDoNotFitAreRefused) {
  World world("raid5", 3, kDiskBlocks);
  world.config.groups[0].virtual_disks[0].size_bytes = 64ULL << 20U;
  EXPECT_THAT(world.format(), HasSubstr("its virtual disks do not fit on disks of 4 MiB"));
  for (const auto& [name, disk] : world.disks) {
    for (std::uint64_t block = 0; block < kDiskBlocks; ++block) {
      ASSERT_EQ(disk->block(block), sim::SimDisk::Block{}) << "something was written";
    }
  }
}

TEST(NodeGroups, RoomThatMoreDisksGiveGoesToAnotherVirtualDisk) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(40);
  blocks.fill(7);
  ASSERT_TRUE(world.run(write(world.device(), 5, blocks)).ok());
  constexpr std::uint64_t kMiB = 1U << 20U;
  const auto add = [&] { return world.run(world.tank().add_virtual_disk("more", kMiB)); };
  EXPECT_EQ(add(),
            "virtual disk more of group tank: the redundancy group has no room for it in one "
            "piece; the largest free piece has 0 B, and `duet raid add` makes more");
  world.add_disk("small", kDiskBlocks / 2);
  world.add_disk("n0", kDiskBlocks);
  const auto expand = [&](const std::vector<std::string>& paths) {
    return world.run(world.tank().expand(paths, false, world.opener(), world.entropy));
  };
  EXPECT_THAT(expand({"gone"}), HasSubstr("disk gone: No such file or directory"));
  EXPECT_THAT(expand({"d1"}), HasSubstr("group tank uses disk d1 already"));
  EXPECT_THAT(expand({"small"}), HasSubstr("give a larger disk"));
  EXPECT_THAT(expand({"n0", "n0"}), HasSubstr("disk n0 is named twice"));
  ASSERT_EQ(expand({"n0"}), "");
  raid::Group& group = world.tank().group();
  ASSERT_TRUE(world.scheduler.run_until([&] { return group.status().expansion.disks_before == 0; },
                                        50'000'000));
  EXPECT_EQ(world.tank().disks().size(), 5U) << "the small one is known, and not used";
  const auto largest = [&] {
    const raid::Part last = raid::virtual_disks_of(group.status().label).back().part;
    return config::size_text((group.geometry().block_count() - last.first_block - last.blocks) *
                             kBlockBytes);
  };
  const std::string wide = world.run(world.tank().add_virtual_disk("wide", 100 * kMiB));
  EXPECT_THAT(wide, HasSubstr("the largest free piece has " + largest() + ", and"));
  EXPECT_EQ(add(), "");
  EXPECT_THAT(add(), HasSubstr("virtual disk more of group tank: "));
  world.close();
  config::Disk disk;
  disk.path.text = "n0";
  world.config.groups[0].disks.push_back(disk);
  world.config.groups[0].virtual_disks.push_back({.name = "more"});
  ASSERT_EQ(world.open(), "");
  EXPECT_EQ(world.tank().can_lose(), 1U);
  const Blocks found(40);
  ASSERT_TRUE(world.run(read(world.device(), 5, found)).ok());
  EXPECT_EQ(found, blocks);
  BlockDevice* const more = world.tank().virtual_disk("more");
  ASSERT_NE(more, nullptr);
  EXPECT_GE(more->block_count(), kMiB / kBlockBytes);
  ASSERT_TRUE(world.run(write(*more, 0, blocks)).ok());
  world.close();
}

TEST(NodeGroups, AVirtualDiskThatTheGroupDoesNotHaveIsRefused) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  world.close();
  world.config.groups[0].virtual_disks[0].name = "other";
  EXPECT_THAT(world.open(), HasSubstr("has no virtual disk other; remove it from the file"));
}

TEST(NodeGroups, ADiskThatAnotherProgramUsesStopsTheStart) {
  World world("raid5", 3, kDiskBlocks);
  ASSERT_EQ(world.format(), "");
  world.groups = std::make_unique<NodeGroups>(world.scheduler, world.config, world.config.nodes[0]);
  EXPECT_EQ(world.groups->open_disks(
                [](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
                  static_cast<void>(disk);
                  return Error{Errc::kRefused, "in use"};
                }),
            "sim.yaml:8: disk d0: in use; stop what uses it (another duetd, `duet check`)");
}

// Fresh writes are not protected, and cost the less; both are there after a flush and a crash.
TEST(NodeGroups, AFlushReachesTheGroupAndFreshWritesAreTold) {
  World world("raid6", 5, kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  Blocks blocks(24);
  blocks.fill(5);
  struct Write final : BlockOperation {
    void run() override { ended = true; }
    bool ended = false;
  } operation;
  operation.kind = BlockOperation::Kind::kWrite;
  operation.fresh = true;
  operation.block = 24;
  operation.parts = blocks.parts();
  world.device().start(operation);
  ASSERT_TRUE(world.scheduler.run_until([&] { return operation.ended; }));
  ASSERT_TRUE(operation.result.ok());
  EXPECT_EQ(world.tank().group().counters().whole_stripes, 1U);
  EXPECT_EQ(world.tank().group().counters().blocks_read, 0U);
  ASSERT_TRUE(world.run(flush(world.device())).ok());
  EXPECT_EQ(world.tank().group().status().intents, 0U);
  world.kill(/*power=*/true);
  ASSERT_EQ(world.open(), "");
  const Blocks again(24);
  ASSERT_TRUE(world.run(read(world.device(), 24, again)).ok());
  EXPECT_EQ(again, blocks);
  world.close();
}

}  // namespace
}  // namespace duet::groups
