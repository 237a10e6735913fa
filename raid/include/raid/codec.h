// Codec: check data of a stripe, and what lost columns held.
//
// All levels are one code: check column c of a row is the sum, in GF(2^8) with the polynomial
// 0x11D, of factor(c, i) times data column i.
//
//   mirror         factor = 1: the sum of one data column is a copy of it
//   single parity  factor = 1
//   double parity  P: factor = 1;  Q: factor = 2^i
//
// Any check_columns() lost columns can be computed from the others.  The work is ISA-L's.
//
// Thread-safety: any thread; it has no state.

#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "raid/geometry.h"

namespace duet::raid {

// A set of columns or disks; bit i is number i.
using ColumnSet = std::uint32_t;
constexpr ColumnSet one(std::uint32_t column) { return ColumnSet{1} << column; }
constexpr ColumnSet first(std::uint32_t count) {
  return static_cast<ColumnSet>((std::uint64_t{1} << count) - 1);
}

// The memory of each column, data before check; all have the same number of bytes.
using Columns = std::array<std::byte*, kDisksMax>;

class Codec {
 public:
  explicit Codec(const Geometry& geometry)
      : level_(geometry.level), data_(geometry.data_columns()), check_(geometry.check_columns()) {}

  // Fills the check columns from the data columns.
  // REQUIRES: for all: pointers aligned to 64, `bytes` a multiple of 64.
  void encode(const Columns& columns, std::size_t bytes) const;

  // Data column `column` changes by `delta` (old xor new): brings the check columns of `check`
  // (a set of column numbers) along.
  void update(const Columns& columns, ColumnSet check, std::uint32_t column, const std::byte* delta,
              std::size_t bytes) const;

  // Computes the columns of `wanted` from those of `present`.
  // REQUIRES: `present` has at least data_columns() members, none of `wanted`.
  void decode(const Columns& columns, ColumnSet present, ColumnSet wanted, std::size_t bytes) const;

  [[nodiscard]] std::uint8_t factor(std::uint32_t check, std::uint32_t data) const;

 private:
  Level level_;
  std::uint32_t data_;
  std::uint32_t check_;
};

// to ^= from.  REQUIRES: the same size.
void add_to(MutableBytes to, ConstBytes from);

}  // namespace duet::raid
