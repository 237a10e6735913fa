// Clones: volumes that begin as a snapshot, share its blocks and never free them.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "files.h"
#include "sim/random.h"
#include "world.h"

namespace duet::wafl {
namespace {

using testing::Contents;
using testing::Files;
using testing::World;

class Clones : public ::testing::Test {
 protected:
  Clones() {
    EXPECT_TRUE(origin.put("kept", 0, std::string(50'000, 'k')).ok());
    EXPECT_TRUE(origin.put("large", 0, std::string(3'000'000, 'l')).ok());
    snapshot(origin, "s");
  }
  void snapshot(Files& files, const std::string& name) {
    ASSERT_TRUE(files.volume().create_snapshot(name, world.now()).ok());
    world.cp();
  }
  Status clone(const std::string& of, const std::string& snapshot_name, const std::string& name) {
    Status cloned = world.aggregate->clone_volume(of, snapshot_name, name, 0, world.now());
    world.cp();
    return cloned;
  }
  void settle() {
    for (int i = 0; i < 4; ++i) {
      world.cp();
    }
  }
  [[nodiscard]] std::uint64_t used() {
    const DiskRoot& root = world.aggregate->root();
    return root.block_count - root.free_blocks;
  }

  World world;
  Files origin{world, "vol0"};
};

TEST_F(Clones, BeginAsTheSnapshotAndGoTheirOwnWay) {
  const Contents before = origin.all();
  ASSERT_TRUE(origin.put("kept", 0, "the origin's").ok());
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  world.reopen();
  Files files(world, "c");
  EXPECT_EQ(files.all(), before);
  ASSERT_TRUE(files.put("kept", 4096, "the clone's").ok());
  ASSERT_TRUE(files.put("new", 0, "new").ok());
  ASSERT_TRUE(files.erase("large").ok());
  const Contents changed = files.all();
  const Contents of_origin = origin.all();
  settle();
  world.reopen();
  EXPECT_EQ(files.all(), changed);
  EXPECT_EQ(origin.all(), of_origin);
  EXPECT_EQ(origin.all(origin.volume().find_snapshot("s")->id), before);
}

TEST_F(Clones, CostAFewBlocksHoweverLargeTheSnapshotAndCountWhatTheyWrite) {
  settle();
  const std::uint64_t before = used();
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  settle();
  EXPECT_LE(used(), before + 2);
  Files files(world, "c");
  EXPECT_EQ(files.volume().used_bytes(), 0U);
  ASSERT_TRUE(files.put("kept", 0, "x").ok());
  world.cp();
  // The block, the path to it in the file, the inode file's and its path.
  EXPECT_LE(files.volume().used_bytes(), 6 * kBlockBytes);
  EXPECT_GE(files.volume().used_bytes(), 2 * kBlockBytes);
}

TEST_F(Clones, DestroyedGiveBackWhatTheyWroteAndNothingElse) {
  const Contents before = origin.all();
  settle();
  const std::uint64_t blocks = used();
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  Files files(world, "c");
  ASSERT_TRUE(files.put("large", 500'000, std::string(2'000'000, 'c')).ok());
  snapshot(files, "of the clone");
  ASSERT_TRUE(files.put("new", 0, std::string(4'000'000, 'n')).ok());
  ASSERT_TRUE(files.erase("large").ok());
  world.cp();
  ASSERT_TRUE(files.volume().delete_snapshot("of the clone").ok());
  world.cp();
  ASSERT_TRUE(world.aggregate->destroy_volume("c").ok());
  settle();
  // The owner map may keep a few blocks more for what was once in use.
  EXPECT_LE(used(), blocks + 1500 / 128 + 8);
  EXPECT_EQ(world.aggregate->root().readonly_compatible, 0U);
  world.reopen();
  EXPECT_EQ(origin.all(), before);
  EXPECT_TRUE(origin.volume().delete_snapshot("s").ok());
}

TEST_F(Clones, KeepTheirSnapshotFromBeingDeletedUntilTheyAreDestroyed) {
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  EXPECT_EQ(world.aggregate->root().readonly_compatible, kFeatureClones);
  world.reopen();
  const SnapshotId id = origin.volume().find_snapshot("s")->id;
  ASSERT_EQ(origin.volume().clones_of(id).size(), 1U);
  EXPECT_EQ(origin.volume().clones_of(id).front()->name(), "c");
  EXPECT_EQ(origin.volume().delete_snapshot("s").error().code, Errc::kRefused);
  EXPECT_EQ(world.aggregate->destroy_volume("vol0").error().code, Errc::kRefused);
  ASSERT_TRUE(world.aggregate->destroy_volume("c").ok());
  EXPECT_TRUE(origin.volume().delete_snapshot("s").ok());  // in the same CP
  world.cp();
  ASSERT_TRUE(world.aggregate->destroy_volume("vol0").ok());
  settle();
  EXPECT_FALSE(world.aggregate->dirty());
}

TEST_F(Clones, OfASnapshotThatIsNotThereOrUnderATakenNameAreRefused) {
  EXPECT_EQ(clone("vol0", "none", "c").error().code, Errc::kNotFound);
  EXPECT_EQ(clone("none", "s", "c").error().code, Errc::kNotFound);
  EXPECT_EQ(clone("vol0", "s", "vol0").error().code, Errc::kExists);
  EXPECT_EQ(clone("vol0", "s", "a/b").error().code, Errc::kInvalid);
  ASSERT_TRUE(origin.volume().create_snapshot("made now", world.now()).ok());
  EXPECT_EQ(clone("vol0", "made now", "c").error().code, Errc::kTryAgain);
}

TEST_F(Clones, KeepGenerationsAndHaveHandlesOfTheirOwn) {
  const auto id_in = [&](Files& files, SnapshotId snapshot) {
    return world
        .attempt([&](Attempt& attempt) -> Result<FileId> {
          Result<InodeRef> inode = files.volume().find_inode(attempt, snapshot, InodeNumber{3});
          return inode.ok() ? Result<FileId>(inode.value()->id()) : Result<FileId>(inode.error());
        })
        .value();
  };
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  Files files(world, "c");
  const FileId ours = id_in(files, kLive);
  const FileId theirs = id_in(origin, kLive);
  EXPECT_EQ(ours.inode, theirs.inode);
  EXPECT_EQ(ours.generation, theirs.generation);
  EXPECT_NE(ours.volume, theirs.volume);
  EXPECT_NE(files.volume().fsid(), origin.volume().fsid());
  // A restore of the clone does not bring a generation back.
  snapshot(files, "t");
  ASSERT_TRUE(files.erase("kept").ok());
  ASSERT_TRUE(files.put("young", 0, "x").ok());
  const FileId young = id_in(files, kLive);
  ASSERT_TRUE(files.volume().restore_snapshot("t").ok());
  world.cp();
  EXPECT_EQ(id_in(files, kLive).generation, ours.generation);
  ASSERT_TRUE(files.erase("kept").ok());
  ASSERT_TRUE(files.put("younger", 0, "x").ok());
  EXPECT_GT(id_in(files, kLive).generation, young.generation);
}

TEST_F(Clones, AreLimitedByWhatTheyWriteThemselves) {
  ASSERT_TRUE(world.aggregate->clone_volume("vol0", "s", "c", 1U << 20U, world.now()).ok());
  world.cp();
  Files files(world, "c");
  ASSERT_TRUE(files.put("large", 0, std::string(500'000, 'c')).ok());
  world.cp();
  // New blocks beside the shared ones: those of the origin are not given back.
  EXPECT_EQ(files.put("large", 600'000, std::string(900'000, 'd')).error().code, Errc::kOverLimit);
}

// Both copies of the root, changed and with the checksum that they must have.
template <typename Change>
void change_roots(World& world, Change change) {
  for (std::uint64_t disk = 0; disk < 2; ++disk) {
    std::vector<std::byte>& block =
        world.devices[disk]->content(disk == 0 ? kRootBlockA : kRootBlockB);
    auto root = load<DiskRoot>(block, 0);
    change(root);
    root.checksum = 0;
    root.checksum = crc32c(bytes_of(root));
    store(MutableBytes(block), 0, root);
  }
}

TEST_F(Clones, ATreeThatIsHigherThanAnyCanBeIsRefused) {
  for (TreeRoot DiskRoot::*const tree :
       {&DiskRoot::datasets, &DiskRoot::block_map, &DiskRoot::owner_map, &DiskRoot::area_map}) {
    world.aggregate.reset();
    std::uint32_t good = 0;
    change_roots(
        world, [&](DiskRoot& root) { good = std::exchange((root.*tree).height, kHeightMax + 33); });
    const auto opened =
        world.run(Aggregate::open(world.scheduler, world.clock, world.pointers(), {}));
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code, Errc::kCorrupt);
    change_roots(world, [&](DiskRoot& root) { (root.*tree).height = good; });
  }
}

TEST_F(Clones, ARootThatHidesThemIsRefused) {
  ASSERT_TRUE(clone("vol0", "s", "c").ok());
  world.aggregate.reset();
  change_roots(world, [](DiskRoot& root) {
    EXPECT_EQ(root.readonly_compatible, kFeatureClones);
    root.readonly_compatible = 0;
  });
  const auto opened =
      world.run(Aggregate::open(world.scheduler, world.clock, world.pointers(), {}));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kCorrupt);
}

// Volumes, snapshots and clones of them and of clones, changed, restored, destroyed, with crashes:
// everything reads as the model says, and in the end all space is back.
class CloneHistory {
 public:
  explicit CloneHistory(std::uint64_t seed) : world_(seed, 24'576, 2, 1U << 20U), random_(seed) {
    Files first(world_, "vol0");
    world_.cp();
    live_["vol0"] = {};
    durable_ = live_;
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFatalFailure(); ++step) {
      auto at = live_.begin();
      std::advance(at, std::ptrdiff_t(random_.below(live_.size())));
      name_ = at->first;
      one_step(char('a' + step % 26));
    }
    compare();
    tear_down();
  }

 private:
  struct Model {
    Contents contents;
    std::vector<std::pair<std::string, Contents>> snapshots;
    std::string origin;  // VOLUME@SNAPSHOT
  };

  Model& model() { return live_.at(name_); }
  Files files() { return {world_, name_}; }
  [[nodiscard]] bool cloned(const std::string& volume, const std::string& snapshot) const {
    return std::ranges::any_of(
        live_, [&](const auto& entry) { return entry.second.origin == volume + "@" + snapshot; });
  }
  void cp() {
    world_.cp();
    durable_ = live_;
  }

  void one_step(char letter) {
    switch (random_.below(18)) {
      case 0:
        cp();
        break;
      case 1: {
        const std::string label = "s" + std::to_string(made_++);
        ASSERT_TRUE(files().volume().create_snapshot(label, world_.now()).ok());
        model().snapshots.emplace_back(label, model().contents);
        cp();
        break;
      }
      case 2:
        delete_snapshot();
        break;
      case 3:
        restore();
        break;
      case 4:
        if (random_.one_in(2)) {
          world_.reopen();
          live_ = durable_;
          compare();
        }
        break;
      case 5:
      case 6:
        clone();
        break;
      case 7:
        destroy();
        break;
      case 8:
        if (!model().contents.empty()) {
          const std::string victim = model().contents.begin()->first;
          ASSERT_TRUE(files().erase(victim).ok());
          model().contents.erase(victim);
        }
        break;
      default:
        write(letter);
    }
  }

  void write(char letter) {
    const std::string name = "f" + std::to_string(random_.below(8));
    const std::uint64_t offset = random_.below(random_.one_in(8) ? 2'500'000 : 20'000);
    const std::string data(1 + random_.below(20'000), letter);
    ASSERT_TRUE(files().put(name, offset, data).ok());
    std::string& text = model().contents[name];
    if (random_.one_in(5)) {
      const std::uint64_t size = random_.below(30'000);
      text.resize(std::max(text.size(), offset + data.size()));
      text.replace(offset, data.size(), data);
      ASSERT_TRUE(files().truncate(name, size).ok());
      text.resize(size);
      return;
    }
    text.resize(std::max(text.size(), offset + data.size()));
    text.replace(offset, data.size(), data);
  }

  void delete_snapshot() {
    if (model().snapshots.empty()) {
      return;
    }
    const auto at =
        model().snapshots.begin() + std::ptrdiff_t(random_.below(model().snapshots.size()));
    const bool ok = files().volume().delete_snapshot(at->first).ok();
    ASSERT_EQ(ok, !cloned(name_, at->first));
    if (ok) {
      model().snapshots.erase(at);
    }
    cp();
  }

  void restore() {
    if (model().snapshots.empty()) {
      return;
    }
    ASSERT_TRUE(files().volume().restore_snapshot(model().snapshots.back().first).ok());
    model().contents = model().snapshots.back().second;
    cp();
  }

  void clone() {
    if (model().snapshots.empty() || live_.size() > 5) {
      return;
    }
    const auto [snapshot, contents] = model().snapshots[random_.below(model().snapshots.size())];
    const std::string name = "c" + std::to_string(made_++);
    ASSERT_TRUE(world_.aggregate->clone_volume(name_, snapshot, name, 0, world_.now()).ok());
    live_[name] = {contents, {}, name_ + "@" + snapshot};
    cp();
  }

  void destroy() {
    if (name_ == "vol0") {
      return;
    }
    const bool ok = world_.aggregate->destroy_volume(name_).ok();
    ASSERT_EQ(ok, model().snapshots.empty());
    if (ok) {
      live_.erase(name_);
    }
    cp();
  }

  void compare() {
    ASSERT_EQ(world_.aggregate->volumes().size(), live_.size());
    for (const auto& [name, model] : live_) {
      SCOPED_TRACE(name);
      Files files(world_, name);
      ASSERT_EQ(files.all(), model.contents);
      for (const auto& [label, contents] : model.snapshots) {
        ASSERT_EQ(files.all(files.volume().find_snapshot(label)->id), contents) << label;
      }
    }
  }

  // Clones before what they are clones of.
  void tear_down() {
    while (!live_.empty()) {
      const std::size_t before = live_.size();
      for (auto at = live_.begin(); at != live_.end();) {
        auto& snapshots = at->second.snapshots;
        std::erase_if(snapshots, [&](const auto& snapshot) {
          return !cloned(at->first, snapshot.first) &&
                 world_.aggregate->find_volume(at->first)->delete_snapshot(snapshot.first).ok();
        });
        world_.cp();
        if (snapshots.empty()) {
          ASSERT_TRUE(world_.aggregate->destroy_volume(at->first).ok());
          at = live_.erase(at);
        } else {
          ++at;
        }
      }
      ASSERT_LT(live_.size(), before);
    }
    for (int i = 0; i < 8; ++i) {
      world_.cp();
    }
    const DiskRoot& root = world_.aggregate->root();
    EXPECT_LT(root.block_count - root.free_blocks, 2 * kReservedBlocks + 800);
    EXPECT_FALSE(world_.aggregate->dirty());
  }

  World world_;
  sim::Random random_;
  std::map<std::string, Model> live_;
  std::map<std::string, Model> durable_;
  std::string name_;
  int made_ = 0;
};

TEST(CloneHistory, MatchesAModelThroughCpsCrashesSnapshotsAndClones) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CloneHistory(seed).run(300);
    if (HasFatalFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace duet::wafl
