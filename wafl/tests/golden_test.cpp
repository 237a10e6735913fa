// The format stays what FORMAT.md says: an image made long ago opens and reads the same, and
// the same steps give the same bytes.  To make the image of a new version, run this test with
// DUET_WRITE_GOLDEN=1.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "world.h"

namespace duet::wafl {
namespace {

using testing::MemoryDisk;
using testing::World;

constexpr std::uint64_t kBlocks = 4096;
constexpr std::size_t kLineBytes = 32;

std::string golden_path() { return std::string(DUET_TESTDATA) + "/golden-1.txt"; }

std::string dump(MemoryDisk& disk) {
  std::string text;
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    const std::vector<std::byte>& bytes = disk.content(block);
    for (std::size_t at = 0; at < kBlockBytes; at += kLineBytes) {
      std::string line;
      bool zero = true;
      for (std::size_t i = 0; i < kLineBytes; ++i) {
        const auto value = static_cast<unsigned>(bytes[at + i]);
        zero = zero && value == 0;
        line.push_back("0123456789abcdef"[value >> 4U]);
        line.push_back("0123456789abcdef"[value & 15U]);
      }
      if (!zero) {
        text += std::to_string(block) + " " + std::to_string(at) + " " + line + "\n";
      }
    }
  }
  return text;
}

void load(const std::string& text, MemoryDisk& disk) {
  std::istringstream lines(text);
  std::uint64_t block = 0;
  std::size_t at = 0;
  std::string hex;
  while (lines >> block >> at >> hex) {
    for (std::size_t i = 0; i < kLineBytes; ++i) {
      disk.content(block)[at + i] =
          static_cast<std::byte>(std::stoul(hex.substr(i * 2, 2), nullptr, 16));
    }
  }
}

template <typename Change>
void change_root(World& world, Change change) {
  const Status done = world.attempt([&](Attempt& attempt) -> Status {
    Result<InodeRef> root = world.volume().find_inode(attempt, kLive, kRootInode);
    return root.ok() ? change(attempt, *root.value()) : Status(root.error());
  });
  ASSERT_TRUE(done.ok()) << done.error().context;
}

void build(World& world) {
  change_root(world, [&](Attempt& attempt, Inode& root) -> Status {
    const auto made = create(attempt, root, "greeting", {.mode = 0644, .uid = 1000}, world.now());
    if (!made.ok()) {
      return made.error();
    }
    const std::string text = "hello, world\n";
    const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(text))};
    return write(attempt, *made.value(), 10'000, parts, false, world.now());
  });
  ASSERT_TRUE(world.volume().create_snapshot("first", world.now()).ok());
  world.cp();
  change_root(world, [&](Attempt& attempt, Inode& root) -> Status {
    const auto made =
        create(attempt, root, "link",
               {.type = FileType::kSymlink, .mode = 0777, .target = "greeting"}, world.now());
    return made.ok() ? remove(attempt, root, "greeting", world.now()) : Status(made.error());
  });
  world.cp();
}

TEST(Golden, TheSameStepsGiveTheSameBytes) {
  World world(5, kBlocks, 1);
  build(world);
  const std::string image = dump(*world.devices[0]);
  if (std::getenv("DUET_WRITE_GOLDEN") != nullptr) {
    std::ofstream(golden_path()) << image;
  }
  std::ifstream file(golden_path());
  const std::string golden((std::istreambuf_iterator<char>(file)), {});
  EXPECT_TRUE(golden == image) << "the format changed: see FORMAT.md, Golden image";
}

TEST(Golden, AnOldImageOpensAndReads) {
  World world(6, kBlocks, 1);
  std::ifstream file(golden_path());
  const std::string golden((std::istreambuf_iterator<char>(file)), {});
  ASSERT_FALSE(golden.empty());
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    world.devices[0]->content(block).assign(kBlockBytes, std::byte{});
  }
  load(golden, *world.devices[0]);
  world.reopen();
  const Result<std::string> target = world.attempt([&](Attempt& attempt) -> Result<std::string> {
    Result<InodeRef> root = world.volume().find_inode(attempt, kLive, kRootInode);
    const auto entry = root.ok() ? lookup(attempt, *root.value(), "link") : root.error();
    if (!entry.ok()) {
      return entry.error();
    }
    Result<InodeRef> link = world.volume().find_inode(attempt, kLive, entry.value().inode);
    return link.ok() ? read_link(attempt, *link.value()) : Result<std::string>(link.error());
  });
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target.value(), "greeting");
  const SnapshotId first = world.volume().find_snapshot("first")->id;
  const Result<ReadResult> old = world.attempt([&](Attempt& attempt) -> Result<ReadResult> {
    Result<InodeRef> root = world.volume().find_inode(attempt, first, kRootInode);
    const auto entry = root.ok() ? lookup(attempt, *root.value(), "greeting") : root.error();
    if (!entry.ok()) {
      return entry.error();
    }
    Result<InodeRef> inode = world.volume().find_inode(attempt, first, entry.value().inode);
    return inode.ok() ? read(attempt, *inode.value(), 10'000, 100)
                      : Result<ReadResult>(inode.error());
  });
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(old.value().bytes, 13U);
}

}  // namespace
}  // namespace duet::wafl
