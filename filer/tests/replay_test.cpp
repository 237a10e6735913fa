// I6: the image of a CP and the replay of the log are what the clients were told: handles,
// attributes but atime, cookies, names, contents.

#include <map>

#include "world.h"

namespace duet::filer::testing {
namespace {

// Everything a client can see of a tree, as text.
void describe(World& world, const Handle& directory, const std::string& path,
              std::map<std::string, std::string>& to) {
  const ReaddirReply list = world.readdir(directory, true);
  EXPECT_FALSE(list.error.has_value());
  EXPECT_TRUE(list.end);
  for (const ReaddirEntry& entry : list.entries) {
    std::string& text = to[path + "/" + entry.name];
    wafl::Attributes a = entry.attributes->attributes;
    for (const std::uint64_t field :
         {entry.cookie, entry.fileid, std::uint64_t{a.mode}, std::uint64_t{a.links},
          std::uint64_t{a.uid}, std::uint64_t{a.gid}, a.size_bytes, a.used_bytes,
          std::uint64_t{a.device.major}, static_cast<std::uint64_t>(a.mtime),
          static_cast<std::uint64_t>(a.ctime)}) {
      text += std::to_string(field) + " ";
    }
    text.append(reinterpret_cast<const char*>(entry.handle->data.data()), entry.handle->size);
    if (a.type == wafl::FileType::kRegular) {
      text += world.read(*entry.handle);
    } else if (a.type == wafl::FileType::kSymlink) {
      const Caller from = world.caller();
      text += world.run(world.filer->readlink(from, entry.handle->bytes())).target;
    } else if (a.type == wafl::FileType::kDirectory && entry.name != "." && entry.name != "..") {
      describe(world, *entry.handle, path + "/" + entry.name, to);
    }
  }
}

std::map<std::string, std::string> describe(World& world) {
  std::map<std::string, std::string> all;
  describe(world, world.root(), "", all);
  return all;
}

// Changes drawn from a seed, as some clients at once would make them.
class Workload {
 public:
  Workload(World& world, std::uint64_t seed) : world_(world), random_(seed), root_(world.root()) {
    directories_.push_back(root_);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
    }
  }

 private:
  const Handle& some_directory() { return directories_[random_.below(directories_.size())]; }
  std::string some_name() { return "n" + std::to_string(random_.below(30)); }
  LookupReply some_file() { return world_.lookup(some_directory(), some_name()); }

  void step() {
    const Handle directory = some_directory();
    const std::string name = some_name();
    const Caller from = world_.caller();
    switch (random_.below(11)) {
      case 0:
      case 1: {
        CreateRequest request{directory.bytes(), name, CreateMode::kUnchecked, {}, 0};
        request.attributes.mode = 0640;
        request.attributes.size_bytes = random_.below(3) * 1'000;
        (void)world_.run(world_.filer->create(from, request));
        break;
      }
      case 2: {
        MakeRequest request{directory.bytes(), name, wafl::FileType::kDirectory, {}, {}, {}};
        const CreateReply made = world_.run(world_.filer->make(from, request));
        if (!made.error && directories_.size() < 6) {
          directories_.push_back(*made.handle);
        }
        break;
      }
      case 3: {
        MakeRequest request{directory.bytes(), name, wafl::FileType::kSymlink, {}, "to/there", {}};
        (void)world_.run(world_.filer->make(from, request));
        break;
      }
      case 4: {
        MakeRequest request{directory.bytes(), name, wafl::FileType::kBlockDevice, {}, {}, {8, 3}};
        (void)world_.run(world_.filer->make(from, request));
        break;
      }
      case 5:
      case 6: {
        const LookupReply file = some_file();
        if (!file.error) {
          const std::string text(random_.below(9'000), static_cast<char>('a' + random_.below(26)));
          (void)world_.write(file.handle, random_.below(20'000), text);
        }
        break;
      }
      case 7: {
        const LookupReply file = some_file();
        SetAttributes changes;
        changes.mode = static_cast<std::uint32_t>(random_.below(01000));
        changes.set_mtime = SetTime::kServerTime;
        if (random_.one_in(2) && !file.error &&
            file.attributes->attributes.type == wafl::FileType::kRegular) {
          changes.size_bytes = random_.below(30'000);
        }
        if (!file.error) {
          (void)world_.setattr(file.handle, changes);
        }
        break;
      }
      case 8:
        (void)world_.remove(directory, name);
        break;
      case 9:
        (void)world_.rename(directory, name, some_directory(), some_name());
        break;
      case 10: {
        const LookupReply file = some_file();
        if (!file.error) {
          const LinkRequest request{file.handle.bytes(), directory.bytes(), name};
          (void)world_.run(world_.filer->link(from, request));
        }
        break;
      }
      default:
        break;
    }
  }

  World& world_;
  sim::Random random_;
  Handle root_;
  std::vector<Handle> directories_;
};

TEST(Replay, GivesWhatTheClientsWereTold) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    World world(seed);
    Workload workload(world, seed);
    for (int round = 0; round < 4; ++round) {
      workload.run(150);
      if (round == 2) {
        ASSERT_TRUE(world.run(world.filer->consistency_point()).ok());
        workload.run(50);
      }
      const auto before = describe(world);
      world.crash(seed % 2 == 0);
      EXPECT_GT(world.filer->statistics().replayed_records, 0U);
      ASSERT_EQ(describe(world), before) << "seed " << seed << " round " << round;
      world.stop_and_open();
      EXPECT_EQ(world.filer->statistics().replayed_records, 0U);
      ASSERT_EQ(describe(world), before) << "seed " << seed << " round " << round;
    }
  }
}

TEST(Replay, IsRepeatedWhenItIsCutShort) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed);
    Workload workload(world, seed);
    workload.run(100);
    const auto before = describe(world);
    world.kill(true);
    {
      // The filer is killed somewhere while it opens.
      std::optional<Result<std::unique_ptr<Filer>>> opened;
      TaskScope scope(world.scheduler);
      scope.spawn(keep_result(Filer::open(world.scheduler, world.clock, world.entropy,
                                          world.pointers(), world.memory, world.options),
                              opened));
      const std::uint64_t turns = 1 + world.random.below(160);
      (void)world.scheduler.run_until([&] { return opened.has_value(); }, turns);
      world.devices.clear();
      scope.cancel();
    }
    for (const auto& disk : world.disks) {
      disk->lose_power(world.random);
    }
    world.memory.lose_power(world.random);
    world.connect();
    world.open();
    ASSERT_EQ(describe(world), before) << "seed " << seed;
  }
}

TEST(Replay, OfACpThatWasCutShortLosesNothing) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed);
    Workload workload(world, seed);
    workload.run(60);
    std::optional<Status> done;
    std::map<std::string, std::string> before;
    {
      TaskScope scope(world.scheduler);
      scope.spawn(keep_result(world.filer->consistency_point(), done));
      (void)world.scheduler.run_until([&] { return done.has_value(); }, 1 + seed * 4);
      workload.run(5);  // beside the CP
      before = describe(world);
      world.devices.clear();
      scope.cancel();
    }
    world.kill(true);
    world.open();
    ASSERT_EQ(describe(world), before) << "seed " << seed;
  }
}

TEST(Replay, GivesTimesThatGoOnGrowingThoughTheClockWasSetBack) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "f");
  const wafl::Timestamp before = world.getattr(file).attributes.attributes.ctime;
  world.clock.jump(-std::chrono::hours(5));
  EXPECT_GT(world.write(file, 0, "x").wcc.after->attributes.ctime, before);
  const wafl::Timestamp written = world.getattr(file).attributes.attributes.ctime;
  for (const bool stop : {false, true}) {
    if (stop) {
      world.stop_and_open();
    } else {
      world.crash();
    }
    EXPECT_GT(world.write(file, 0, "y").wcc.after->attributes.ctime, written);
  }
}

TEST(Replay, EveryChangeGetsATimeOfItsOwn) {
  World world;  // the simulated clock stands still between these
  const Handle file = world.create(world.root(), "f");
  wafl::Timestamp last{};
  for (int i = 0; i < 10; ++i) {
    const wafl::Timestamp now = world.write(file, 0, "x").wcc.after->attributes.mtime;
    EXPECT_GT(now, last);
    last = now;
  }
}

TEST(Replay, ABlankMemoryIsRefusedUnlessTheFilerWasStopped) {
  for (const bool stop : {false, true}) {
    World world;
    world.stop_and_open();  // from here on there has been no CP but those of the opening
    world.create(world.root(), "f");
    if (stop) {
      ASSERT_TRUE(world.run(world.filer->stop()).ok());
    }
    world.kill();
    const std::vector<std::byte> zeros(world.memory.bytes().size());
    world.memory.store(0, zeros);
    ASSERT_TRUE(world.memory.persist().ok());
    const Result<bool> opened = world.try_open();
    EXPECT_EQ(opened.ok(), stop);
    if (!opened.ok()) {
      EXPECT_EQ(opened.error().code, Errc::kForeign);
    }
  }
}

}  // namespace
}  // namespace duet::filer::testing
