// Disks with stripes: what is fresh, what goes together, and that nothing is lost for it.

#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "files.h"
#include "world.h"

namespace duet::wafl {
namespace {

using testing::Files;
using testing::World;

constexpr std::uint32_t kStripe = 24;

struct Written {
  std::uint64_t block, blocks;
  bool fresh;
};

// The writes of the disk from now on.
std::vector<Written>& note_writes(World& world, std::vector<Written>& list) {
  world.devices[0]->on_start = [&list](const BlockOperation& operation) {
    if (operation.kind == BlockOperation::Kind::kWrite) {
      std::uint64_t blocks = 0;
      for (const MutableBytes part : operation.parts) {
        blocks += part.size() / kBlockBytes;
      }
      list.push_back({operation.block, blocks, operation.fresh});
    }
  };
  return list;
}

void stripe(World& world) {
  world.devices[0]->stripe = kStripe;
  world.reopen();
}

TEST(Stripes, AllThatACpWritesIsFreshButTheRoot) {
  World world(1, 65'536, 1);
  stripe(world);
  std::vector<Written> list;
  note_writes(world, list);
  Files files(world, "vol0");
  ASSERT_TRUE(files.put("a", 0, std::string(300'000, 'a')).ok());
  world.cp();
  std::size_t roots = 0;
  for (const Written& write : list) {
    const bool root = write.block < kReservedBlocks;
    EXPECT_EQ(write.fresh, !root) << write.block;
    roots += root ? 1 : 0;
  }
  EXPECT_GE(roots, 2U);
  EXPECT_GT(list.size(), roots);
}

TEST(Stripes, ACpWritesWholeOnesAndNoneInTwoPieces) {
  World world(1, 65'536, 1);
  stripe(world);
  Files files(world, "vol0");
  std::vector<Written> list;
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(files.put("f" + std::to_string(round), 0, std::string(3U << 20U, 'x')).ok());
    note_writes(world, list).clear();
    world.cp();
    std::map<std::uint64_t, int> pieces;  // of each stripe
    for (const Written& write : list) {
      for (std::uint64_t at = write.block / kStripe;
           write.fresh && at <= (write.block + write.blocks - 1) / kStripe; ++at) {
        ++pieces[at];
      }
    }
    EXPECT_GE(pieces.size(), 768U / kStripe);
    int divided = 0;
    for (const auto& [number, count] : pieces) {
      divided += count > 1 ? 1 : 0;
    }
    EXPECT_LE(divided, 1) << "the data end and the maps begin in one";
    EXPECT_GE(world.aggregate->cp_statistics().whole_stripes_percent, 90U);
  }
}

// Files of 16 to 256 KiB, of which a twentieth goes and comes in every CP: how much of what CPs
// write goes in whole stripes, after everything was written anew some times?
std::uint64_t percent_in_stripes(std::uint64_t used_fifths) {
  World world(1, 3 * 32'768, 1);
  world.devices[0]->stripe = 64;  // of five disks with one check column, chunks of 64 KiB
  world.reopen();
  Files files(world, "vol0");
  sim::Random random(7);
  std::vector<std::pair<std::string, std::uint64_t>> names;
  std::uint64_t used = 0;
  int next = 0;
  const auto fill_up = [&] {
    while (used < 3 * 32'768 * used_fifths / 5) {
      const std::uint64_t blocks = 4 + random.below(61);
      const std::string name = "f" + std::to_string(next++);
      EXPECT_TRUE(files.put(name, 0, std::string(blocks * kBlockBytes, 'x')).ok());
      names.emplace_back(name, blocks);
      used += blocks;
      if (world.aggregate->dirty_bytes() > (12U << 20U)) {
        world.cp();
      }
    }
  };
  fill_up();
  world.cp();
  std::uint64_t written = 0;
  std::uint64_t whole = 0;
  constexpr int kRounds = 60;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = names.size() / 20; i > 0; --i) {
      std::swap(names[random.below(names.size())], names.back());
      EXPECT_TRUE(files.erase(names.back().first).ok());
      used -= names.back().second;
      names.pop_back();
    }
    fill_up();
    world.cp();
    if (round >= kRounds / 2) {
      const CpStatistics& cp = world.aggregate->cp_statistics();
      written += cp.blocks_written;
      whole += cp.blocks_written * cp.whole_stripes_percent / 100;
    }
  }
  return whole * 100 / written;
}

// wafl/README.md says how much; this is to notice when it gets worse.
TEST(Stripes, AnAgeingFileSystemIsWrittenInWholeOnesWhileThereAreSome) {
  for (const auto& [used_fifths, least] :
       {std::pair(2U, 75U), std::pair(3U, 50U), std::pair(4U, 20U)}) {
    const std::uint64_t percent = percent_in_stripes(used_fifths);
    std::cout << used_fifths * 20 << " % full: " << percent << " % in whole stripes\n";
    EXPECT_GE(percent, least) << used_fifths * 20 << " % full";
  }
}

TEST(Stripes, WithoutWholeOnesTheRestIsFilled) {
  World world(1, 8'000, 1, 4U << 20U);
  stripe(world);
  Files files(world, "vol0");
  const auto content = [](int i) { return std::string(2 * kBlockBytes, static_cast<char>(i)); };
  int made = 0;
  for (; made < 4'000; ++made) {
    if (!files.put("f" + std::to_string(made), 0, content(made)).ok()) {
      break;
    }
    if (made % 100 == 99) {
      world.cp();
    }
  }
  ASSERT_LT(made, 4'000) << "the disk is larger than what was written";
  ASSERT_TRUE(files.erase("f" + std::to_string(made)).ok());  // made, and without its contents
  world.cp();
  ASSERT_GT(made, 2'000);
  for (int i = 0; i < made; i += 3) {
    const Status erased = files.erase("f" + std::to_string(i));
    ASSERT_TRUE(erased.ok()) << i << " of " << made << ": " << erased.error().context;
    if (i % 100 == 0) {
      world.cp();
    }
  }
  for (int i = 0; i < 3; ++i) {
    world.cp();
  }
  // About a third is free, and hardly a stripe as a whole.
  for (int i = 0; i < made; i += 4) {
    const Status put = files.put("n" + std::to_string(i), 0, content(i + 1));
    ASSERT_TRUE(put.ok()) << i << ": " << put.error().context;
    if (i % 100 == 0) {
      world.cp();
    }
  }
  world.cp();
  world.reopen();
  for (const auto& [name, text] : files.all()) {
    const int i = std::stoi(name.substr(1));
    EXPECT_EQ(text, content(name[0] == 'n' ? i + 1 : i)) << name;
  }
}

}  // namespace
}  // namespace duet::wafl
