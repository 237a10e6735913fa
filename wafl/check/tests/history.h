// A random history of volumes, snapshots and clones, with a check after each consistency point.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "../../tests/world.h"
#include "sim/random.h"
#include "wafl_check/check.h"

namespace duet::wafl::testing {

inline std::string problems_of(const CheckReport& report) {
  std::string text;
  for (const CheckProblem& problem : report.problems) {
    text += std::string(problem_name(problem.kind)) + ": " + problem.text + "\n";
  }
  return text;
}

// Random operations on a volume's whole name space.
class History {
 public:
  // The fewer names, the more often one file is met again.
  History(std::uint64_t seed, std::size_t disks, std::uint64_t names = 300)
      : world_(seed, 24'576, disks, 1U << 20U), random_(seed), names_(names) {
    world_.volume();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      const std::vector<Volume*> volumes = world_.aggregate->volumes();
      at_ = volumes[random_.below(volumes.size())]->name();
      if (random_.one_in(12)) {
        administrate();
        world_.cp();
        expect_clean();
      } else {
        change();
      }
    }
  }

  void expect_clean() {
    CheckOptions options;
    options.problems_max = 20;
    options.names_of_snapshots = true;
    const CheckReport report = world_.run(check(world_.pointers(), options));
    EXPECT_TRUE(report.clean()) << problems_of(report);
    EXPECT_TRUE(report.notes.empty());
  }

  World& world() { return world_; }

  // --- One operation each; errors that the name space gives (exists, not empty, ...) are fine.

  void change() {
    const Status done = world_.attempt([this, saved = random_](Attempt& attempt) mutable {
      random_ = saved;  // each try draws the same
      return one_change(attempt);
    });
    if (!done.ok()) {
      EXPECT_NE(done.error().code, Errc::kCorrupt) << done.error().context;
    }
    if (!done.ok() && (done.error().code == Errc::kTryAgain || done.error().code == Errc::kIo)) {
      world_.cp();
    }
  }

 private:
  // The one that this step is about.
  Volume& volume() { return *world_.aggregate->find_volume(at_); }
  std::string any_name() { return "n" + std::to_string(random_.below(names_)); }
  std::string directory_name() { return "d" + std::to_string(random_.below(6)); }

  // The root, or a directory below, or one below that.
  Result<InodeRef> any_directory(Attempt& attempt) {
    Result<InodeRef> at = volume().find_inode(attempt, kLive, kRootInode);
    for (std::uint64_t depth = random_.below(3); at.ok() && depth > 0; --depth) {
      const std::string name = directory_name();
      const Result<Entry> entry = lookup(attempt, *at.value(), name);
      if (!entry.ok()) {
        return entry.error().code == Errc::kMiss ? Result<InodeRef>(entry.error()) : at;
      }
      at = volume().find_inode(attempt, kLive, entry.value().inode);
    }
    return at;
  }

  Status one_change(Attempt& attempt) {
    Result<InodeRef> parent = any_directory(attempt);
    if (!parent.ok()) {
      return parent.error();
    }
    Inode& directory = *parent.value();
    switch (random_.below(12)) {
      case 0:
        return as_status(create(attempt, directory, directory_name(),
                                {.type = FileType::kDirectory, .mode = 0755}, world_.now()));
      case 1:
        return as_status(create(attempt, directory, any_name(),
                                {.type = FileType::kSymlink, .mode = 0777, .target = "some/where"},
                                world_.now()));
      case 2:
        return as_status(create(attempt, directory, any_name(),
                                {.type = FileType::kFifo, .mode = 0600}, world_.now()));
      case 3:
        return remove(attempt, directory, any_name(), world_.now());
      case 4:
        return remove_directory(attempt, directory, directory_name(), world_.now());
      case 5:
      case 6:
        return move(attempt, directory);
      case 7:
        return link_one(attempt, directory);
      case 8:
        return resize(attempt, directory);
      default:
        return write_one(attempt, directory);
    }
  }

  template <typename T>
  static Status as_status(const Result<T>& result) {
    return result.ok() ? Status(Ok{}) : Status(result.error());
  }

  Status move(Attempt& attempt, Inode& from) {
    Result<InodeRef> to = any_directory(attempt);
    if (!to.ok()) {
      return to.error();
    }
    const bool directories = random_.one_in(3);
    const std::string old_name = directories ? directory_name() : any_name();
    const std::string new_name = directories ? directory_name() : any_name();
    return rename(attempt, from, old_name, *to.value(), new_name, world_.now());
  }

  Result<InodeRef> file_in(Attempt& attempt, Inode& directory, const std::string& name) {
    const Result<Entry> entry = lookup(attempt, directory, name);
    if (!entry.ok()) {
      return entry.error();
    }
    return volume().find_inode(attempt, kLive, entry.value().inode);
  }

  Status link_one(Attempt& attempt, Inode& directory) {
    Result<InodeRef> inode = file_in(attempt, directory, any_name());
    Result<InodeRef> to = any_directory(attempt);
    if (!inode.ok() || !to.ok()) {
      return inode.ok() ? to.error() : inode.error();
    }
    return link(attempt, *to.value(), any_name(), *inode.value(), world_.now());
  }

  Status resize(Attempt& attempt, Inode& directory) {
    Result<InodeRef> inode = file_in(attempt, directory, any_name());
    if (!inode.ok()) {
      return inode.error();
    }
    return set_attributes(attempt, *inode.value(), {.size_bytes = random_.below(3'000'000)},
                          world_.now());
  }

  Status write_one(Attempt& attempt, Inode& directory) {
    const std::string name = any_name();
    Result<InodeRef> inode = file_in(attempt, directory, name);
    if (!inode.ok() && inode.error().code == Errc::kNotFound) {
      inode = create(attempt, directory, name, {.mode = 0644}, world_.now());
    }
    if (!inode.ok()) {
      return inode.error();
    }
    const bool far = random_.one_in(6);
    const std::string data(1 + random_.below(40'000), 'x');
    const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(data))};
    return write(attempt, *inode.value(), random_.below(far ? 2'500'000 : 20'000), parts, false,
                 world_.now());
  }

  void delete_snapshot(const SnapshotInfo& snapshot) {
    const bool cloned = !volume().clones_of(snapshot.id).empty();
    const Status deleted = volume().delete_snapshot(snapshot.name);
    EXPECT_EQ(deleted.ok(), !cloned);
    if (cloned) {
      EXPECT_EQ(deleted.error().code, Errc::kRefused);
    }
  }

  void administrate() {
    const std::vector<SnapshotInfo> snapshots = volume().snapshots();
    switch (random_.below(12)) {
      case 0:
      case 1:
        EXPECT_TRUE(
            volume().create_snapshot("s" + std::to_string(snapshots_made_++), world_.now()).ok());
        break;
      case 2:
      case 3:
        if (!snapshots.empty()) {
          const std::size_t which = random_.below(snapshots.size());
          delete_snapshot(snapshots[which]);
          if (which + 1 < snapshots.size() && random_.one_in(2)) {
            delete_snapshot(snapshots[which + 1]);
          }
        }
        break;
      case 4:
        if (!snapshots.empty() && random_.one_in(2)) {
          EXPECT_TRUE(volume().restore_snapshot(snapshots.back().name).ok());
        }
        break;
      case 7:
      case 8:
        if (!snapshots.empty() && world_.aggregate->volumes().size() < 6) {
          const std::string& of = snapshots[random_.below(snapshots.size())].name;
          const std::string name = "c" + std::to_string(clones_made_++);
          EXPECT_TRUE(world_.aggregate->clone_volume(at_, of, name, 0, world_.now()).ok());
        }
        break;
      case 9:
        if (at_ != "vol0") {
          EXPECT_EQ(world_.aggregate->destroy_volume(at_).ok(), snapshots.empty());
        }
        break;
      case 5:
        world_.reopen();
        break;
      case 6:
        if (world_.aggregate->find_volume("other") == nullptr) {
          EXPECT_TRUE(world_.aggregate->create_volume("other", 0, world_.now()).ok());
        } else if (world_.aggregate->find_volume("other")->snapshots().empty()) {
          EXPECT_TRUE(world_.aggregate->destroy_volume("other").ok());
        }
        break;
      default:
        break;
    }
  }

  World world_;
  sim::Random random_;
  const std::uint64_t names_;
  std::string at_ = "vol0";
  int snapshots_made_ = 0;
  int clones_made_ = 0;
};

}  // namespace duet::wafl::testing
