#include "rights.h"

#include "world.h"

namespace duet::filer::testing {
namespace {

constexpr std::uint32_t kOwner = 100;
constexpr std::uint32_t kMember = 200;  // of the file's group
constexpr std::uint32_t kStranger = 300;
constexpr std::uint32_t kGroup = 50;

Identity identity(std::uint32_t uid, std::uint32_t gid) {
  Identity who;
  who.uid = uid;
  who.gid = gid;
  return who;
}

wafl::Attributes attributes(std::uint32_t mode, wafl::FileType type = wafl::FileType::kRegular) {
  wafl::Attributes a;
  a.type = type;
  a.mode = mode;
  a.uid = kOwner;
  a.gid = kGroup;
  return a;
}

TEST(Rights, EveryModeGivesExactlyTheTripletOfTheClass) {
  for (std::uint32_t mode = 0; mode < 01000; ++mode) {
    for (std::uint32_t wanted = 0; wanted < 8; ++wanted) {
      const wafl::Attributes file = attributes(mode);
      EXPECT_EQ(may(identity(kOwner, 1), file, wanted), ((mode >> 6U) & wanted) == wanted);
      EXPECT_EQ(may(identity(kMember, kGroup), file, wanted), ((mode >> 3U) & wanted) == wanted);
      EXPECT_EQ(may(identity(kStranger, 1), file, wanted), (mode & wanted) == wanted);
      EXPECT_EQ(may(identity(0, 0), file, wanted),
                (wanted & kMayExecute) == 0 || (mode & 0111) != 0);
      EXPECT_TRUE(may(identity(0, 0), attributes(mode, wafl::FileType::kDirectory), wanted));
    }
  }
}

TEST(Rights, AnyOfSixteenGroupsCounts) {
  Identity who = identity(kStranger, 1);
  who.group_count = 16;
  who.groups[15] = kGroup;
  EXPECT_TRUE(may(who, attributes(0040), kMayRead));
  who.group_count = 15;
  EXPECT_FALSE(may(who, attributes(0040), kMayRead));
}

TEST(Rights, TheOwnerReadsAndWritesWhateverTheMode) {
  EXPECT_TRUE(may_read_contents(identity(kOwner, 1), attributes(0)));
  EXPECT_TRUE(may_write_contents(identity(kOwner, 1), attributes(0)));
  EXPECT_FALSE(may_read_contents(identity(kMember, kGroup), attributes(0707)));
  EXPECT_FALSE(may_write_contents(identity(kMember, kGroup), attributes(0707)));
  EXPECT_TRUE(may_read_contents(identity(kStranger, 1), attributes(0001))) << "to execute it";
}

TEST(Rights, SquashingMapsIdsAndGroups) {
  Credentials root;
  root.group_count = 2;
  root.groups = {0, 7};
  ExportRule rule;
  rule.anonymous_uid = 1'001;
  rule.anonymous_gid = 1'002;
  rule.squash = Squash::kNone;
  EXPECT_TRUE(identify(root, rule).root());
  rule.squash = Squash::kRoot;
  EXPECT_EQ(identify(root, rule).uid, 1'001U);
  EXPECT_EQ(identify(root, rule).gid, 1'002U);
  EXPECT_FALSE(identify(root, rule).in_group(0));
  EXPECT_TRUE(identify(root, rule).in_group(7));
  Credentials user = root;
  user.uid = 5;
  user.gid = 6;
  EXPECT_EQ(identify(user, rule).uid, 5U);
  rule.squash = Squash::kAll;
  EXPECT_EQ(identify(user, rule).uid, 1'001U);
  EXPECT_FALSE(identify(user, rule).in_group(7));
  rule.squash = Squash::kNone;
  user.anonymous = true;
  EXPECT_EQ(identify(user, rule).uid, 1'001U);
  EXPECT_EQ(identify(user, rule).group_count, 0U);
}

// --- With a filer.

std::uint32_t access(World& world, const Handle& handle, std::uint32_t uid) {
  const Caller from = world.caller(uid, uid);
  const AccessReply reply = world.run(world.filer->access(from, handle.bytes(), 0x3F));
  EXPECT_FALSE(reply.error.has_value());
  return reply.access;
}

TEST(Rights, AccessSaysWhatTheProceduresDo) {
  World world;
  const Handle root = world.root();
  const Handle open = world.make_directory(root, "open", 0777);
  for (const std::uint32_t mode : {0U, 04U, 02U, 01U, 06U, 05U, 07U}) {
    const std::string name = "m" + std::to_string(mode);
    const Handle file = world.create(open, name, mode, kOwner);
    const std::uint32_t bits = access(world, file, kStranger);
    EXPECT_EQ((bits & kAccessRead) != 0, (mode & 4U) != 0);
    EXPECT_EQ((bits & kAccessModify) != 0, (mode & 2U) != 0);
    EXPECT_EQ((bits & kAccessExtend) != 0, (mode & 2U) != 0);
    EXPECT_EQ((bits & kAccessExecute) != 0, (mode & 1U) != 0);
    Failure error;
    (void)world.read(file, 0, 10, &error, kStranger);
    EXPECT_EQ(error == Errc::kAccess, (mode & 5U) == 0) << mode;
    EXPECT_EQ(world.write(file, 0, "x", kStranger).error == Errc::kAccess, (mode & 2U) == 0);
  }
  const Handle hidden = world.make_directory(root, "hidden", 0700, 0);
  world.create(hidden, "f");
  EXPECT_EQ(access(world, hidden, kStranger), 0U);
  EXPECT_EQ(access(world, hidden, 0),
            kAccessRead | kAccessLookup | kAccessModify | kAccessExtend | kAccessDelete);
  EXPECT_EQ(world.lookup(hidden, "f", kStranger).error, Errc::kAccess);
  EXPECT_EQ(world.remove(hidden, "f", kStranger).error, Errc::kAccess);
}

TEST(Rights, ListingWithoutTheRightToSearchGivesNamesOnly) {
  World world;
  const Handle listed = world.make_directory(world.root(), "listed", 0744);
  world.create(listed, "f", 0666);
  const ReaddirRequest request{listed.bytes(), 0, 0, 4'096, 4'096, true};
  const Caller from = world.caller(kStranger, kStranger);
  const ReaddirReply reply = world.run(world.filer->readdir(from, request));
  ASSERT_EQ(reply.entries.size(), 3U);
  EXPECT_FALSE(reply.entries[2].handle.has_value()) << "a way around the mode bits";
  EXPECT_FALSE(reply.entries[2].attributes.has_value());
}

TEST(Rights, NamesAreMadeAndRemovedByThoseWhoMayWriteTheDirectory) {
  World world;
  const Handle root = world.root();
  const Handle ours = world.make_directory(root, "ours", 0755);
  world.create(ours, "f", 0666);
  const CreateRequest create{ours.bytes(), "g", CreateMode::kUnchecked, {}, 0};
  Caller from = world.caller(kStranger, kStranger);
  EXPECT_EQ(world.run(world.filer->create(from, create)).error, Errc::kAccess);
  const CreateRequest existing{ours.bytes(), "f", CreateMode::kUnchecked, {}, 0};
  from = world.caller(kStranger, kStranger);
  EXPECT_FALSE(world.run(world.filer->create(from, existing)).error.has_value())
      << "to open what is there needs no right to write the directory";
  const MakeRequest make{ours.bytes(), "d", wafl::FileType::kDirectory, {}, {}, {}};
  from = world.caller(kStranger, kStranger);
  EXPECT_EQ(world.run(world.filer->make(from, make)).error, Errc::kAccess);
  EXPECT_EQ(world.remove(ours, "f", kStranger).error, Errc::kAccess);
  EXPECT_EQ(world.rename(ours, "f", ours, "g", kStranger).error, Errc::kAccess);
}

TEST(Rights, AStickyDirectoryKeepsOthersFiles) {
  World world;
  const Handle tmp = world.make_directory(world.root(), "tmp", 01777);
  world.create(tmp, "f", 0666, kOwner);
  world.create(tmp, "mine", 0666, kStranger);
  EXPECT_EQ(world.remove(tmp, "f", kStranger).error, Errc::kNotOwner);
  EXPECT_EQ(world.rename(tmp, "f", tmp, "g", kStranger).error, Errc::kNotOwner);
  EXPECT_EQ(world.rename(tmp, "mine", tmp, "f", kStranger).error, Errc::kNotOwner)
      << "what would be replaced is another's";
  EXPECT_FALSE(world.rename(tmp, "f", tmp, "g", kOwner).error.has_value());
  EXPECT_FALSE(world.remove(tmp, "g", 0).error.has_value());
}

TEST(Rights, NewFilesBelongToTheirMakerAndToASetGidDirectorysGroup) {
  World world;
  const Handle root = world.root();
  const Handle shared = world.make_directory(root, "shared", 0777);
  SetAttributes group;
  group.gid = kGroup;
  ASSERT_FALSE(world.setattr(shared, group).error.has_value());
  group.gid.reset();
  group.mode = 02777;
  ASSERT_FALSE(world.setattr(shared, group).error.has_value());
  const wafl::Attributes file =
      world.getattr(world.create(shared, "f", 0644, kStranger)).attributes.attributes;
  EXPECT_EQ(file.uid, kStranger);
  EXPECT_EQ(file.gid, kGroup);
  const wafl::Attributes below =
      world.getattr(world.make_directory(shared, "d", 0755, kStranger)).attributes.attributes;
  EXPECT_EQ(below.gid, kGroup);
  EXPECT_EQ(below.mode, 02755U);
  const wafl::Attributes program =
      world.getattr(world.create(shared, "p", 02755, kStranger)).attributes.attributes;
  EXPECT_EQ(program.mode, 0755U) << "of a group that its maker is not in";
}

struct SetattrCase {
  const char* what;
  SetAttributes changes;
  Failure owner, stranger;
};

TEST(Rights, SetattrIsTheOwnersAsPosixSays) {
  SetAttributes mode, uid, own_uid, gid, foreign_gid, now, then, size;
  mode.mode = 0600;
  uid.uid = 7;
  own_uid.uid = kOwner;
  gid.gid = kOwner;
  foreign_gid.gid = 7;
  now.set_mtime = SetTime::kServerTime;
  then.set_mtime = SetTime::kClientTime;
  size.size_bytes = 3;
  const std::vector<SetattrCase> cases{
      {"mode", mode, {}, Errc::kNotOwner},
      {"uid", uid, Errc::kNotOwner, Errc::kNotOwner},
      {"own uid", own_uid, {}, Errc::kNotOwner},
      {"gid", gid, {}, Errc::kNotOwner},
      {"foreign gid", foreign_gid, Errc::kNotOwner, Errc::kNotOwner},
      {"now", now, {}, Errc::kAccess},
      {"then", then, {}, Errc::kNotOwner},
      {"size", size, {}, Errc::kAccess},
  };
  World world;
  const Handle open = world.make_directory(world.root(), "open", 0777);
  for (const SetattrCase& one : cases) {
    const Handle file = world.create(open, one.what, 0644, kOwner);
    EXPECT_EQ(world.setattr(file, one.changes, kStranger).error, one.stranger) << one.what;
    EXPECT_EQ(world.setattr(file, one.changes, kOwner).error, one.owner) << one.what;
    EXPECT_FALSE(world.setattr(file, one.changes, 0).error.has_value()) << one.what;
  }
}

TEST(Rights, SetIdBitsGoWhenOthersGetTheFileOrWriteIt) {
  World world;
  const Handle open = world.make_directory(world.root(), "open", 0777);
  const auto mode_of = [&](const Handle& file) {
    return world.getattr(file).attributes.attributes.mode;
  };
  const Handle written = world.create(open, "w", 06777, kOwner);
  EXPECT_EQ(mode_of(written), 06777U);
  EXPECT_FALSE(world.write(written, 0, "x", 0).error.has_value());
  EXPECT_EQ(mode_of(written), 06777U) << "root may";
  EXPECT_FALSE(world.write(written, 0, "x", kStranger).error.has_value());
  EXPECT_EQ(mode_of(written), 0777U);
  const Handle given = world.create(open, "g", 06755, kOwner);
  SetAttributes uid;
  uid.uid = kStranger;
  EXPECT_FALSE(world.setattr(given, uid).error.has_value());
  EXPECT_EQ(mode_of(given), 0755U);
}

TEST(Rights, TheGuardOfSetattrMustMatch) {
  World world;
  const Handle file = world.create(world.root(), "f");
  SetattrRequest request{file.bytes(), {}, wafl::Timestamp{1}};
  request.changes.mode = 0600;
  Caller from = world.caller();
  const WccReply reply = world.run(world.filer->setattr(from, request));
  EXPECT_EQ(reply.error, Errc::kOutOfSync);
  EXPECT_TRUE(reply.wcc.before.has_value());
  request.guard_ctime = reply.wcc.after->attributes.ctime;
  from = world.caller();
  EXPECT_FALSE(world.run(world.filer->setattr(from, request)).error.has_value());
}

TEST(Rights, DevicesAreMadeByRootAlone) {
  World world;
  const Handle open = world.make_directory(world.root(), "open", 0777);
  MakeRequest request{open.bytes(), "dev", wafl::FileType::kCharacterDevice, {}, {}, {1, 3}};
  Caller from = world.caller(kStranger, kStranger);
  EXPECT_EQ(world.run(world.filer->make(from, request)).error, Errc::kNotOwner);
  from = world.caller();
  const CreateReply made = world.run(world.filer->make(from, request));
  ASSERT_FALSE(made.error.has_value());
  EXPECT_EQ(made.attributes->attributes.device, (wafl::Device{1, 3}));
  request.type = wafl::FileType::kFifo;
  request.name = "fifo";
  from = world.caller(kStranger, kStranger);
  EXPECT_FALSE(world.run(world.filer->make(from, request)).error.has_value());
}

}  // namespace
}  // namespace duet::filer::testing
