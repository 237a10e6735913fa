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

// Of version 1; and the same with a clone, which sets a feature bit.
constexpr const char* kPlain = "/golden-1.txt";
constexpr const char* kCloned = "/golden-1-clones.txt";

std::string golden(const char* name) {
  std::ifstream file(std::string(DUET_TESTDATA) + name);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

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

// A clone of the first snapshot in which "greeting" is longer, and a snapshot of that.
void build_clone(World& world) {
  ASSERT_TRUE(world.aggregate->clone_volume("vol0", "first", "clone", 8U << 20U, world.now()).ok());
  world.cp();
  const Status done = world.attempt([&](Attempt& attempt) -> Status {
    Volume& clone = world.volume("clone");
    Result<InodeRef> root = clone.find_inode(attempt, kLive, kRootInode);
    const auto entry = root.ok() ? lookup(attempt, *root.value(), "greeting") : root.error();
    if (!entry.ok()) {
      return entry.error();
    }
    Result<InodeRef> inode = clone.find_inode(attempt, kLive, entry.value().inode);
    const std::string text = "hello, clone\n";
    const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(text))};
    return inode.ok() ? write(attempt, *inode.value(), 20'000, parts, false, world.now())
                      : Status(inode.error());
  });
  ASSERT_TRUE(done.ok()) << done.error().context;
  ASSERT_TRUE(world.volume("clone").create_snapshot("own", world.now()).ok());
  world.cp();
}

void expect_bytes(World& world, const char* name) {
  const std::string image = dump(*world.devices[0]);
  if (std::getenv("DUET_WRITE_GOLDEN") != nullptr) {
    std::ofstream(std::string(DUET_TESTDATA) + name) << image;
  }
  EXPECT_TRUE(golden(name) == image) << "the format changed: see FORMAT.md, Golden image";
}

void open_image(World& world, const char* name) {
  const std::string image = golden(name);
  ASSERT_FALSE(image.empty());
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    world.devices[0]->content(block).assign(kBlockBytes, std::byte{});
  }
  load(image, *world.devices[0]);
  world.reopen();
}

// Bytes of "greeting" from 10,000 on.
std::uint64_t greeting_bytes(World& world, std::string_view volume, SnapshotId snapshot) {
  const Result<ReadResult> got = world.attempt([&](Attempt& attempt) -> Result<ReadResult> {
    Result<InodeRef> root = world.volume(volume).find_inode(attempt, snapshot, kRootInode);
    const auto entry = root.ok() ? lookup(attempt, *root.value(), "greeting") : root.error();
    if (!entry.ok()) {
      return entry.error();
    }
    Result<InodeRef> inode =
        world.volume(volume).find_inode(attempt, snapshot, entry.value().inode);
    return inode.ok() ? read(attempt, *inode.value(), 10'000, 100'000)
                      : Result<ReadResult>(inode.error());
  });
  EXPECT_TRUE(got.ok());
  return got.ok() ? got.value().bytes : 0;
}

TEST(Golden, TheSameStepsGiveTheSameBytes) {
  World world(5, kBlocks, 1);
  build(world);
  expect_bytes(world, kPlain);
}

TEST(Golden, TheSameStepsGiveTheSameBytesOfAClone) {
  World world(5, kBlocks, 1);
  build(world);
  build_clone(world);
  expect_bytes(world, kCloned);
}

TEST(Golden, AnOldImageOpensAndReads) {
  World world(6, kBlocks, 1);
  open_image(world, kPlain);
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
  EXPECT_EQ(greeting_bytes(world, "vol0", world.volume().find_snapshot("first")->id), 13U);
  EXPECT_FALSE(world.volume().origin().has_value());
}

TEST(Golden, AnOldImageWithACloneOpensAndReads) {
  World world(6, kBlocks, 1);
  open_image(world, kCloned);
  EXPECT_EQ(world.aggregate->root().readonly_compatible, kFeatureClones);
  const Volume& clone = world.volume("clone");
  ASSERT_TRUE(clone.origin().has_value());
  EXPECT_EQ(clone.origin()->volume, world.volume().id());
  EXPECT_EQ(clone.limit_bytes(), 8U << 20U);
  EXPECT_EQ(greeting_bytes(world, "clone", kLive), 10'013U);
  EXPECT_EQ(greeting_bytes(world, "clone", clone.find_snapshot("own")->id), 10'013U);
  EXPECT_EQ(greeting_bytes(world, "vol0", world.volume().find_snapshot("first")->id), 13U);
}

}  // namespace
}  // namespace duet::wafl
