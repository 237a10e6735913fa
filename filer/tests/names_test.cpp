#include "world.h"

namespace duet::filer::testing {
namespace {

constexpr std::string_view kNul("a\0b", 3);
const std::string kTooLong(256, 'n');
const std::string kLongest(255, 'n');

class Names : public ::testing::Test {
 protected:
  Failure make_with(std::string_view name, wafl::FileType type) {
    const MakeRequest request{root.bytes(), name, type, {}, "target", {}};
    const Caller from = world.caller();
    return world.run(world.filer->make(from, request)).error;
  }
  Failure create_with(std::string_view name, CreateMode mode) {
    const CreateRequest request{root.bytes(), name, mode, {}, 1};
    const Caller from = world.caller();
    return world.run(world.filer->create(from, request)).error;
  }
  Failure link_with(std::string_view name) {
    const LinkRequest request{file.bytes(), root.bytes(), name};
    const Caller from = world.caller();
    return world.run(world.filer->link(from, request)).error;
  }
  // What every procedure that makes a name says to `name`.
  void expect_make(std::string_view name, Errc error) {
    EXPECT_EQ(make_with(name, wafl::FileType::kDirectory), error) << name;
    EXPECT_EQ(make_with(name, wafl::FileType::kSymlink), error) << name;
    EXPECT_EQ(make_with(name, wafl::FileType::kFifo), error) << name;
    EXPECT_EQ(create_with(name, CreateMode::kUnchecked), error) << name;
    EXPECT_EQ(create_with(name, CreateMode::kGuarded), error) << name;
    EXPECT_EQ(create_with(name, CreateMode::kExclusive), error) << name;
    EXPECT_EQ(link_with(name), error) << name;
  }

  World world;
  Handle root = world.root();
  Handle file = world.create(root, "file");
};

TEST_F(Names, ThatNoEntryMayHaveAreRefusedEverywhere) {
  for (const std::string_view name : {std::string_view(""), std::string_view("a/b"),
                                      std::string_view("/"), std::string_view("../vol0"), kNul}) {
    expect_make(name, Errc::kInvalid);
    EXPECT_EQ(world.lookup(root, name).error, Errc::kInvalid) << name;
    EXPECT_EQ(world.remove(root, name).error, Errc::kInvalid) << name;
    EXPECT_EQ(world.rmdir(root, name).error, Errc::kInvalid) << name;
    EXPECT_EQ(world.rename(root, name, root, "x").error, Errc::kInvalid) << name;
    EXPECT_EQ(world.rename(root, "file", root, name).error, Errc::kInvalid) << name;
  }
}

TEST_F(Names, ThatAreTooLongAreRefusedEverywhere) {
  expect_make(kTooLong, Errc::kNameTooLong);
  EXPECT_EQ(world.lookup(root, kTooLong).error, Errc::kNameTooLong);
  EXPECT_EQ(world.remove(root, kTooLong).error, Errc::kNameTooLong);
  EXPECT_EQ(world.rmdir(root, kTooLong).error, Errc::kNameTooLong);
  EXPECT_EQ(world.rename(root, kTooLong, root, "x").error, Errc::kNameTooLong);
  EXPECT_EQ(world.rename(root, "file", root, kTooLong).error, Errc::kNameTooLong);
  EXPECT_FALSE(create_with(kLongest, CreateMode::kGuarded).has_value());
  EXPECT_FALSE(world.rename(root, kLongest, root, std::string(255, 'm')).error.has_value());
}

TEST_F(Names, DotAndDotDotStayAsTheyAre) {
  expect_make(".", Errc::kExists);
  expect_make("..", Errc::kExists);
  EXPECT_EQ(world.remove(root, ".").error, Errc::kInvalid);
  EXPECT_EQ(world.remove(root, "..").error, Errc::kInvalid);
  EXPECT_EQ(world.rmdir(root, ".").error, Errc::kInvalid);
  EXPECT_EQ(world.rmdir(root, "..").error, Errc::kExists);
  EXPECT_EQ(world.rename(root, ".", root, "x").error, Errc::kInvalid);
  EXPECT_EQ(world.rename(root, "file", root, "..").error, Errc::kInvalid);
}

TEST_F(Names, DotSnapshotIsTheServers) {
  expect_make(".snapshot", Errc::kExists);
  EXPECT_EQ(world.remove(root, ".snapshot").error, Errc::kAccess);
  EXPECT_EQ(world.rmdir(root, ".snapshot").error, Errc::kAccess);
  EXPECT_EQ(world.rename(root, ".snapshot", root, "x").error, Errc::kAccess);
  EXPECT_EQ(world.rename(root, "file", root, ".snapshot").error, Errc::kAccess);
}

TEST_F(Names, DotDotOfTheRootIsTheRoot) {
  EXPECT_EQ(world.lookup(root, "..").handle.data, root.data);
  EXPECT_EQ(world.lookup(root, ".").handle.data, root.data);
  const Handle below = world.make_directory(root, "d");
  EXPECT_EQ(world.lookup(below, "..").handle.data, root.data);
  EXPECT_EQ(world.lookup(below, ".").handle.data, below.data);
}

TEST_F(Names, AreBytes) {
  const std::string name = "\xff\xfe\x01 \n";
  const Handle made = world.create(root, name);
  EXPECT_EQ(world.lookup(root, name).handle.data, made.data);
}

TEST_F(Names, AreLookedForInDirectoriesOnly) {
  EXPECT_EQ(world.lookup(file, "x").error, Errc::kNotDirectory);
  EXPECT_EQ(world.lookup(file, ".snapshot").error, Errc::kNotDirectory);
  EXPECT_EQ(world.remove(file, "x").error, Errc::kNotDirectory);
  EXPECT_EQ(world.rename(file, "x", root, "y").error, Errc::kNotDirectory);
  EXPECT_EQ(world.rename(root, "file", file, "y").error, Errc::kNotDirectory);
  EXPECT_EQ(world.readdir(file).error, Errc::kNotDirectory);
}

TEST_F(Names, AreRemovedByTheProcedureOfTheirKind) {
  const Handle directory = world.make_directory(root, "d");
  EXPECT_EQ(world.remove(root, "d").error, Errc::kIsDirectory);
  EXPECT_EQ(world.rmdir(root, "file").error, Errc::kNotDirectory);
  world.create(directory, "f");
  EXPECT_EQ(world.rmdir(root, "d").error, Errc::kNotEmpty);
  EXPECT_EQ(world.remove(root, "nothing").error, Errc::kNotFound);
  EXPECT_FALSE(world.remove(directory, "f").error.has_value());
  EXPECT_FALSE(world.rmdir(root, "d").error.has_value());
}

TEST_F(Names, FailuresGiveTheAttributesBeforeAndAfter) {
  const WccReply removed = world.remove(root, "nothing");
  EXPECT_EQ(removed.error, Errc::kNotFound);
  EXPECT_TRUE(removed.wcc.before.has_value());
  EXPECT_TRUE(removed.wcc.after.has_value());
  const LookupReply looked = world.lookup(root, "nothing");
  EXPECT_TRUE(looked.directory.has_value());
  EXPECT_FALSE(looked.attributes.has_value());
}

TEST_F(Names, AnExclusiveCreateSucceedsAgainWithItsVerifierOnly) {
  const auto create = [&](std::uint64_t verifier) {
    const CreateRequest request{root.bytes(), "mine", CreateMode::kExclusive, {}, verifier};
    const Caller from = world.caller();
    return world.run(world.filer->create(from, request));
  };
  const CreateReply first = create(0xFFFF'FFFF'8000'0001);
  ASSERT_FALSE(first.error.has_value());
  EXPECT_EQ(create(0xFFFF'FFFF'8000'0001).handle->data, first.handle->data);
  EXPECT_EQ(create(0x7FFF'FFFF'8000'0001).error, Errc::kExists);
  EXPECT_EQ(create(0xFFFF'FFFF'0000'0001).error, Errc::kExists);
  world.crash();
  EXPECT_EQ(create(0xFFFF'FFFF'8000'0001).handle->data, first.handle->data);
}

TEST_F(Names, AnUncheckedCreateTruncatesWhatIsThere) {
  ASSERT_FALSE(world.write(file, 0, "something").error.has_value());
  CreateRequest request{root.bytes(), "file", CreateMode::kUnchecked, {}, 0};
  request.attributes.mode = 0777;
  Caller from = world.caller();
  CreateReply reply = world.run(world.filer->create(from, request));
  EXPECT_EQ(reply.handle->data, file.data);
  EXPECT_EQ(reply.attributes->attributes.size_bytes, 9U);
  EXPECT_EQ(reply.attributes->attributes.mode, 0644U) << "only the size is set";
  request.attributes.size_bytes = 0;
  from = world.caller();
  reply = world.run(world.filer->create(from, request));
  EXPECT_EQ(reply.attributes->attributes.size_bytes, 0U);
  world.crash();
  EXPECT_EQ(world.getattr(file).attributes.attributes.size_bytes, 0U);
  EXPECT_EQ(create_with("file", CreateMode::kGuarded), Errc::kExists);
}

}  // namespace
}  // namespace duet::filer::testing
