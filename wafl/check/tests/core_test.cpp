// What the core writes is sound after every consistency point, whatever it was asked to do.

#include <gtest/gtest.h>

#include <string>

#include "history.h"

namespace duet::wafl {
namespace {

using testing::History;
using testing::problems_of;
using testing::World;

TEST(CheckedCore, AFreshAggregateIsClean) {
  History history(1, 1);
  history.expect_clean();
}

TEST(CheckedCore, EveryConsistencyPointOfARandomHistoryIsClean) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed, 1 + seed % 2);
    history.run(1000);
    if (HasFailure()) {
      return;
    }
  }
}

TEST(CheckedCore, ADirectoryOfManyNamesIsClean) {
  World world;
  Volume& volume = world.volume();
  for (int i = 0; i < 5000; ++i) {
    const auto made = world.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = volume.find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      const Result<InodeRef> file =
          create(attempt, *root.value(), "a longer name " + std::to_string(i), {}, world.now());
      return file.ok() ? Status(Ok{}) : Status(file.error());
    });
    ASSERT_TRUE(made.ok());
  }
  world.cp();
  for (int i = 0; i < 4000; ++i) {
    const auto gone = world.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = volume.find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      return remove(attempt, *root.value(), "a longer name " + std::to_string(i), world.now());
    });
    ASSERT_TRUE(gone.ok());
  }
  world.cp();
  const CheckReport report = world.run(check(world.pointers(), {}));
  EXPECT_TRUE(report.clean()) << problems_of(report);
  EXPECT_EQ(report.inodes, 1U + 1U + 1000U);
}

}  // namespace
}  // namespace duet::wafl
