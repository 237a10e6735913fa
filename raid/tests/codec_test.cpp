// The codec against a second implementation, bit by bit, that shares nothing with it.

#include "raid/codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "buffer.h"
#include "sim/random.h"

namespace duet::raid {
namespace {

std::uint8_t multiply(std::uint8_t a, std::uint8_t b) {
  unsigned sum = 0;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if ((b >> bit & 1U) != 0) {
      sum ^= static_cast<unsigned>(a) << bit;
    }
  }
  for (int bit = 14; bit >= 8; --bit) {
    if ((sum >> static_cast<unsigned>(bit) & 1U) != 0) {
      sum ^= 0x11DU << static_cast<unsigned>(bit - 8);
    }
  }
  return static_cast<std::uint8_t>(sum);
}

std::uint8_t power_of_two(unsigned exponent) {
  std::uint8_t value = 1;
  while (exponent-- > 0) {
    value = multiply(value, 2);
  }
  return value;
}

constexpr std::size_t kBytes = 4096;

struct Row {
  explicit Row(const Geometry& g, std::uint64_t seed) : geometry(g) {
    sim::Random random(seed);
    for (std::uint32_t i = 0; i < g.disks; ++i) {
      buffers.emplace_back(1);
      for (std::byte& byte : buffers.back().bytes()) {
        byte = std::byte(random.next());
      }
      columns[i] = buffers.back().data();
    }
  }
  [[nodiscard]] std::vector<std::byte> copy(std::uint32_t column) const {
    return {columns[column], columns[column] + kBytes};
  }
  // What the check column must hold.
  [[nodiscard]] std::vector<std::byte> expected(std::uint32_t check) const {
    std::vector<std::byte> sum(kBytes);
    for (std::uint32_t i = 0; i < geometry.data_columns(); ++i) {
      const bool q = geometry.level == Level::kDoubleParity && check == 1;
      const std::uint8_t by = q ? power_of_two(i) : std::uint8_t{1};
      for (std::size_t at = 0; at < kBytes; ++at) {
        sum[at] ^= std::byte(multiply(by, static_cast<std::uint8_t>(columns[i][at])));
      }
    }
    return sum;
  }
  void expect_check_matches() const {
    for (std::uint32_t c = 0; c < geometry.check_columns(); ++c) {
      ASSERT_EQ(copy(geometry.data_columns() + c), expected(c)) << "check column " << c;
    }
  }

  Geometry geometry;
  std::vector<Buffer> buffers;
  Columns columns{};
};

std::vector<Geometry> shapes() {
  std::vector<Geometry> all = {{.level = Level::kMirror, .disks = 2},
                               {.level = Level::kMirror, .disks = 3}};
  for (const std::uint32_t disks : {3U, 4U, 5U, 8U, 13U, 32U}) {
    all.push_back({.level = Level::kSingleParity, .disks = disks});
    if (disks > 3) {
      all.push_back({.level = Level::kDoubleParity, .disks = disks});
    }
  }
  return all;
}

TEST(Codec, CheckDataIsWhatTheBitwiseImplementationSays) {
  for (const Geometry& geometry : shapes()) {
    ASSERT_TRUE(geometry.valid());
    const Row row(geometry, geometry.disks);
    Codec(geometry).encode(row.columns, kBytes);
    row.expect_check_matches();
  }
}

TEST(Codec, ChangingOneColumnByItsDifferenceKeepsCheckDataRight) {
  for (const Geometry& geometry : shapes()) {
    const Codec codec(geometry);
    const Row row(geometry, 100 + geometry.disks);
    const Row other(geometry, 200 + geometry.disks);
    codec.encode(row.columns, kBytes);
    for (std::uint32_t column = 0; column < geometry.data_columns(); ++column) {
      const Buffer delta(1);
      add_to(delta.bytes(), row.copy(column));
      add_to(delta.bytes(), other.copy(column));
      codec.update(row.columns, first(geometry.disks), column, delta.data(), kBytes);
      std::copy_n(other.columns[column], kBytes, row.columns[column]);
      row.expect_check_matches();
    }
  }
}

TEST(Codec, AnyLostColumnsUpToTheCheckColumnsComeBack) {
  for (const Geometry& geometry : shapes()) {
    const Codec codec(geometry);
    const Row row(geometry, 300 + geometry.disks);
    codec.encode(row.columns, kBytes);
    const ColumnSet all = first(geometry.disks);
    for (std::uint32_t a = 0; a < geometry.disks; ++a) {
      for (std::uint32_t b = 0; b < geometry.disks; ++b) {
        const ColumnSet lost = one(a) | one(b);
        if (static_cast<std::uint32_t>(std::popcount(lost)) > geometry.check_columns()) {
          continue;
        }
        const std::vector<std::byte> was_a = row.copy(a);
        const std::vector<std::byte> was_b = row.copy(b);
        std::fill_n(row.columns[a], kBytes, std::byte{0xEE});
        std::fill_n(row.columns[b], kBytes, std::byte{0xEE});
        codec.decode(row.columns, all & ~lost, lost, kBytes);
        ASSERT_EQ(row.copy(a), was_a) << "lost " << a << " and " << b << " of " << geometry.disks;
        ASSERT_EQ(row.copy(b), was_b) << "lost " << a << " and " << b << " of " << geometry.disks;
      }
    }
  }
}

TEST(Geometry, EveryBlockHasAPlaceOfItsOwnAndEveryDiskItsShareOfCheckData) {
  for (Geometry geometry : shapes()) {
    geometry.chunk_blocks = 4;
    geometry.stripes = geometry.disks;
    std::vector<std::vector<bool>> used(geometry.disks,
                                        std::vector<bool>(geometry.disk_blocks(), false));
    for (std::uint64_t block = 0; block < geometry.block_count(); ++block) {
      const Place place = geometry.place_of(block);
      const std::uint32_t disk = geometry.disk_of(place.stripe, place.cell.column);
      ASSERT_EQ(geometry.column_of(place.stripe, disk), place.cell.column);
      const std::uint64_t at = geometry.disk_block(place.stripe, place.cell.row);
      ASSERT_GE(at, kDataStartBlock);
      ASSERT_FALSE(used[disk][at]);
      used[disk][at] = true;
    }
    for (std::uint32_t disk = 0; disk < geometry.disks; ++disk) {
      const auto check = std::count(used[disk].begin() + kDataStartBlock, used[disk].end(), false);
      ASSERT_EQ(check, geometry.check_columns() * geometry.chunk_blocks);
    }
  }
}

TEST(Geometry, NumbersThatMakeNoGroupAreNotValid) {
  EXPECT_FALSE((Geometry{.level = Level::kSingleParity, .disks = 2}.valid()));
  EXPECT_FALSE((Geometry{.level = Level::kDoubleParity, .disks = 3}.valid()));
  EXPECT_FALSE((Geometry{.level = Level::kMirror, .disks = 1}.valid()));
  EXPECT_FALSE((Geometry{.level = Level::kMirror, .disks = 4}.valid()));
  EXPECT_FALSE((Geometry{.level = static_cast<Level>(4), .disks = 5}.valid()));
  EXPECT_FALSE((Geometry{.disks = 33}.valid()));
  EXPECT_FALSE((Geometry{.chunk_blocks = 0}.valid()));
  EXPECT_FALSE((Geometry{.stripes = 0}.valid()));
}

}  // namespace
}  // namespace duet::raid
