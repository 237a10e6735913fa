#include "world.h"

namespace duet::filer::testing {
namespace {

using Stream = std::vector<std::byte>;

class Receive : public ::testing::Test {
 protected:
  Receive() {
    ExportTable table = world.filer->exports();
    table.exports.push_back({"/copy", table.exports.front().rules});
    EXPECT_TRUE(world.run(world.filer->set_exports(table)).ok());
    file = world.create(root, "f");
    EXPECT_FALSE(world.write(file, 0, "first").error.has_value());
    directory = world.make_directory(root, "d");
    for (int i = 0; i < 300; ++i) {
      world.create(directory, "n" + std::to_string(i));
    }
    take("one");
    full = send("one", "");
    EXPECT_FALSE(world.write(file, 0, "second").error.has_value());
    EXPECT_FALSE(world.remove(directory, "n7").error.has_value());
    world.create(root, "new");
    take("two");
    increment = send("two", "one");
  }
  void take(std::string name) {
    ASSERT_TRUE(world.run(world.filer->create_snapshot("vol0", std::move(name))).ok());
  }
  Stream send(const std::string& snapshot, const std::string& from) {
    auto sender = world.filer->send_snapshot("vol0", snapshot, from);
    EXPECT_TRUE(sender.ok());
    Stream out;
    while (!sender.value()->done()) {
      EXPECT_TRUE(world.run(sender.value()->next(out, 50'000)).ok());
    }
    return out;
  }
  Result<std::uint64_t> begin(const Stream& stream, bool rollback = false) {
    return world.run(world.filer->begin_receive(
        "copy", {stream.begin(), stream.begin() + sizeof(wafl::StreamHeader)}, rollback));
  }
  // The bytes of the stream from `from` on, in pieces; stops at an error.
  Result<bool> pieces(std::uint64_t id, const Stream& stream, std::size_t end,
                      std::size_t size = 10'007) {
    Result<bool> done = false;
    for (std::size_t at = sizeof(wafl::StreamHeader); done.ok() && at < end; at += size) {
      const std::size_t to = std::min(end, at + size);
      done = world.run(world.filer->receive(
          id, {stream.begin() + std::ptrdiff_t(at), stream.begin() + std::ptrdiff_t(to)}));
    }
    return done;
  }
  void receive(const Stream& stream) {
    const auto id = begin(stream);
    ASSERT_TRUE(id.ok()) << id.error().context;
    const Result<bool> done = pieces(id.value(), stream, stream.size());
    ASSERT_TRUE(done.ok()) << done.error().context;
    ASSERT_TRUE(done.value());
  }
  wafl::Volume* copy() { return world.filer->aggregate().find_volume("copy"); }
  Failure mount_failure() {
    const Caller from = world.caller();
    return world.run(world.filer->mount(from, "/copy")).error;
  }

  World world;
  Handle root = world.root();
  Handle file;
  Handle directory;
  Stream full;
  Stream increment;
};

TEST_F(Receive, MakesAVolumeAndBringsItForward) {
  receive(full);
  const Handle mounted = world.root("/copy");
  const Handle received = world.lookup(mounted, "f").handle;
  EXPECT_EQ(world.read(received), "first");
  EXPECT_EQ(world.getattr(received).attributes.fileid, world.getattr(file).attributes.fileid);
  // As it is exported for writing, reading has changed the time of access.
  EXPECT_EQ(begin(increment).error().code, Errc::kRefused);
  const auto id = begin(increment, /*rollback=*/true);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(pieces(id.value(), increment, increment.size()).ok());
  EXPECT_EQ(world.read(received), "second");  // the handle is what it was
  EXPECT_FALSE(world.lookup(mounted, "new").error.has_value());
  EXPECT_EQ(copy()->snapshots().size(), 2U);
  world.crash();
  EXPECT_EQ(world.read(received), "second");
  EXPECT_EQ(world.names(mounted), world.names(root));
}

TEST_F(Receive, HidesTheVolumeUntilItIsWhole) {
  receive(full);
  const Handle mounted = world.root("/copy");
  const Handle received = world.lookup(mounted, "f").handle;
  const auto id = begin(increment);
  ASSERT_TRUE(id.ok());
  const Failure again = Errc::kTryAgain;
  EXPECT_EQ(world.getattr(received).error, again);
  EXPECT_EQ(world.write(received, 0, "mine").error, again);
  EXPECT_EQ(mount_failure(), again);
  EXPECT_EQ(world.run(world.filer->create_snapshot("copy", "mine")).error().code, Errc::kRefused);
  EXPECT_EQ(world.run(world.filer->destroy_volume("copy")).error().code, Errc::kRefused);
  ASSERT_TRUE(pieces(id.value(), increment, increment.size()).ok());
  EXPECT_FALSE(world.write(received, 0, "mine").error.has_value());
  EXPECT_EQ(world.run(world.filer->receive(id.value(), {})).error().code, Errc::kNotFound);
}

TEST_F(Receive, ThatACrashEndsLeavesTheVolumeAsItWas) {
  const auto whole = begin(full);
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(pieces(whole.value(), full, full.size() / 2).ok());
  ASSERT_TRUE(world.run(world.filer->consistency_point()).ok());
  world.crash();
  EXPECT_EQ(copy(), nullptr);
  receive(full);
  const Handle mounted = world.root("/copy");
  const auto id = begin(increment);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(pieces(id.value(), increment, increment.size() - 10).ok());
  ASSERT_TRUE(world.run(world.filer->consistency_point()).ok());
  world.crash();
  EXPECT_EQ(copy()->snapshots().size(), 1U);
  EXPECT_FALSE(copy()->receiving());
  EXPECT_EQ(world.read(world.lookup(mounted, "f").handle), "first");
  EXPECT_TRUE(world.lookup(mounted, "new").error.has_value());
}

TEST_F(Receive, ThatIsRefusedOrGivenUpLeavesTheVolumeAsItWas) {
  Stream damaged = full;
  damaged[full.size() / 2] ^= std::byte{1};
  const auto bad = begin(damaged);
  ASSERT_TRUE(bad.ok());
  EXPECT_EQ(pieces(bad.value(), damaged, damaged.size()).error().code, Errc::kInvalid);
  EXPECT_EQ(copy(), nullptr);
  receive(full);
  const auto id = begin(increment);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(pieces(id.value(), increment, 2000).ok());
  const auto other = begin(increment);  // takes its place
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(world.run(world.filer->receive(id.value(), {})).error().code, Errc::kNotFound);
  ASSERT_TRUE(world.run(world.filer->cancel_receive("copy")).ok());
  EXPECT_EQ(world.run(world.filer->cancel_receive("copy")).error().code, Errc::kNotFound);
  EXPECT_TRUE(copy()->unchanged());
  EXPECT_EQ(world.read(world.lookup(world.root("/copy"), "f").handle), "first");
}

TEST_F(Receive, OfTwoStreamsThatBeginAtOnceOneIsRefused) {
  receive(full);
  std::vector<std::optional<Result<std::uint64_t>>> begun(2);
  const auto keep = [](Task<Result<std::uint64_t>> task,
                       std::optional<Result<std::uint64_t>>& result) -> Task<void> {
    result = co_await std::move(task);
  };
  TaskScope scope(world.scheduler);
  for (auto& result : begun) {
    const Stream header(increment.begin(), increment.begin() + sizeof(wafl::StreamHeader));
    scope.spawn(keep(world.filer->begin_receive("copy", header, false), result));
  }
  ASSERT_TRUE(world.scheduler.run(1'000'000));
  ASSERT_TRUE(begun[0]->ok());
  EXPECT_FALSE(begun[1]->ok());
  const Result<bool> done = pieces(begun[0]->value(), increment, increment.size());
  ASSERT_TRUE(done.ok()) << done.error().context;
  EXPECT_TRUE(done.value());
}

TEST_F(Receive, NeedsTheSnapshotThatTheStreamGoesOnto) {
  EXPECT_EQ(begin(increment).error().code, Errc::kNotFound);
  receive(full);
  EXPECT_EQ(begin(full).error().code, Errc::kExists);
  receive(increment);
  EXPECT_EQ(begin(increment).error().code, Errc::kRefused);
  Stream bad = full;
  bad[5] ^= std::byte{1};
  EXPECT_EQ(begin(bad).error().code, Errc::kInvalid);
}

}  // namespace
}  // namespace duet::filer::testing
