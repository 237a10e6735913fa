#include "world.h"

namespace duet::filer::testing {
namespace {

class Snapshots : public ::testing::Test {
 protected:
  void take(std::string name) {
    const Status taken = world.run(world.filer->create_snapshot("vol0", std::move(name)));
    ASSERT_TRUE(taken.ok()) << taken.error().context;
  }
  Handle enter(const Handle& directory, std::string_view snapshot) {
    const LookupReply all = world.lookup(directory, ".snapshot");
    EXPECT_FALSE(all.error.has_value());
    const LookupReply one = world.lookup(all.handle, snapshot);
    EXPECT_FALSE(one.error.has_value());
    return one.handle;
  }

  World world;
  Handle root = world.root();
};

TEST_F(Snapshots, ShowEveryDirectoryAsItWas) {
  const Handle directory = world.make_directory(root, "d");
  const Handle file = world.create(directory, "f");
  ASSERT_FALSE(world.write(file, 0, "old").error.has_value());
  take("s1");
  ASSERT_FALSE(world.write(file, 0, "new").error.has_value());
  ASSERT_FALSE(world.remove(directory, "f").error.has_value());
  world.create(directory, "g");
  take("s2");
  for (int round = 0; round < 2; ++round) {
    const Handle then = enter(directory, "s1");
    EXPECT_EQ(world.names(then), (std::vector<std::string>{".", "..", "f"}));
    const LookupReply old = world.lookup(then, "f");
    EXPECT_EQ(world.read(old.handle), "old");
    EXPECT_EQ(world.names(enter(directory, "s2")), (std::vector<std::string>{".", "..", "g"}));
    EXPECT_EQ(world.lookup(enter(root, "s1"), "d").handle.data, then.data);
    EXPECT_EQ(world.lookup(then, "..").handle.data, enter(root, "s1").data);
    world.crash();
  }
}

TEST_F(Snapshots, AreFileSystemsOfTheirOwnWithTheSameNumbers) {
  const Handle file = world.create(root, "f");
  take("s1");
  take("s2");
  const FileAttributes live = world.getattr(file).attributes;
  const FileAttributes one = *world.lookup(enter(root, "s1"), "f").attributes;
  const FileAttributes two = *world.lookup(enter(root, "s2"), "f").attributes;
  EXPECT_EQ(one.fileid, live.fileid);
  EXPECT_EQ(two.fileid, live.fileid);
  EXPECT_NE(one.fsid, live.fsid);
  EXPECT_NE(two.fsid, live.fsid);
  EXPECT_NE(one.fsid, two.fsid);
  EXPECT_TRUE(one.attributes == live.attributes);
}

TEST_F(Snapshots, AreListedWithCookiesThatStayValid) {
  for (const char* name : {"a", "b", "c", "d"}) {
    take(name);
  }
  const Handle all = world.lookup(root, ".snapshot").handle;
  EXPECT_EQ(world.names(all), (std::vector<std::string>{".", "..", "a", "b", "c", "d"}));
  const ReaddirReply first = world.readdir(all);
  const std::uint64_t behind_b = first.entries[3].cookie;
  ASSERT_TRUE(world.run(world.filer->delete_snapshot("vol0", "b")).ok());
  ASSERT_TRUE(world.run(world.filer->rename_snapshot("vol0", "c", "c2")).ok());
  const ReaddirReply rest = world.readdir(all, false, behind_b);
  ASSERT_EQ(rest.entries.size(), 2U);
  EXPECT_EQ(rest.entries[0].name, "c2");
  EXPECT_EQ(rest.entries[1].name, "d");
  EXPECT_TRUE(rest.end);
  EXPECT_EQ(world.readdir(all, false, std::uint64_t{1} << 40U).error, Errc::kBadCookie);
}

TEST_F(Snapshots, ListAttributesAndHandlesForReaddirplus) {
  take("s1");
  const Handle directory = world.make_directory(root, "later");
  const ReaddirReply list = world.readdir(world.lookup(root, ".snapshot").handle, true);
  ASSERT_EQ(list.entries.size(), 3U);
  EXPECT_EQ(list.entries[2].handle->data, enter(root, "s1").data);
  EXPECT_TRUE(list.entries[2].attributes.has_value());
  EXPECT_EQ(list.entries[1].handle->data, root.data);
  const Handle young = world.lookup(directory, ".snapshot").handle;
  EXPECT_EQ(world.lookup(young, "s1").error, Errc::kNotFound) << "it did not exist then";
  const ReaddirReply without = world.readdir(young, true);
  ASSERT_EQ(without.entries.size(), 3U);
  EXPECT_FALSE(without.entries[2].handle.has_value());
}

TEST_F(Snapshots, AreNotListedByTheDirectoriesThatTheyAreIn) {
  take("s1");
  EXPECT_EQ(world.names(root), (std::vector<std::string>{".", ".."}));
  EXPECT_EQ(world.lookup(enter(root, "s1"), ".snapshot").error, Errc::kNotFound);
}

TEST_F(Snapshots, HaveAVirtualDirectoryWithAttributesOfItsOwn) {
  const Handle all = world.lookup(root, ".snapshot").handle;
  const FileAttributes attributes = world.getattr(all).attributes;
  EXPECT_EQ(attributes.attributes.type, wafl::FileType::kDirectory);
  EXPECT_EQ(attributes.attributes.mode, 0555U);
  EXPECT_NE(attributes.fileid, world.getattr(root).attributes.fileid);
  EXPECT_EQ(attributes.fsid, world.getattr(root).attributes.fsid);
  EXPECT_EQ(world.lookup(all, ".").handle.data, all.data);
  EXPECT_EQ(world.lookup(all, "..").handle.data, root.data);
  EXPECT_EQ(world.lookup(all, "nothing").error, Errc::kNotFound);
  EXPECT_EQ(world.lookup(all, "a/b").error, Errc::kInvalid);
  const wafl::Timestamp before = attributes.attributes.mtime;
  take("s1");
  const wafl::Timestamp taken = world.getattr(all).attributes.attributes.mtime;
  EXPECT_GT(taken, before);
  ASSERT_TRUE(world.run(world.filer->delete_snapshot("vol0", "s1")).ok());
  EXPECT_GT(world.getattr(all).attributes.attributes.mtime, taken);
}

TEST_F(Snapshots, RefuseEveryChange) {
  world.create(root, "f");
  world.make_directory(root, "d");
  take("s1");
  const Handle then = enter(root, "s1");
  const Handle file = world.lookup(then, "f").handle;
  const Handle live = world.lookup(root, "f").handle;
  SetAttributes mode;
  mode.mode = 0;
  for (const Handle& directory : {then, world.lookup(root, ".snapshot").handle}) {
    const CreateRequest create{directory.bytes(), "x", CreateMode::kUnchecked, {}, 0};
    const MakeRequest make{directory.bytes(), "x", wafl::FileType::kDirectory, {}, {}, {}};
    const LinkRequest link{live.bytes(), directory.bytes(), "x"};
    const Caller from = world.caller();
    EXPECT_EQ(world.run(world.filer->create(from, create)).error, Errc::kReadOnly);
    EXPECT_EQ(world.run(world.filer->make(from, make)).error, Errc::kReadOnly);
    EXPECT_EQ(world.run(world.filer->link(from, link)).error, Errc::kReadOnly);
    EXPECT_EQ(world.remove(directory, "f").error, Errc::kReadOnly);
    EXPECT_EQ(world.rmdir(directory, "d").error, Errc::kReadOnly);
    EXPECT_EQ(world.rename(directory, "f", root, "x").error, Errc::kReadOnly);
    EXPECT_EQ(world.rename(root, "f", directory, "x").error, Errc::kReadOnly);
    EXPECT_EQ(world.setattr(directory, mode).error, Errc::kReadOnly);
  }
  EXPECT_EQ(world.write(file, 0, "x").error, Errc::kReadOnly);
  EXPECT_EQ(world.setattr(file, mode).error, Errc::kReadOnly);
  const Caller from = world.caller();
  EXPECT_EQ(world.run(world.filer->access(from, file.bytes(), 0x3F)).access, 1U);
}

TEST_F(Snapshots, GoStaleWhenTheyAreDeleted) {
  const Handle file = world.create(root, "f");
  take("s1");
  const Handle then = world.lookup(enter(root, "s1"), "f").handle;
  ASSERT_TRUE(world.run(world.filer->delete_snapshot("vol0", "s1")).ok());
  EXPECT_EQ(world.getattr(then).error, Errc::kStaleHandle);
  EXPECT_FALSE(world.getattr(file).error.has_value());
  EXPECT_EQ(world.run(world.filer->delete_snapshot("vol0", "s1")).error().code, Errc::kNotFound);
}

TEST_F(Snapshots, AreRestoredAndTheNewerOnesMustBeNamed) {
  const Handle file = world.create(root, "f");
  ASSERT_FALSE(world.write(file, 0, "one").error.has_value());
  take("s1");
  ASSERT_FALSE(world.write(file, 0, "two").error.has_value());
  take("s2");
  ASSERT_FALSE(world.write(file, 0, "three").error.has_value());
  world.create(root, "g");
  Filer& filer = *world.filer;
  EXPECT_EQ(world.run(filer.restore_snapshot("vol0", "s1", {})).error().code, Errc::kRefused);
  EXPECT_EQ(world.read(file), "three");
  ASSERT_TRUE(world.run(filer.restore_snapshot("vol0", "s1", {"s2"})).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(world.read(file), "one");
    EXPECT_EQ(world.names(root), (std::vector<std::string>{".", "..", "f"}));
    EXPECT_EQ(world.lookup(world.lookup(root, ".snapshot").handle, "s2").error, Errc::kNotFound);
    world.crash();
  }
}

TEST_F(Snapshots, ChangesBesideARestoreAreReplayedOnWhatWasRestored) {
  for (std::uint64_t turns = 1; turns < 60; turns += 3) {
    World other(turns);
    const Handle top = other.root();
    const Handle file = other.create(top, "f");
    ASSERT_TRUE(other.run(other.filer->create_snapshot("vol0", "s1")).ok());
    ASSERT_FALSE(other.remove(top, "f").error.has_value());
    std::optional<Status> restored;
    std::optional<WriteReply> written;
    const ConstBytes piece = bytes_of_text("text");
    const WriteRequest request{file.bytes(), 0, std::span(&piece, 1)};
    const Caller from = other.caller();
    {
      TaskScope scope(other.scheduler);
      scope.spawn(keep_result(other.filer->restore_snapshot("vol0", "s1", {}), restored));
      (void)other.scheduler.run_until([&] { return restored.has_value(); }, turns);
      scope.spawn(keep_result(other.filer->write(from, request), written));
      (void)other.scheduler.run_until([&] { return written.has_value(); }, turns);
      other.devices.clear();
      scope.cancel();
    }
    other.kill(true);
    other.open();
    if (written.has_value() && !written->error) {
      EXPECT_EQ(other.read(file), "text");
    }
  }
}

TEST_F(Snapshots, TwoOfAVolumeAtOnceBothComeToBe) {
  std::optional<Status> one;
  std::optional<Status> two;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(world.filer->create_snapshot("vol0", "s1"), one));
  scope.spawn(keep_result(world.filer->create_snapshot("vol0", "s2"), two));
  ASSERT_TRUE(world.scheduler.run_until([&] { return one && two; }));
  EXPECT_TRUE(one->ok());
  EXPECT_TRUE(two->ok());
  EXPECT_FALSE(world.lookup(world.lookup(root, ".snapshot").handle, "s2").error.has_value());
}

}  // namespace
}  // namespace duet::filer::testing
