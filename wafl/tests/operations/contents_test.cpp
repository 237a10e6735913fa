#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "small_filer.h"

namespace duet::wafl {
namespace {

class Contents : public SmallFiler {
 protected:
  void SetUp() override {
    SmallFiler::SetUp();
    file = make(kRootInode, "file").value();
  }
  Status put(std::uint64_t offset, std::string_view data, bool drop_privileges = false) {
    // In three pieces, one of them empty.
    const ConstBytes all = std::as_bytes(std::span(data));
    const std::array<ConstBytes, 3> pieces = {all.first(all.size() / 3), ConstBytes(),
                                              all.subspan(all.size() / 3)};
    return with(
        [&](Attempt& at, Inode& inode) {
          return write(at, inode, offset, pieces, drop_privileges, Timestamp{now});
        },
        file);
  }
  std::string get(std::uint64_t offset, std::uint32_t count, bool* end = nullptr) {
    std::string data;
    const auto result =
        with([&](Attempt& at, Inode& inode) { return read(at, inode, offset, count); }, file);
    EXPECT_TRUE(result.ok());
    for (const Extent& extent : result.value().extents) {
      EXPECT_LE(extent.offset + extent.bytes, kBlockBytes);
      if (extent.buffer) {
        const ConstBytes bytes = extent.buffer.bytes().subspan(extent.offset, extent.bytes);
        data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      } else {
        data.append(extent.bytes, '\0');
      }
    }
    EXPECT_EQ(data.size(), result.value().bytes);
    if (end != nullptr) {
      *end = result.value().end_of_file;
    }
    return data;
  }
  Status resize(std::uint64_t size_bytes) {
    AttributeChanges changes;
    changes.size_bytes = size_bytes;
    return change(changes);
  }
  Status change(const AttributeChanges& changes) {
    return with([&](Attempt& at,
                    Inode& inode) { return set_attributes(at, inode, changes, Timestamp{now}); },
                file);
  }
  Attributes stat() { return attributes(file).value(); }

  InodeNumber file{};
};

TEST_F(Contents, EndWhereTheFileEnds) {
  ASSERT_TRUE(put(0, "hello").ok());
  bool end = false;
  EXPECT_EQ(get(0, 5, &end), "hello");
  EXPECT_TRUE(end);
  EXPECT_EQ(get(1, 3, &end), "ell");
  EXPECT_FALSE(end);
  EXPECT_EQ(get(4, 1'000, &end), "o");
  EXPECT_TRUE(end);
  EXPECT_EQ(get(5, 1, &end), "");
  EXPECT_TRUE(end);
  EXPECT_EQ(get(~std::uint64_t{0}, ~std::uint32_t{0}, &end), "");
  EXPECT_TRUE(end);
  EXPECT_EQ(get(0, 0, &end), "");
  EXPECT_FALSE(end);
}

TEST_F(Contents, OfNothingChangeNothing) {
  const Attributes before = stat();
  now = 999;
  ASSERT_TRUE(put(1U << 20U, "").ok());
  EXPECT_EQ(stat(), before);
}

TEST_F(Contents, HaveHolesThatReadAsZeros) {
  ASSERT_TRUE(put(100'000, "x").ok());
  EXPECT_EQ(stat().size_bytes, 100'001U);
  EXPECT_EQ(stat().used_bytes, 4096U);
  EXPECT_EQ(get(50'000, 50'001), std::string(50'000, '\0') + "x");
  ASSERT_TRUE(put(50'000, "y").ok());
  EXPECT_EQ(stat().used_bytes, 8192U);
  EXPECT_EQ(get(49'990, 20), std::string(10, '\0') + "y" + std::string(9, '\0'));
}

TEST_F(Contents, BehindACutNeverComeBack) {
  ASSERT_TRUE(put(0, std::string(10'000, 'x')).ok());
  restart();
  ASSERT_TRUE(resize(5'000).ok());
  EXPECT_EQ(stat().used_bytes, 8192U);
  ASSERT_TRUE(resize(20'000).ok());
  EXPECT_EQ(get(0, 20'000), std::string(5'000, 'x') + std::string(15'000, '\0'));
  ASSERT_TRUE(resize(3).ok());
  ASSERT_TRUE(put(6, "end").ok());
  EXPECT_EQ(get(0, 100), std::string("xxx\0\0\0end", 9));
}

TEST_F(Contents, NearTheLargestOffsetAreRefusedOrKept) {
  EXPECT_EQ(code(put(kFileBytesMax, "x")), Errc::kFileTooBig);
  EXPECT_EQ(code(put(~std::uint64_t{0}, "xyz")), Errc::kFileTooBig);
  EXPECT_EQ(code(put(~std::uint64_t{0} - 1, "x")), Errc::kFileTooBig);
  EXPECT_EQ(code(resize(kFileBytesMax + 1)), Errc::kFileTooBig);
  EXPECT_EQ(code(resize(~std::uint64_t{0})), Errc::kFileTooBig);
  EXPECT_EQ(stat().size_bytes, 0U);
  ASSERT_TRUE(put(kFileBytesMax - 3, "end").ok());
  restart();
  bool end = false;
  EXPECT_EQ(get(kFileBytesMax - 4, 4'000, &end), std::string("\0end", 4));
  EXPECT_TRUE(end);
  EXPECT_EQ(stat().used_bytes, 4096U);
  ASSERT_TRUE(resize(kFileBytesMax - 4).ok());
  EXPECT_EQ(counted_bytes(file), stat().used_bytes);
  ASSERT_TRUE(resize(1).ok());
  EXPECT_EQ(stat().used_bytes, 0U);
}

TEST_F(Contents, ChangeTimesAndPrivileges) {
  AttributeChanges changes;
  changes.mode = 0106755;
  changes.uid = 5;
  now = 200;
  ASSERT_TRUE(change(changes).ok());
  EXPECT_EQ(stat().mode, 06755U);
  EXPECT_EQ(stat().uid, 5U);
  EXPECT_EQ(stat().ctime, Timestamp{200});
  EXPECT_EQ(stat().mtime, Timestamp{100});
  now = 300;
  ASSERT_TRUE(put(0, "x").ok());
  EXPECT_EQ(stat().mode, 06755U);
  EXPECT_EQ(stat().mtime, Timestamp{300});
  EXPECT_EQ(stat().atime, Timestamp{100});
  ASSERT_TRUE(put(0, "x", true).ok());
  EXPECT_EQ(stat().mode, 0755U);
  now = 400;
  ASSERT_TRUE(resize(10).ok());
  EXPECT_EQ(stat().mtime, Timestamp{400});
  changes = {};
  changes.size_bytes = 20;
  changes.mtime = Timestamp{50};
  changes.atime = Timestamp{60};
  ASSERT_TRUE(change(changes).ok());
  EXPECT_EQ(stat().mtime, Timestamp{50});
  EXPECT_EQ(stat().atime, Timestamp{60});
  EXPECT_EQ(stat().ctime, Timestamp{400});
}

TEST_F(Contents, BelongToRegularFilesOnly) {
  file = kRootInode;
  EXPECT_EQ(code(put(0, "x")), Errc::kIsDirectory);
  EXPECT_EQ(code(resize(0)), Errc::kIsDirectory);
  NewNode node;
  node.type = FileType::kFifo;
  file = make(kRootInode, "fifo", node).value();
  EXPECT_EQ(code(put(0, "x")), Errc::kBadType);
  EXPECT_EQ(code(resize(0)), Errc::kBadType);
  EXPECT_EQ(code(with([](Attempt& at, Inode& inode) { return read(at, inode, 0, 1); }, file)),
            Errc::kBadType);
}

TEST_F(Contents, ThatAReaderHoldsDoNotChangeUnderIt) {
  ASSERT_TRUE(put(0, std::string(4096, 'a')).ok());
  const auto held = with([](Attempt& at, Inode& inode) { return read(at, inode, 0, 4096); }, file);
  ASSERT_TRUE(put(10, "bbb").ok());
  ASSERT_TRUE(put(0, std::string(4096, 'c')).ok());
  const ConstBytes bytes = held.value().extents.at(0).buffer.bytes();
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{'a'}; }));
  EXPECT_EQ(get(0, 4096), std::string(4096, 'c'));
}

TEST_F(Contents, OfManyBlocksAreReadInOneRound) {
  ASSERT_TRUE(put(0, std::string(1U << 20U, 'z')).ok());
  restart();
  rounds = 0;
  EXPECT_EQ(get(0, 1U << 20U), std::string(1U << 20U, 'z'));
  // The inode, the way to the leaves, and then all leaves at once.
  EXPECT_LE(rounds, 6U);
}

TEST_F(Contents, ThatFillAVolumeCanStillBeDeleted) {
  volume().set_limit_bytes(16U << 20U);
  cp();
  const std::string megabyte(1U << 20U, 'm');
  std::uint64_t offset = 0;
  Status wrote = Ok{};
  while (wrote.ok() && offset < (64U << 20U)) {
    wrote = put(offset, megabyte);
    offset += megabyte.size();
  }
  ASSERT_EQ(code(wrote), Errc::kOverLimit);
  EXPECT_EQ(stat().used_bytes, counted_bytes(file));
  EXPECT_TRUE(resize(5'000).ok());
  EXPECT_TRUE(move(kRootInode, "file", kRootInode, "moved").ok());
  EXPECT_TRUE(remove_name(kRootInode, "moved").ok());
  cp();
  cp();
  file = make(kRootInode, "other").value();
  EXPECT_TRUE(put(0, megabyte).ok());
}

// Random writes, cuts, growth, CPs and restarts against a string.
TEST_F(Contents, AgreeWithAModel) {
  std::mt19937_64 random(11);
  std::string model;
  constexpr std::uint64_t kMost = 3U << 20U;  // over one indirect block
  for (int step = 0; step < 3'000; ++step) {
    const std::uint64_t dice = random() % 100;
    const std::uint64_t align = random() % 2 == 0 ? 1 : kBlockBytes;
    const std::uint64_t offset = random() % kMost / align * align;
    if (dice < 60) {
      std::string data(random() % (random() % 4 == 0 ? 100'000 : 9'000) + 1, ' ');
      data.resize((data.size() + align - 1) / align * align);
      for (char& c : data) {
        c = static_cast<char>('a' + random() % 26);
      }
      ASSERT_TRUE(put(offset, data).ok());
      model.resize(std::max<std::size_t>(model.size(), offset + data.size()), '\0');
      model.replace(offset, data.size(), data);
    } else if (dice < 75) {
      const std::uint64_t size =
          dice < 65 ? model.size() * (random() % 100) / 100 : std::min(offset, kMost);
      ASSERT_TRUE(resize(size).ok());
      model.resize(size, '\0');
    } else if (dice < 95) {
      const auto count = static_cast<std::uint32_t>(random() % 50'000);
      const std::string expected =
          offset < model.size() ? model.substr(offset, count) : std::string();
      ASSERT_EQ(get(offset, count), expected) << step;
    } else if (dice < 98) {
      cp();
    } else {
      restart();
    }
    ASSERT_EQ(stat().size_bytes, model.size());
    ASSERT_EQ(stat().used_bytes, counted_bytes(file)) << step << " dice " << dice;
  }
  restart();
  ASSERT_EQ(get(0, kMost * 2), model);
}

}  // namespace
}  // namespace duet::wafl
