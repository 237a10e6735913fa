#include "raid/codec.h"

#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

#include <bit>
#include <cstring>

namespace duet::raid {

namespace {

// ISA-L takes `unsigned char`, and not const where it only reads.
unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes));
}

constexpr std::size_t kTableBytes = 32;  // of one factor, for ISA-L

}  // namespace

std::uint8_t Codec::factor(std::uint32_t check, std::uint32_t data) const {
  if (level_ != Level::kDoubleParity || check == 0) {
    return 1;
  }
  unsigned value = 1;
  for (std::uint32_t i = 0; i < data; ++i) {
    value = (value << 1U) ^ ((value & 0x80U) != 0 ? 0x11DU : 0U);
  }
  return static_cast<std::uint8_t>(value);
}

void Codec::encode(const Columns& columns, std::size_t bytes) const {
  std::array<void*, kDisksMax> vectors;
  for (std::uint32_t i = 0; i < data_ + check_; ++i) {
    vectors[i] = columns[i];
  }
  const int count = static_cast<int>(data_ + check_);
  const int length = static_cast<int>(bytes);
  switch (level_) {
    case Level::kMirror:
      for (std::uint32_t i = 1; i < data_ + check_; ++i) {
        std::memcpy(columns[i], columns[0], bytes);
      }
      break;
    case Level::kSingleParity:
      DUET_CHECK(xor_gen(count, length, vectors.data()) == 0);
      break;
    case Level::kDoubleParity:
      DUET_CHECK(pq_gen(count, length, vectors.data()) == 0);
      break;
  }
}

void Codec::update(const Columns& columns, ColumnSet check, std::uint32_t column,
                   const std::byte* delta, std::size_t bytes) const {
  for (std::uint32_t c = 0; c < check_; ++c) {
    if ((check & one(data_ + c)) == 0) {
      continue;
    }
    unsigned char by = factor(c, column);
    std::array<unsigned char, kTableBytes> table;
    ec_init_tables(1, 1, &by, table.data());
    unsigned char* to = raw(columns[data_ + c]);
    ec_encode_data_update(static_cast<int>(bytes), 1, 1, 0, table.data(), raw(delta), &to);
  }
}

void Codec::decode(const Columns& columns, ColumnSet present, ColumnSet wanted,
                   std::size_t bytes) const {
  DUET_CHECK((present & wanted) == 0);
  DUET_CHECK(static_cast<std::uint32_t>(std::popcount(present)) >= data_);
  if (wanted == 0) {
    return;
  }
  // Row i of the generator: what column i is of the data columns.
  const auto generator = [this](std::uint32_t row, std::uint32_t data) -> std::uint8_t {
    return row < data_ ? (row == data ? 1 : 0) : factor(row - data_, data);
  };
  std::array<unsigned char*, kDisksMax> sources;
  std::array<unsigned char, static_cast<std::size_t>(kDisksMax) * kDisksMax> matrix;
  std::array<unsigned char, static_cast<std::size_t>(kDisksMax) * kDisksMax> inverse;
  std::uint32_t taken = 0;
  for (std::uint32_t column = 0; taken < data_; ++column) {
    if ((present & one(column)) == 0) {
      continue;
    }
    for (std::uint32_t i = 0; i < data_; ++i) {
      matrix[taken * data_ + i] = generator(column, i);
    }
    sources[taken++] = raw(columns[column]);
  }
  DUET_CHECK(gf_invert_matrix(matrix.data(), inverse.data(), static_cast<int>(data_)) == 0);
  for (std::uint32_t column = 0; column < data_ + check_; ++column) {
    if ((wanted & one(column)) == 0) {
      continue;
    }
    std::array<unsigned char, kDisksMax> row;
    for (std::uint32_t source = 0; source < data_; ++source) {
      unsigned char sum = 0;
      for (std::uint32_t i = 0; i < data_; ++i) {
        sum ^= gf_mul(generator(column, i), inverse[i * data_ + source]);
      }
      row[source] = sum;
    }
    std::array<unsigned char, kDisksMax * kTableBytes> tables;
    ec_init_tables(static_cast<int>(data_), 1, row.data(), tables.data());
    unsigned char* to = raw(columns[column]);
    ec_encode_data(static_cast<int>(bytes), static_cast<int>(data_), 1, tables.data(),
                   sources.data(), &to);
  }
}

void add_to(MutableBytes to, ConstBytes from) {
  DUET_CHECK(to.size() == from.size());
  // Words, and several in a row: byte by byte it took a tenth of a small write's time.
  constexpr std::size_t kWords = 8;
  using Words = std::array<std::uint64_t, kWords>;
  std::size_t at = 0;
  for (; at + sizeof(Words) <= to.size(); at += sizeof(Words)) {
    Words a;
    Words b;
    std::memcpy(a.data(), to.data() + at, sizeof(Words));
    std::memcpy(b.data(), from.data() + at, sizeof(Words));
    for (std::size_t i = 0; i < kWords; ++i) {
      a[i] ^= b[i];
    }
    std::memcpy(to.data() + at, a.data(), sizeof(Words));
  }
  for (; at < to.size(); ++at) {
    to[at] ^= from[at];
  }
}

}  // namespace duet::raid
