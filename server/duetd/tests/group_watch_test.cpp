#include "group_watch.h"

#include <gmock/gmock.h>

#include "absent_world.h"

namespace duet::daemon {
namespace {

using groups::testing::AbsentWorld;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kAway = "this node does not reach it: the shelf does not answer";

TEST(GroupWatch, AGroupThatIsNotManagedIsListedWithWhatItLacks) {
  AbsentWorld node;
  node.absent = {{"d0", kAway}, {"d1", kAway}};
  ASSERT_NE(node.open(), "");
  const GroupWatch watch(node.world.scheduler, node.groups);
  const std::vector<admin::RaidGroupInfo> infos = watch.infos();
  ASSERT_EQ(infos.size(), 1U);
  EXPECT_EQ(infos[0].name, "tank");
  EXPECT_EQ(infos[0].level, "raid5");
  EXPECT_FALSE(infos[0].managed);
  EXPECT_EQ(infos[0].state(), "not_managed");
  EXPECT_EQ(infos[0].why_not, node.group().why_not_managed());
  ASSERT_EQ(infos[0].disks.size(), 3U);
  EXPECT_EQ(infos[0].disks[1].path, "d1");
  EXPECT_EQ(infos[0].disks[1].state, "unknown");
  EXPECT_EQ(infos[0].disks[1].problem, kAway);
  EXPECT_EQ(infos[0].disks[2].problem, "");
  EXPECT_THAT(watch.warnings(), ElementsAre("redundancy group tank is not managed by this node: " +
                                            node.group().why_not_managed()));
}

TEST(GroupWatch, AGroupThatIsManagedHasNoWarning) {
  AbsentWorld node;
  ASSERT_EQ(node.open(), "");
  const GroupWatch watch(node.world.scheduler, node.groups);
  EXPECT_TRUE(watch.infos()[0].managed);
  EXPECT_EQ(watch.infos()[0].state(), "optimal");
  EXPECT_THAT(watch.warnings(), ElementsAre());
}

// Too few are left for a label that says which failed.
TEST(GroupWatch, DisksThatAreLostAtOnceAreNamed) {
  AbsentWorld node;
  ASSERT_EQ(node.open(), "");
  node.absent = {{"d0", kAway}, {"d1", kAway}};
  node.group().group().disk_failed(0);
  node.group().group().disk_failed(1);
  const GroupWatch watch(node.world.scheduler, node.groups);
  ASSERT_TRUE(node.world.scheduler.run_until([&] { return watch.infos()[0].state() == "failed"; },
                                             50'000'000));
  const std::vector<std::string> warnings = watch.warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0],
              HasSubstr(std::string("has lost more disks than it can: d0 (in_sync: ") + kAway));
  EXPECT_THAT(warnings[0], HasSubstr(std::string("d1 (in_sync: ") + kAway));
  EXPECT_THAT(warnings[0], HasSubstr("put them back; filers then open by themselves"));
}

}  // namespace
}  // namespace duet::daemon
