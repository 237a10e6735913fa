// Cutting files whose trees do not fit into memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "aggregate_state.h"
#include "files.h"
#include "wafl/attempt.h"
#include "world.h"

namespace duet::wafl {
namespace {

using testing::Files;
using testing::World;

constexpr std::uint64_t kMib = 1U << 20U;

class Truncate : public ::testing::Test {
 protected:
  // One block in each of so many places, `stride` bytes apart: each with an indirect block of its
  // own; nothing of it in memory.
  void make_sparse(std::uint64_t places, std::uint64_t stride) {
    Files files(world_, "vol0");
    for (std::uint64_t i = 0; i < places; ++i) {
      ASSERT_TRUE(files.put("file", i * stride, "x").ok());
      if (i % 500 == 499) {
        world_.cp();
      }
    }
    world_.cp();
    world_.reopen();
  }
  Result<InodeRef> find(Attempt& attempt) {
    Result<InodeRef> root = world_.volume().find_inode(attempt, kLive, kRootInode);
    if (!root.ok()) {
      return root.error();
    }
    Result<Entry> entry = lookup(attempt, *root.value(), "file");
    if (!entry.ok()) {
      return entry.error();
    }
    return world_.volume().find_inode(attempt, kLive, entry.value().inode);
  }
  // Cuts the file; gives how many blocks were in memory at most.
  std::uint64_t cut(std::uint64_t size_bytes) {
    Attempt attempt(*world_.aggregate);
    std::uint64_t most = 0;
    for (;;) {
      Status done = Error{Errc::kMiss, ""};
      {
        Result<InodeRef> inode = find(attempt);
        done = inode.ok() ? set_attributes(attempt, *inode.value(), {.size_bytes = size_bytes},
                                           world_.now())
                          : Status(inode.error());
      }
      if (done.ok() || done.error().code != Errc::kMiss) {
        EXPECT_TRUE(done.ok()) << done.error().context;
        return most;
      }
      const Status loaded = world_.run(attempt.load());
      EXPECT_TRUE(loaded.ok());
      most = std::max<std::uint64_t>(most, world_.aggregate->state().pool.in_use());
    }
  }
  std::uint64_t used_blocks() {
    return world_
        .attempt([&](Attempt& attempt) -> Result<std::uint64_t> {
          const Result<InodeRef> inode = find(attempt);
          return inode.ok() ? Result<std::uint64_t>(inode.value()->attributes().used_bytes / 4096)
                            : Result<std::uint64_t>(inode.error());
        })
        .value();
  }

  World world_{1, 65'536, 2, 512U << 10U};
};

TEST_F(Truncate, OfASparseFileHoldsAFewOfItsIndirectBlocksOnly) {
  make_sparse(5'000, kMib);
  EXPECT_EQ(used_blocks(), 5'000U);
  EXPECT_LT(cut(2 * kMib + 1), 1'200U);  // with the cache's 128
  EXPECT_EQ(used_blocks(), 3U);
  world_.cp();
  world_.reopen();
  EXPECT_EQ(used_blocks(), 3U);
}

TEST_F(Truncate, OfAFileWithFarPlacesHoldsAFewOfItsIndirectBlocksOnly) {
  make_sparse(2'000, 300 * kMib);  // several levels of its own each
  EXPECT_LT(cut(900 * kMib + 1), 1'200U);
  EXPECT_EQ(used_blocks(), 4U);
}

TEST_F(Truncate, CountsWhatIsChangedInMemoryToo) {
  make_sparse(600, kMib);
  Files files(world_, "vol0");
  ASSERT_TRUE(files.put("file", 400 * kMib, "again").ok());
  ASSERT_TRUE(files.put("file", 400 * kMib + 8192, "new").ok());
  cut(300 * kMib);
  EXPECT_EQ(used_blocks(), 300U);
}

}  // namespace
}  // namespace duet::wafl
