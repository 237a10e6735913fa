#include "world.h"

namespace duet::filer::testing {
namespace {

class Clones : public ::testing::Test {
 protected:
  Clones() {
    ExportTable table = world.filer->exports();
    table.exports.push_back({"/c", table.exports.front().rules});
    EXPECT_TRUE(world.run(world.filer->set_exports(table)).ok());
    file = world.create(root, "f");
    EXPECT_FALSE(world.write(file, 0, "of the origin").error.has_value());
    EXPECT_TRUE(world.run(world.filer->create_snapshot("vol0", "s")).ok());
  }
  Errc refusal(Task<Status> task) {
    const Status status = world.run(std::move(task));
    EXPECT_FALSE(status.ok());
    return status.ok() ? Errc{} : status.error().code;
  }

  World world;
  Handle root = world.root();
  Handle file;
};

TEST_F(Clones, AreVolumesOfTheirOwnAndSurviveACrashWithTheirLog) {
  ASSERT_TRUE(world.run(world.filer->clone_volume("vol0", "s", "c", 0)).ok());
  const Handle clone = world.root("/c");
  EXPECT_NE(clone.data, root.data);
  const Handle ours = world.lookup(clone, "f").handle;
  EXPECT_NE(ours.data, file.data);
  const FileAttributes of_clone = world.getattr(ours).attributes;
  const FileAttributes of_origin = world.getattr(file).attributes;
  EXPECT_EQ(of_clone.fileid, of_origin.fileid);
  EXPECT_NE(of_clone.fsid, of_origin.fsid);
  EXPECT_TRUE(of_clone.attributes == of_origin.attributes);
  EXPECT_EQ(world.read(ours), "of the origin");

  ASSERT_FALSE(world.write(ours, 0, "of the clone ").error.has_value());
  const Handle made = world.create(clone, "made");
  world.crash();
  EXPECT_EQ(world.read(ours), "of the clone ");
  EXPECT_EQ(world.read(file), "of the origin");
  EXPECT_EQ(world.names(clone).size(), 4U);
  EXPECT_EQ(world.names(root), (std::vector<std::string>{".", "..", "f"}));
  EXPECT_FALSE(world.getattr(made).error.has_value());
}

TEST_F(Clones, KeepTheSnapshotAndWhatIsOlderFromChanging) {
  ASSERT_TRUE(world.run(world.filer->create_snapshot("vol0", "t")).ok());
  ASSERT_TRUE(world.run(world.filer->clone_volume("vol0", "t", "c", 0)).ok());
  EXPECT_EQ(refusal(world.filer->delete_snapshot("vol0", "t")), Errc::kRefused);
  EXPECT_EQ(refusal(world.filer->destroy_volume("vol0")), Errc::kRefused);
  ASSERT_TRUE(world.run(world.filer->create_snapshot("vol0", "u")).ok());
  // All or nothing: "u" could go, and stays.
  EXPECT_EQ(refusal(world.filer->restore_snapshot("vol0", "s", {"t", "u"})), Errc::kRefused);
  EXPECT_EQ(world.filer->aggregate().find_volume("vol0")->snapshots().size(), 3U);
  ASSERT_TRUE(world.run(world.filer->restore_snapshot("vol0", "t", {"u"})).ok());
  ASSERT_TRUE(world.run(world.filer->destroy_volume("c")).ok());
  ASSERT_TRUE(world.run(world.filer->restore_snapshot("vol0", "s", {"t"})).ok());
}

TEST_F(Clones, OfASnapshotMadeInTheSameCpWaitForTheNext) {
  std::optional<Status> made;
  std::optional<Status> cloned;
  const auto keep = [](Task<Status> task, std::optional<Status>& result) -> Task<void> {
    result = co_await std::move(task);
  };
  TaskScope scope(world.scheduler);
  scope.spawn(keep(world.filer->create_snapshot("vol0", "now"), made));
  scope.spawn(keep(world.filer->clone_volume("vol0", "now", "c", 0), cloned));
  ASSERT_TRUE(world.scheduler.run(1'000'000));
  ASSERT_TRUE(made.has_value() && cloned.has_value());
  EXPECT_TRUE(made->ok());
  EXPECT_TRUE(cloned->ok());
}

}  // namespace
}  // namespace duet::filer::testing
