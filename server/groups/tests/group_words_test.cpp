// What an operator is told of disks and groups, and of orders that are refused.

#include <gmock/gmock.h>

#include "absent_world.h"
#include "disk_verbs.h"

namespace duet::groups {
namespace {

using testing::AbsentWorld;
using ::testing::HasSubstr;
using testing::World;

constexpr std::uint64_t kDiskBlocks = 1024;
constexpr const char* kAway = "this node does not reach it: the shelf does not answer";

TEST(GroupWords, ADiskOutOfReachIsNotTakenForOneThatIsTooSmall) {
  AbsentWorld node;
  node.absent["d1"] = kAway;
  ASSERT_EQ(node.open(), "");
  const Slot& slot = node.group().slots()[1];
  EXPECT_EQ(node.group().absence_of(slot), kAway);
  EXPECT_EQ(node.group().problem_of(slot), kAway);
  EXPECT_EQ(node.group().absence_of(node.group().slots()[0]), "");
  EXPECT_EQ(node.group().problem_of(node.group().slots()[0]), "");
  node.absent.clear();
  EXPECT_EQ(node.group().problem_of(slot), "it was not reached when the group began");
}

TEST(GroupWords, ADiskOutOfReachIsNeitherGivenNorTakenBack) {
  AbsentWorld node;
  node.absent["d1"] = kAway;
  ASSERT_EQ(node.open(), "");
  EXPECT_EQ(
      node.world.run(
          node.group().replace(1, "d1", true, AbsentWorld::opener(), node.world.entropy)),
      std::string("disk d1: ") + kAway + "; `duet failover show` names the disks out of reach");
  EXPECT_EQ(node.world.run(node.group().take_back(1, AbsentWorld::opener())),
            std::string("disk 1 of group tank: ") + kAway);
}

TEST(GroupWords, AGroupThatIsNotManagedSaysWhatItLacks) {
  AbsentWorld node;
  EXPECT_THAT(node.group().why_not_managed(), HasSubstr("its disks have not been read yet"));
  node.absent = {{"d0", kAway}, {"d1", kAway}};
  const std::string wrong = node.open();
  EXPECT_FALSE(node.group().managed());
  EXPECT_EQ(wrong, "sim.yaml:4: redundancy group tank: " + node.group().why_not_managed());
  EXPECT_THAT(wrong, HasSubstr("it was last managed with 3 disks, and all of them must be in this "
                               "node's configuration and be reached (`duet failover show`)"));
  EXPECT_THAT(wrong, HasSubstr("only if no node manages it, and they are lost for good"));
  node.absent.clear();
  node.away.clear();
}

TEST(GroupWords, ADiskWithAKeyFileIsFoundByItsNameAndAsItIsWritten) {
  World world("raid5", 3, kDiskBlocks);
  const std::string of_all = "shelf+tls://192.0.2.7:7420/c1";
  const std::string own = "shelf+tls://192.0.2.7:7420/c2?key_file=/etc/own.key";
  world.add_disk(of_all, kDiskBlocks);
  world.add_disk(own, kDiskBlocks);
  std::vector<config::Disk>& disks = world.config.groups[0].disks;
  disks[1].path.text = of_all;
  disks[1].key_file = "/etc/shelf.key";
  disks[2].path.text = own;
  ASSERT_EQ(world.format_and_open(), "");
  EXPECT_EQ(world.tank().find_disk("c1"), 1U);
  EXPECT_EQ(world.tank().find_disk(of_all), 1U);
  EXPECT_EQ(world.tank().find_disk("c2"), 2U);
  EXPECT_EQ(world.tank().find_disk(own), 2U);
  EXPECT_EQ(world.tank().find_disk("own.key"), std::nullopt);
  world.close();
}

TEST(GroupWords, EachRefusalSaysWhatHelpsAgainstIt) {
  World world("raid5", 3, kDiskBlocks);
  world.add_disk("n0", kDiskBlocks);
  ASSERT_EQ(world.format_and_open(), "");
  world.tank().group().disk_failed(1);
  world.wait_for(0);
  EXPECT_EQ(world.run(world.tank().expand({"n0"}, false, world.opener(), world.entropy)),
            "disk n0: a disk of the redundancy group has failed or is rebuilt; wait until `duet "
            "raid status` shows neither, or replace the one that has failed");
  const auto text = [](Errc code, std::string_view why) { return refusal_of({code, why}, "d"); };
  EXPECT_EQ(text(Errc::kRefused, "the disk has not failed; fail it first"),
            "disk d: the disk has not failed; fail it first");
  EXPECT_THAT(text(Errc::kIo, "the new disk failed"),
              HasSubstr("a node does not know or reach it"));
  EXPECT_THAT(text(Errc::kNoSpace, "the redundancy group has as many spares as can be"),
              HasSubstr("`duet raid spare GROUP DISK --remove` makes room"));
  world.close();
}

}  // namespace
}  // namespace duet::groups
