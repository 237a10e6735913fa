// When CPs happen, and what waits for them: log halves, memory, space, administration.

#include "world.h"

namespace duet::filer::testing {
namespace {

const std::string kBig(1U << 20U, 'b');

TEST(Cp, StartsByItselfSomeTimeAfterAChange) {
  FilerOptions options = World::quick_options();
  options.cp_interval = std::chrono::seconds(10);
  World world(1, options);
  ASSERT_TRUE(world.scheduler.run());
  const std::uint64_t before = world.filer->statistics().cps_by_timer;
  world.create(world.root(), "f");
  const Instant changed = world.scheduler.now();
  EXPECT_EQ(world.filer->statistics().cps_by_timer, before);
  ASSERT_TRUE(world.scheduler.run()) << "an idle filer must come to rest";
  EXPECT_EQ(world.filer->statistics().cps_by_timer, before + 1);
  EXPECT_GE(world.scheduler.now() - changed, std::chrono::seconds(10));
  world.crash();
  EXPECT_EQ(world.filer->statistics().replayed_records, 0U);
  EXPECT_FALSE(world.lookup(world.root(), "f").error.has_value());
}

TEST(Cp, MakesRoomInTheLogForWhateverComes) {
  World world;
  const Handle file = world.create(world.root(), "f");
  std::vector<std::optional<WriteReply>> replies(60);
  const ConstBytes piece = bytes_of_text(kBig);
  std::vector<WriteRequest> requests;
  std::vector<Caller> callers;
  for (std::size_t i = 0; i < replies.size(); ++i) {
    requests.push_back({file.bytes(), i * kBig.size(), std::span(&piece, 1)});
    callers.push_back(world.caller());
  }
  TaskScope scope(world.scheduler);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    scope.spawn(keep_result(world.filer->write(callers[i], requests[i]), replies[i]));
  }
  ASSERT_TRUE(world.scheduler.run_until([&] { return scope.idle(); }, 50'000'000));
  for (const auto& reply : replies) {
    ASSERT_TRUE(reply.has_value());
    EXPECT_FALSE(reply->error.has_value());
    EXPECT_EQ(reply->count, kBig.size());
  }
  EXPECT_GE(world.filer->statistics().cps_by_log, 6U);
  EXPECT_GT(world.filer->statistics().back_to_back_cps, 0U);
  world.crash(true);
  EXPECT_EQ(world.read(file, 59 * kBig.size()), kBig);
}

TEST(Cp, StartsAtTheBoundOnEntries) {
  FilerOptions options = World::quick_options();
  options.log_entries_max = 20;
  World world(1, options);
  const Handle root = world.root();
  for (int i = 0; i < 100; ++i) {
    world.create(root, "f" + std::to_string(i));
    ASSERT_TRUE(world.scheduler.run_for(std::chrono::milliseconds(1)));
  }
  EXPECT_GE(world.filer->statistics().cps_by_log, 3U);
  world.crash();
  EXPECT_LT(world.filer->statistics().replayed_records, 60U);
}

TEST(Cp, StartsAtTheBoundOnMemoryAndDirtyMemoryStaysBounded) {
  FilerOptions options = World::quick_options();
  options.dirty_bytes_max = 1U << 20U;
  World world(1, options);
  const Handle root = world.root();
  std::uint64_t most = 0;
  for (int i = 0; i < 1'000; ++i) {
    const Handle file = world.create(root, "f" + std::to_string(i));
    (void)world.write(file, 0, "x");
    most = std::max(most, world.filer->aggregate().usage().dirty_bytes);
  }
  EXPECT_GT(world.filer->statistics().cps_by_memory, 0U);
  EXPECT_LT(most, 4U << 20U);
}

TEST(Cp, AdministrationIsDurableWhenItIsAnswered) {
  World world;
  ASSERT_TRUE(world.run(world.filer->create_volume("vol1", 1U << 20U)).ok());
  world.crash(true);
  ASSERT_NE(world.filer->aggregate().find_volume("vol1"), nullptr);
  EXPECT_EQ(world.filer->aggregate().find_volume("vol1")->limit_bytes(), 1U << 20U);
  ASSERT_TRUE(world.run(world.filer->set_volume_limit("vol1", 2U << 20U)).ok());
  ASSERT_TRUE(world.run(world.filer->rename_volume("vol1", "vol2")).ok());
  ASSERT_TRUE(world.run(world.filer->create_snapshot("vol2", "s")).ok());
  world.crash(true);
  EXPECT_EQ(world.filer->aggregate().find_volume("vol2")->limit_bytes(), 2U << 20U);
  EXPECT_EQ(world.run(world.filer->destroy_volume("vol2")).error().code, Errc::kRefused);
  ASSERT_TRUE(world.run(world.filer->delete_snapshot("vol2", "s")).ok());
  ASSERT_TRUE(world.run(world.filer->destroy_volume("vol2")).ok());
  world.crash(true);
  EXPECT_EQ(world.filer->aggregate().find_volume("vol2"), nullptr);
}

TEST(Cp, AdministrationThatIsRefusedSaysWhy) {
  World world;
  Filer& filer = *world.filer;
  EXPECT_EQ(world.run(filer.create_volume("vol0", 0)).error().code, Errc::kExists);
  EXPECT_EQ(world.run(filer.create_volume("a/b", 0)).error().code, Errc::kInvalid);
  EXPECT_EQ(world.run(filer.create_volume(".snapshot", 0)).error().code, Errc::kInvalid);
  EXPECT_EQ(world.run(filer.create_volume("two\nlines", 0)).error().code, Errc::kInvalid);
  EXPECT_EQ(world.run(filer.create_volume("small", 4096)).error().code, Errc::kInvalid);
  EXPECT_EQ(world.run(filer.set_volume_limit("vol0", (1U << 20U) - 1)).error().code,
            Errc::kInvalid);
  EXPECT_EQ(world.run(filer.create_snapshot("vol0", "vol0@s")).error().code, Errc::kInvalid);
  EXPECT_EQ(world.run(filer.destroy_volume("none")).error().code, Errc::kNotFound);
  EXPECT_EQ(world.run(filer.create_snapshot("none", "s")).error().code, Errc::kNotFound);
  EXPECT_EQ(world.run(filer.restore_snapshot("vol0", "s", {})).error().code, Errc::kNotFound);
  ExportTable table;
  table.exports.push_back({"/\xff", {}});
  EXPECT_EQ(world.run(filer.set_exports(table)).error().code, Errc::kInvalid);
}

TEST(Cp, AFullVolumeSaysSoAndTakesRemovals) {
  World world;
  ASSERT_TRUE(world.run(world.filer->set_volume_limit("vol0", 8U << 20U)).ok());
  const Handle root = world.root();
  std::vector<std::string> names;
  Failure error;
  for (int i = 0; i < 100 && !error; ++i) {
    names.push_back("f" + std::to_string(i));
    const Handle file = world.create(root, names.back());
    error = world.write(file, 0, kBig.substr(0, 512U << 10U)).error;
  }
  EXPECT_EQ(error, Errc::kOverLimit);
  EXPECT_LT(names.size(), 18U);
  EXPECT_GT(names.size(), 10U);
  const Caller from = world.caller();
  const FsstatReply full = world.run(world.filer->fsstat(from, root.bytes()));
  EXPECT_LT(full.free_bytes, 1U << 20U);
  EXPECT_EQ(full.total_bytes, 8U << 20U);
  for (const std::string& name : names) {
    EXPECT_FALSE(world.remove(root, name).error.has_value());
  }
  const Handle file = world.create(root, "again");
  EXPECT_FALSE(world.write(file, 0, kBig).error.has_value()) << "space that came back";
  world.crash();
  EXPECT_EQ(world.read(file), kBig);
}

TEST(Cp, AFullAggregateSaysSoTakesRemovalsAndOpens) {
  World world(1, World::quick_options(), 4'096);
  const Handle root = world.root();
  int files = 0;
  Failure error;
  for (; files < 100 && !error; ++files) {
    const Handle file = world.create(root, "f" + std::to_string(files));
    error = world.write(file, 0, kBig).error;
  }
  EXPECT_EQ(error, Errc::kNoSpace);
  EXPECT_GT(files, 15);
  world.crash(true);
  for (int i = 0; i < files; ++i) {
    EXPECT_FALSE(world.remove(root, "f" + std::to_string(i)).error.has_value());
  }
  const Handle file = world.create(root, "again");
  EXPECT_FALSE(world.write(file, 0, kBig).error.has_value());
}

TEST(Cp, ALogThatFailsStopsTheFiler) {
  World world;
  const Handle file = world.create(world.root(), "f");
  ASSERT_FALSE(world.write(file, 0, "kept").error.has_value());
  world.memory.fail_next_persist();
  EXPECT_FALSE(world.filer->failed());
  EXPECT_EQ(world.write(file, 0, "lost").error, Errc::kIo);
  EXPECT_TRUE(world.filer->failed());
  EXPECT_EQ(world.getattr(file).error, Errc::kIo);
  EXPECT_EQ(world.write(file, 0, "lost").error, Errc::kIo);
  EXPECT_EQ(world.run(world.filer->consistency_point()).error().code, Errc::kIo);
  EXPECT_FALSE(world.run(world.filer->stop()).ok());
  world.crash(true);
  EXPECT_EQ(world.read(file), "kept");
}

TEST(Cp, AfterStopEverythingIsRefused) {
  World world;
  const Handle root = world.root();
  ASSERT_TRUE(world.run(world.filer->stop()).ok());
  EXPECT_EQ(world.getattr(root).error, Errc::kClosed);
  EXPECT_EQ(world.remove(root, "f").error, Errc::kClosed);
  EXPECT_EQ(world.run(world.filer->consistency_point()).error().code, Errc::kClosed);
  EXPECT_TRUE(world.run(world.filer->stop()).ok());
}

TEST(Cp, EveryOpeningHasItsOwnEpoch) {
  World world;
  const std::uint64_t first = world.filer->aggregate().root().epoch;
  world.crash();
  EXPECT_EQ(world.filer->aggregate().root().epoch, first + 1);
  world.stop_and_open();
  EXPECT_EQ(world.filer->aggregate().root().epoch, first + 2);
}

TEST(Cp, ReadingMarksTheFileAsReadOnce) {
  World world;
  const Handle file = world.create(world.root(), "f");
  ASSERT_FALSE(world.write(file, 0, "x").error.has_value());
  const auto atime = [&] { return world.getattr(file).attributes.attributes.atime; };
  const wafl::Timestamp written = atime();
  (void)world.read(file);
  const wafl::Timestamp read = atime();
  EXPECT_GT(read, written);
  (void)world.read(file);
  EXPECT_EQ(atime(), read);
  world.clock.jump(std::chrono::hours(25));
  (void)world.read(file);
  EXPECT_GT(atime(), read);
}

TEST(Io, OffsetsNearTheEndOfNumbersBehaveAsTheRfcSays) {
  World world;
  const Handle file = world.create(world.root(), "f");
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  EXPECT_EQ(world.read(file, kMax, 10), "");
  EXPECT_EQ(world.write(file, kMax, "x").error, Errc::kFileTooBig);
  EXPECT_EQ(world.write(file, wafl::kFileBytesMax, "x").error, Errc::kFileTooBig);
  EXPECT_FALSE(world.write(file, wafl::kFileBytesMax - 1, "x").error.has_value());
  EXPECT_EQ(world.read(file, wafl::kFileBytesMax - 1, 1'000), "x");
  SetAttributes size;
  size.size_bytes = kMax;
  EXPECT_EQ(world.setattr(file, size).error, Errc::kFileTooBig);
  const WriteReply nothing = world.write(file, 5, "");
  EXPECT_FALSE(nothing.error.has_value());
  EXPECT_EQ(nothing.count, 0U);
  size.size_bytes = 3;
  EXPECT_FALSE(world.setattr(file, size).error.has_value());
  EXPECT_EQ(world.read(file, 0, 100), std::string(3, '\0'));
  EXPECT_EQ(world.read(file, 3, 100), "");
}

TEST(Io, IsOfFilesOnly) {
  World world;
  const Handle root = world.root();
  const MakeRequest make{root.bytes(), "link", wafl::FileType::kSymlink, {}, "target", {}};
  const Caller from = world.caller();
  const Handle link = *world.run(world.filer->make(from, make)).handle;
  Failure error;
  (void)world.read(root, 0, 10, &error);
  EXPECT_EQ(error, Errc::kIsDirectory);
  (void)world.read(link, 0, 10, &error);
  EXPECT_EQ(error, Errc::kInvalid);
  EXPECT_EQ(world.write(root, 0, "x").error, Errc::kIsDirectory);
  EXPECT_EQ(world.write(link, 0, "x").error, Errc::kInvalid);
  EXPECT_EQ(world.run(world.filer->readlink(from, link.bytes())).target, "target");
  EXPECT_EQ(world.run(world.filer->readlink(from, root.bytes())).error, Errc::kInvalid);
  const CommitRequest commit{root.bytes(), 0, 0};
  EXPECT_EQ(world.run(world.filer->commit(from, commit)).error, Errc::kIsDirectory);
}

TEST(Io, WritesComeInPieces) {
  World world;
  const Handle file = world.create(world.root(), "f");
  const std::string text(100'000, 'p');
  std::vector<ConstBytes> pieces;
  for (std::size_t at = 0; at < text.size(); at += 1'000) {
    pieces.push_back(bytes_of_text(text).subspan(at, 1'000));
  }
  const WriteRequest request{file.bytes(), 7, pieces};
  const Caller from = world.caller();
  EXPECT_EQ(world.run(world.filer->write(from, request)).count, text.size());
  world.crash();
  EXPECT_EQ(world.read(file), std::string(7, '\0') + text);
}

}  // namespace
}  // namespace duet::filer::testing
