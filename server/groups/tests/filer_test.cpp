// A filer on a redundancy group through crashes, losses of power and of disks.

#include <algorithm>

#include "wafl_check/check.h"
#include "world.h"

namespace duet::groups {
namespace {

using testing::World;

class FilerOnGroup {
 public:
  explicit FilerOnGroup(std::uint64_t seed, Duration cp_interval = std::chrono::milliseconds(50))
      : world_("raid6", 5, 12'288, seed), cp_interval_(cp_interval) {
    EXPECT_EQ(world_.format_and_open(), "");
    wafl::FormatOptions format;
    format.pair = {11, 12};
    format.filer_name = "a";
    format.log_id = 77;
    EXPECT_TRUE(nvlog::format_area(world_.groups->log_memory(), {{11, 12}, 0, 77}, 0).ok());
    const Status formatted =
        world_.run(wafl::format(world_.scheduler, {&world_.device()}, format, world_.entropy));
    EXPECT_TRUE(formatted.ok()) << formatted.error().context;
    open();
    EXPECT_TRUE(world_.run(world_.filer->create_volume("vol0", 0)).ok());
    filer::ExportTable exports;
    filer::ExportRule rule;
    rule.squash = filer::Squash::kNone;
    exports.exports.push_back({"/vol0", {rule}});
    EXPECT_TRUE(world_.run(world_.filer->set_exports(exports)).ok());
  }

  void open() {
    filer::FilerOptions options;
    options.cache_bytes = 16U << 20U;
    options.dirty_bytes_max = 8U << 20U;
    options.cp_interval = cp_interval_;
    auto opened =
        world_.run(filer::Filer::open(world_.scheduler, world_.clock, world_.entropy,
                                      {&world_.device()}, world_.groups->log_memory(), options));
    ASSERT_TRUE(opened.ok()) << opened.error().context;
    world_.filer = std::move(opened.value());
  }

  // Some files of random sizes, some of them over older ones.
  void work(int files) {
    for (int i = 0; i < files; ++i) {
      const std::string name = "f" + std::to_string(world_.random.below(40));
      const std::uint64_t number = next_++;
      const std::string text =
          std::to_string(number) +
          std::string(world_.random.below(60'000), static_cast<char>('a' + number % 26));
      write(name, text);
      contents_[name] = text;
    }
  }

  void crash(bool power) {
    // A CP and a write are likely under way.
    world_.filer->want_consistency_point();
    static_cast<void>(world_.scheduler.run(world_.random.below(3'000)));
    world_.kill(power);
  }

  void lose(const std::string& disk) { world_.away.insert(disk); }

  void come_back() {
    ASSERT_EQ(world_.open(), "");
    open();
    for (const auto& [name, text] : contents_) {
      ASSERT_EQ(read(name), text) << name;
    }
  }

  void stop_and_check() {
    ASSERT_TRUE(world_.run(world_.filer->stop()).ok());
    world_.filer.reset();
    const wafl::CheckReport report = world_.run(wafl::check({&world_.device()}, {}));
    for (const wafl::CheckProblem& problem : report.problems) {
      ADD_FAILURE() << problem.text;
    }
    world_.close();
  }

  World& world() { return world_; }

 private:
  filer::Caller caller() {
    filer::Caller next;
    next.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1};
    next.port = 700;
    next.xid = ++xid_;
    next.procedure = 8;
    next.checksum = xid_ * 3;
    return next;
  }
  filer::Handle root() {
    const filer::Caller from = caller();
    const filer::MountReply reply = world_.run(world_.filer->mount(from, "/vol0"));
    EXPECT_FALSE(reply.error.has_value());
    return reply.handle;
  }
  void write(const std::string& name, const std::string& text) {
    const filer::Handle directory = root();
    filer::CreateRequest create{directory.bytes(), name, filer::CreateMode::kUnchecked, {}, 0};
    create.attributes.mode = 0644;
    create.attributes.size_bytes = 0;
    const filer::Caller creator = caller();
    const filer::CreateReply created = world_.run(world_.filer->create(creator, create));
    ASSERT_FALSE(created.error.has_value()) << static_cast<int>(*created.error);
    const filer::Handle file = created.handle.value();
    const ConstBytes piece = std::as_bytes(std::span(text));
    const filer::WriteRequest request{file.bytes(), 0, std::span(&piece, 1)};
    const filer::Caller writer = caller();
    const filer::WriteReply written = world_.run(world_.filer->write(writer, request));
    ASSERT_FALSE(written.error.has_value()) << static_cast<int>(*written.error);
  }
  std::string read(const std::string& name) {
    const filer::Handle directory = root();
    const filer::NameRequest lookup{directory.bytes(), name};
    const filer::Caller from = caller();
    const filer::LookupReply found = world_.run(world_.filer->lookup(from, lookup));
    EXPECT_FALSE(found.error.has_value()) << name;
    if (found.error.has_value()) {
      return {};
    }
    const filer::ReadRequest request{found.handle.bytes(), 0, 1U << 20U};
    const filer::Caller reader = caller();
    const filer::ReadReply reply = world_.run(world_.filer->read(reader, request));
    EXPECT_FALSE(reply.error.has_value()) << name;
    std::string text;
    for (const wafl::Extent& extent : reply.data.extents) {
      if (extent.buffer) {
        const ConstBytes part = extent.buffer.bytes().subspan(extent.offset, extent.bytes);
        text.append(reinterpret_cast<const char*>(part.data()), part.size());
      } else {
        text.append(extent.bytes, '\0');
      }
    }
    return text;
  }

  World world_;
  const Duration cp_interval_;
  std::map<std::string, std::string> contents_;
  std::uint64_t next_ = 0;
  std::uint32_t xid_ = 0;
};

TEST(FilerOnGroup, KeepsWhatItAcknowledgedThroughCrashesAndTwoLostDisks) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    FilerOnGroup filer(seed);
    for (int round = 0; round < 5; ++round) {
      SCOPED_TRACE(round);
      filer.work(12);
      filer.crash(/*power=*/round % 2 == 1);
      if (round == 1 || round == 3) {
        filer.lose("d" + std::to_string((seed + static_cast<std::uint64_t>(round)) % 5));
      }
      filer.come_back();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
    EXPECT_EQ(filer.world().tank().can_lose(), 0U);
    filer.stop_and_check();
  }
}

// Also in the middle of what a crash left: the log is replayed onto what was healed.
TEST(FilerOnGroup, SeesNothingOfADiskThatTurnedABitInEveryBlock) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    FilerOnGroup filer(seed);
    filer.work(30);
    filer.crash(/*power=*/false);
    sim::SimDisk& bad = *filer.world().disks["d" + std::to_string(seed % 5)];
    for (std::uint64_t at = raid::kDataStartBlock; at < bad.block_count(); ++at) {
      if (!std::ranges::all_of(bad.block(at), [](std::byte b) { return b == std::byte{0}; })) {
        bad.flip_bit(at, at % kBlockBytes, at % 8);
      }
    }
    filer.come_back();
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
    EXPECT_GT(filer.world().filer->aggregate().heal_statistics().healed, 0U);
    EXPECT_EQ(filer.world().filer->aggregate().heal_statistics().failed, 0U);
    raid::Group& group = filer.world().tank().group();
    EXPECT_GT(group.counters().put_right[seed % 5], 0U);
    ASSERT_TRUE(group.start_scrub().ok());
    ASSERT_TRUE(filer.world().scheduler.run_until([&] { return !group.status().scrub.running; },
                                                  50'000'000));
    EXPECT_EQ(group.status().scrub.counts.unsure, 0U);
    filer.stop_and_check();
  }
}

TEST(FilerOnGroup, LivesOnWhileItsGroupSpreadsOverMoreDisks) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    FilerOnGroup filer(seed);
    World& world = filer.world();
    filer.work(20);
    const std::uint64_t blocks = world.tank().group().geometry().block_count();
    world.add_disk("n0", 12'288);
    ASSERT_EQ(world.run(world.tank().expand({"n0"}, false, world.opener(), world.entropy)), "");
    for (int round = 0; round < 3; ++round) {
      filer.work(6);
      filer.crash(/*power=*/round % 2 == 1);
      if (round == 0) {
        config::Disk disk;
        disk.path.text = "n0";
        world.config.groups[0].disks.push_back(disk);
      }
      filer.come_back();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
    raid::Group& group = world.tank().group();
    ASSERT_TRUE(world.scheduler.run_until(
        [&] { return group.status().expansion.disks_before == 0; }, 100'000'000));
    EXPECT_EQ(group.geometry().block_count(), blocks / 3 * 4);
    filer.work(20);
    ASSERT_TRUE(group.start_scrub().ok());
    ASSERT_TRUE(
        world.scheduler.run_until([&] { return !group.status().scrub.running; }, 50'000'000));
    EXPECT_EQ(group.status().scrub.counts, raid::ScrubCounts{});
    filer.stop_and_check();
  }
}

TEST(FilerOnGroup, WritesWholeStripesIntoAnEmptyAggregate) {
  FilerOnGroup filer(1, std::chrono::hours(1));
  const raid::GroupCounters before = filer.world().tank().group().counters();
  for (int i = 0; i < 10; ++i) {
    filer.work(40);
    ASSERT_TRUE(filer.world().run(filer.world().filer->consistency_point()).ok());
  }
  EXPECT_GE(filer.world().filer->aggregate().cp_statistics().whole_stripes_percent, 80U);
  const raid::GroupCounters after = filer.world().tank().group().counters();
  const std::uint64_t whole = after.whole_stripes - before.whole_stripes;
  const std::uint64_t all =
      whole + after.read_modify + after.reconstruct - before.read_modify - before.reconstruct;
  EXPECT_GE(whole * 100, all * 60) << whole << " of " << all;
  filer.stop_and_check();
}

}  // namespace
}  // namespace duet::groups
