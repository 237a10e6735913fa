#include "operations/directory_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "map_blocks.h"

namespace duet::wafl {
namespace {

constexpr std::uint8_t kFile = static_cast<std::uint8_t>(FileType::kRegular);
constexpr SipKey kKey = {0x1234, 0x5678};

struct Listed {
  std::uint64_t cookie;
  std::uint64_t inode;
  std::string name;
};

class Directory {
 public:
  explicit Directory(std::uint64_t mask = ~std::uint64_t{0}) : hash_{kKey, mask} {}

  // As an operation does it: again until nothing is missing.
  template <typename Step>
  auto attempt(Step step) {
    for (;;) {
      DirectoryTree tree(blocks, hash_);
      const std::uint64_t before = blocks.changes();
      auto result = step(tree);
      if (result.ok() || result.error().code != Errc::kMiss) {
        return result;
      }
      EXPECT_EQ(blocks.changes(), before) << "a miss comes before any change";
      blocks.load();
    }
  }

  Result<std::uint64_t> insert(std::string_view name, std::uint64_t inode) {
    return attempt([&](DirectoryTree& tree) -> Result<std::uint64_t> {
      auto position = tree.find(name);
      if (!position.ok()) {
        return position.error();
      }
      if (position.value().found) {
        return Error{Errc::kExists, ""};
      }
      auto change = tree.prepare_insert(position.value(), name);
      if (!change.ok()) {
        return change.error();
      }
      tree.insert(change.value(), name, inode, kFile);
      return position.value().cookie;
    });
  }
  Status remove(std::string_view name) {
    return attempt([&](DirectoryTree& tree) -> Status {
      auto position = tree.find(name);
      if (!position.ok()) {
        return position.error();
      }
      if (!position.value().found) {
        return Error{Errc::kNotFound, ""};
      }
      auto change = tree.prepare_remove(position.value());
      if (!change.ok()) {
        return change.error();
      }
      tree.remove(change.value(), name);
      return Ok{};
    });
  }
  // Both in one turn, as rename within a directory does.
  Result<std::uint64_t> rename(std::string_view from, std::string_view to) {
    return attempt([&](DirectoryTree& tree) -> Result<std::uint64_t> {
      auto old = tree.find(from);
      if (!old.ok()) {
        return old.error();
      }
      auto position = tree.find(to);
      if (!position.ok()) {
        return position.error();
      }
      auto removal = tree.prepare_remove(old.value());
      if (!removal.ok()) {
        return removal.error();
      }
      auto insertion = tree.prepare_insert(position.value(), to);
      if (!insertion.ok()) {
        return insertion.error();
      }
      tree.insert(insertion.value(), to, old.value().inode, kFile);
      tree.remove(removal.value(), from);
      return position.value().cookie;
    });
  }
  Result<DirectoryTree::Position> find(std::string_view name) {
    return attempt([&](DirectoryTree& tree) { return tree.find(name); });
  }
  std::vector<Listed> list(std::uint64_t after = 0, std::size_t most = ~std::size_t{0}) {
    std::vector<Listed> seen;
    auto result = attempt([&](DirectoryTree& tree) {
      seen.clear();
      return tree.list(after, [&](const DirectoryRecord& record) {
        seen.push_back({record.cookie, record.inode, std::string(record.name)});
        return seen.size() < most;
      });
    });
    EXPECT_TRUE(result.ok());
    return seen;
  }

  // Every block is sound, and is of the tree or of the free chain, once.
  void check() {
    std::map<std::uint64_t, int> uses;
    if (!blocks.blocks().empty()) {
      walk(0, uses);
    }
    for (std::uint64_t at = blocks.free_head(); at != 0;) {
      ASSERT_EQ(++uses[at], 1);
      const auto header = load<DirectoryBlockHeader>(blocks.blocks().at(at), 0);
      ASSERT_EQ(header.kind, static_cast<std::uint8_t>(DirectoryBlockKind::kFree));
      at = header.next_free;
    }
    ASSERT_EQ(uses.size(), blocks.blocks().size());
    for (const auto& [index, bytes] : blocks.blocks()) {
      ASSERT_TRUE(check_directory_block(bytes).ok()) << index;
    }
  }

  MapBlocks blocks;

 private:
  void walk(std::uint64_t index, std::map<std::uint64_t, int>& uses) {
    ASSERT_EQ(++uses[index], 1);
    const auto node = NodeView::open(blocks.blocks().at(index));
    ASSERT_TRUE(node.ok());
    if (node.value().leaf()) {
      ASSERT_TRUE(index == 0 || node.value().count() > 0) << "an empty leaf stayed";
      return;
    }
    ASSERT_TRUE(index != 0 || node.value().count() > 1) << "a root with one child";
    for (std::uint32_t i = 0; i < node.value().count(); ++i) {
      walk(node.value().child(i).block, uses);
    }
  }

  NameHash hash_;
};

std::string name_of(std::uint64_t i, std::size_t bytes = 0) {
  std::string name = "n" + std::to_string(i);
  name.resize(std::max(bytes, name.size()), 'x');
  return name;
}

void expect_same(Directory& directory, const std::map<std::string, Listed>& model) {
  std::vector<Listed> all = directory.list();
  ASSERT_EQ(all.size(), model.size());
  std::uint64_t last = 2;
  for (const Listed& entry : all) {
    ASSERT_GT(entry.cookie, last) << "in the order of cookies, behind those of . and ..";
    ASSERT_LT(entry.cookie, kCookieEnd);
    last = entry.cookie;
    const auto it = model.find(entry.name);
    ASSERT_NE(it, model.end());
    ASSERT_EQ(entry.inode, it->second.inode);
    ASSERT_EQ(entry.cookie, it->second.cookie) << "a cookie moved";
  }
}

struct Shape {
  std::uint64_t mask;  // of the hash
  std::uint64_t names;
  int steps;
  bool misses;
};

class DirectoryAgainstModel : public testing::TestWithParam<Shape> {};

TEST_P(DirectoryAgainstModel, KeepsEntriesAndTheirCookies) {
  const Shape& shape = GetParam();
  std::mt19937_64 random(shape.names);
  Directory directory(shape.mask);
  directory.blocks.misses = shape.misses;
  std::map<std::string, Listed> model;
  for (int step = 0; step < shape.steps; ++step) {
    // Phases of growth and of decay, so that the tree grows and shrinks.
    const bool growing = step / (shape.steps / 4) % 2 == 0;
    const std::uint64_t i = random() % shape.names;
    const std::string name = name_of(i, i % 5 == 0 ? 255 : i % 40);
    if (shape.misses && random() % 16 == 0) {
      directory.blocks.evict();
    }
    const std::uint64_t dice = random() % 10;
    const auto it = model.find(name);
    if (dice == 0 && it != model.end()) {
      const std::uint64_t j = random() % shape.names + shape.names;
      const std::string other = name_of(j, j % 256);
      if (!model.contains(other)) {
        const auto cookie = directory.rename(name, other);
        ASSERT_TRUE(cookie.ok());
        model[other] = {cookie.value(), it->second.inode, other};
        model.erase(name);
      }
    } else if ((dice < 7) == growing) {
      const auto cookie = directory.insert(name, i + 1);
      ASSERT_EQ(cookie.ok(), it == model.end());
      if (cookie.ok()) {
        model[name] = {cookie.value(), i + 1, name};
      }
    } else {
      ASSERT_EQ(directory.remove(name).ok(), it != model.end());
      model.erase(name);
    }
    if (step % (shape.steps / 20) == 0) {
      ASSERT_NO_FATAL_FAILURE(directory.check());
      ASSERT_NO_FATAL_FAILURE(expect_same(directory, model));
    }
  }
  ASSERT_NO_FATAL_FAILURE(expect_same(directory, model));
  for (const auto& [name, entry] : model) {
    ASSERT_TRUE(directory.remove(name).ok());
  }
  EXPECT_EQ(directory.blocks.count(), 1U) << "an empty directory is one block";
  EXPECT_EQ(directory.blocks.free_head(), 0U);
  ASSERT_NO_FATAL_FAILURE(directory.check());
}

INSTANTIATE_TEST_SUITE_P(Shapes, DirectoryAgainstModel,
                         testing::Values(Shape{~std::uint64_t{0}, 20'000, 100'000, false},
                                         Shape{~std::uint64_t{0}, 2'000, 20'000, true},
                                         // 64 hashes: runs of one hash go over many leaves.
                                         Shape{0x3F0'0000'0000'0000, 6'000, 100'000, false},
                                         // One hash, the one whose first cookies are reserved.
                                         Shape{0, 500, 20'000, false},
                                         Shape{0, 500, 20'000, true}));

TEST(DirectoryTree, GoesOnFromAnyCookieEvenOfAnEntryThatIsGone) {
  Directory directory;
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    ASSERT_TRUE(directory.insert(name_of(i), i + 1).ok());
  }
  const std::vector<Listed> all = directory.list();
  for (std::size_t i = 0; i < all.size(); i += 97) {
    const std::vector<Listed> rest = directory.list(all[i].cookie, 3);
    for (std::size_t j = 0; j < rest.size(); ++j) {
      EXPECT_EQ(rest[j].cookie, all[i + 1 + j].cookie);
    }
    EXPECT_EQ(rest.size(), std::min<std::size_t>(3, all.size() - i - 1));
  }
  ASSERT_TRUE(directory.remove(all[10].name).ok());
  EXPECT_EQ(directory.list(all[10].cookie, 1).at(0).cookie, all[11].cookie);
  EXPECT_EQ(directory.list(all[10].cookie - 1, 1).at(0).cookie, all[11].cookie);
  EXPECT_TRUE(directory.list(~std::uint64_t{0}).empty());
}

// As `rm -r` does it: list some, remove them, go on from the last cookie.
TEST(DirectoryTree, RemovingWhileListingMeetsEveryEntryOnce) {
  Directory directory;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(directory.insert(name_of(i, 30), i + 1).ok());
  }
  std::uint64_t after = 0;
  std::size_t removed = 0;
  for (;;) {
    const std::vector<Listed> some = directory.list(after, 170);
    if (some.empty()) {
      break;
    }
    for (const Listed& entry : some) {
      ASSERT_TRUE(directory.remove(entry.name).ok());
      ++removed;
    }
    after = some.back().cookie;
  }
  EXPECT_EQ(removed, 20'000U);
  EXPECT_EQ(directory.blocks.count(), 1U);
}

TEST(DirectoryTree, ReusesTheBlocksThatItGaveUp) {
  Directory directory;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(directory.insert(name_of(i, 60), i + 1).ok());
  }
  const std::uint64_t blocks = directory.blocks.count();
  for (int round = 0; round < 3; ++round) {
    std::vector<Listed> all = directory.list();
    for (std::size_t i = 1; i < all.size(); ++i) {
      ASSERT_TRUE(directory.remove(all[i].name).ok());
    }
    ASSERT_NO_FATAL_FAILURE(directory.check());
    for (std::size_t i = 1; i < all.size(); ++i) {
      ASSERT_TRUE(directory.insert(all[i].name, all[i].inode).ok());
    }
    ASSERT_NO_FATAL_FAILURE(directory.check());
  }
  EXPECT_LE(directory.blocks.count(), blocks + blocks / 8);
}

TEST(DirectoryTree, NamesThatComeInTheOrderOfTheirHashesFillTheLeaves) {
  Directory random_order;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(random_order.insert(name_of(i), i + 1).ok());
  }
  Directory in_order;
  std::size_t bytes = 0;
  for (const Listed& entry : random_order.list()) {
    ASSERT_TRUE(in_order.insert(entry.name, entry.inode).ok());
    bytes += record_cost(entry.name.size());
  }
  EXPECT_LE(in_order.blocks.count() * kBlockBytes, bytes + bytes / 20);
  EXPECT_LE(random_order.blocks.count() * kBlockBytes, bytes * 8 / 5);
}

TEST(DirectoryTree, AFullGroupOfOneHashRefusesOneMoreAndNothingElse) {
  Directory directory(std::uint64_t{1} << 60U);
  std::uint64_t refused = 0;
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    const auto inserted = directory.insert(name_of(i), i + 1);
    refused += inserted.ok() ? 0 : 1;
    if (!inserted.ok()) {
      EXPECT_EQ(inserted.error().code, Errc::kNoSpace);
    }
  }
  EXPECT_EQ(directory.list().size(), 2 * kCookieTies - kCookieFirst);
  EXPECT_EQ(refused, 3'000 - (2 * kCookieTies - kCookieFirst));
  ASSERT_NO_FATAL_FAILURE(directory.check());
}

TEST(DirectoryTree, ALeafHoldsFourteenOfTheLongestNames) {
  Directory directory;
  for (std::uint64_t i = 0; i < 14; ++i) {
    ASSERT_TRUE(directory.insert(name_of(i, kNameBytesMax), i + 1).ok());
  }
  EXPECT_EQ(directory.blocks.count(), 1U);
}

// What a block says is never believed: any bytes give an error or an answer.
TEST(DirectoryTree, DamagedBlocksGiveCorruptAndNeverChange) {
  Directory sound;
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    ASSERT_TRUE(sound.insert(name_of(i, i % 60), i + 1).ok());
  }
  const auto original = sound.blocks.blocks();
  std::mt19937_64 random(7);
  int corrupt = 0;
  for (int round = 0; round < 4'000; ++round) {
    auto& blocks = sound.blocks.blocks();
    const std::uint64_t victim = random() % 3 == 0 ? 0 : random() % blocks.size();
    for (int flips = 0; flips < 3; ++flips) {
      // Headers, tables and children are where it hurts.
      const std::size_t at = random() % (random() % 2 == 0 ? 64 : kBlockBytes);
      blocks[victim][at] ^= static_cast<std::byte>(1U << (random() % 8));
    }
    const std::uint64_t i = random() % 3'000;
    const std::string name = name_of(i, i % 60);
    const std::uint64_t changes = sound.blocks.changes();
    DirectoryTree tree(sound.blocks, NameHash{kKey});
    const auto listed = tree.list(0, [](const DirectoryRecord&) { return true; });
    corrupt += listed.ok() ? 0 : 1;
    const auto position = tree.find(name);
    if (position.ok() && position.value().found) {
      static_cast<void>(tree.prepare_remove(position.value()));
    }
    const auto absent = tree.find(name_of(i + 10'000));
    if (absent.ok() && !absent.value().found) {
      static_cast<void>(tree.prepare_insert(absent.value(), name_of(i + 10'000)));
    }
    EXPECT_EQ(sound.blocks.changes(), changes);
    // And with the change done, when all that it touches passed the checks.
    if (round % 2 == 0) {
      static_cast<void>(sound.remove(name));
    } else {
      static_cast<void>(sound.insert(name_of(i + 20'000), 1));
    }
    blocks = original;
    sound.blocks.set_free_head(0);
  }
  EXPECT_GT(corrupt, 1'000);
}

// The example of FORMAT-directories.md.
TEST(DirectoryBlock, ALeafHasTheBytesThatTheFormatShows) {
  const SipKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::array<std::byte, kBlockBytes> block;
  build_leaf(block, {});
  std::uint64_t inode = 3;
  for (const std::string_view name : {"a", "readme"}) {
    const std::uint64_t cookie = directory_cookie_base(key, name);
    const std::uint32_t slot = NodeView::open(block).value().lower_bound(cookie).value();
    const auto type = name == "a" ? FileType::kRegular : FileType::kDirectory;
    insert_record(block, slot,
                  RecordBytes({cookie, inode++, static_cast<std::uint8_t>(type), name}).bytes());
  }
  std::array<std::byte, kBlockBytes> expected{};
  const auto put = [&expected](std::size_t at, std::initializer_list<int> bytes) {
    for (const int byte : bytes) {
      expected[at++] = static_cast<std::byte>(byte);
    }
  };
  put(0, {0x44, 0x49, 0x52, 0x31, 1, 0, 2, 0, 0xd5, 0x0f});
  put(32, {0xed, 0x0f, 0xd5, 0x0f});
  put(4053, {0x00, 0x9c, 0x6c, 0x13, 0x3f, 0x4b, 0x8e, 0x59, 4, 0, 0, 0, 0, 0, 0, 0, 2, 6});
  put(4071, {'r', 'e', 'a', 'd', 'm', 'e'});
  put(4077, {0x00, 0xa4, 0x88, 0xd3, 0x74, 0xf4, 0xd1, 0x15, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 'a'});
  EXPECT_EQ(block, expected);
}

TEST(DirectoryBlock, ASingleFlippedBitOutsideOfNamesAndNumbersIsSeen) {
  Directory directory;
  for (std::uint64_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(directory.insert(name_of(i, 20), i + 1).ok());
  }
  auto block = directory.blocks.blocks().at(0);
  ASSERT_TRUE(check_directory_block(block).ok());
  const auto header = load<DirectoryBlockHeader>(block, 0);
  for (std::size_t bit = 0; bit < header.heap_offset * std::size_t{8}; ++bit) {
    block[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(check_directory_block(block).ok()) << bit;
    block[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

}  // namespace
}  // namespace duet::wafl
